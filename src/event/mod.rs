//! Events for audit logs and metrics.
//!
//! Layers, key sets and sessions report to an [`EventSink`]. Without one, no event is constructed.
//! [`sink_fn`] makes a sink from a closure. [`and`](EventSink::and) combines two sinks.
//!
//! - With the feature `metrics`, `event::MetricsSink` counts events.
//! - With the feature `tracing`, `event::TracingSink` writes audit events to the log.
//! - A [`channel`] queues events for a custom task.
//!
//! No event contains a token, a secret, a password or a hash of one. Subjects are personal data,
//! which the owner of the sink must protect.
//!
//! # Examples
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use tower_jwt_auth::event::{AuthEvent, EventSink};
//!
//! #[derive(Default)]
//! struct Denied(AtomicU64);
//!
//! impl EventSink for Denied {
//!     fn record(&self, event: &AuthEvent<'_>) {
//!         if let AuthEvent::Denied { .. } = event {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! // One goes to the layer, `JwtAuthLayer::events(sink)`; the other is read.
//! let denied = Arc::new(Denied::default());
//! let sink = Arc::clone(&denied);
//! # sink.record(&AuthEvent::Anonymous);
//! assert_eq!(denied.0.load(Ordering::Relaxed), 0);
//! ```

#[cfg(feature = "metrics")]
mod counters;
#[cfg(feature = "server")]
mod login;
#[cfg(feature = "server")]
mod mail;
mod record;
#[cfg(feature = "server")]
mod session;

#[cfg(feature = "server")]
use std::net::IpAddr;
use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::Method;

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::counters::MetricsSink;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use self::record::TracingSink;
pub use self::record::{EventReceiver, EventRecord, channel};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use self::{
    login::{LoginEvent, LoginFailure},
    mail::{MailEvent, MailFailure, MailPurpose, MailSkipped},
    session::{RefreshOutcome, ReuseKind, RevokeReason, RevokedScope, SessionEvent},
};
#[cfg(feature = "server")]
use crate::error::StoreErrorKind;
use crate::{
    error::{AuthError, AuthErrorKind, KeyProblem},
    principal::{Principal, SessionId},
    task::caught_now,
};

/// A receiver of events.
pub trait EventSink: Send + Sync + 'static {
    /// Records an event. It is called while a request is processed, so it must not block.
    ///
    /// A panic is caught and logged, and does not change the response to the request.
    fn record(&self, event: &AuthEvent<'_>);

    /// Combines two sinks: each event goes to `self`, then to `other`.
    fn and(self, other: impl EventSink) -> impl EventSink
    where
        Self: Sized,
    {
        Both(self, other)
    }
}

impl<S: EventSink + ?Sized> EventSink for Arc<S> {
    fn record(&self, event: &AuthEvent<'_>) {
        (**self).record(event);
    }
}

/// Creates a sink from a closure. Clones of the sink share the closure.
///
/// ```
/// use tower_jwt_auth::event::sink_fn;
///
/// let sink = sink_fn(|event| println!("{}", event.name()));
/// ```
pub fn sink_fn(record: impl Fn(&AuthEvent<'_>) + Send + Sync + 'static) -> impl EventSink + Clone {
    Arc::new(SinkFn(record))
}

struct SinkFn<F>(F);

impl<F> EventSink for SinkFn<F>
where
    F: Fn(&AuthEvent<'_>) + Send + Sync + 'static,
{
    fn record(&self, event: &AuthEvent<'_>) {
        (self.0)(event);
    }
}

/// Two sinks that both receive each event.
struct Both<A, B>(A, B);

impl<A: EventSink, B: EventSink> EventSink for Both<A, B> {
    fn record(&self, event: &AuthEvent<'_>) {
        // The second sink receives the event even if the first one panics.
        let _ = caught_now(SINK, || self.0.record(event));
        self.1.record(event);
    }
}

/// An event of a layer, a key set, a session or a login.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AuthEvent<'a> {
    /// A request was authenticated as this caller. If a guard then refuses the request, a
    /// [`Denied`](Self::Denied) event follows.
    #[non_exhaustive]
    Allowed {
        /// The caller.
        caller: &'a Principal,
        /// `true` if the token was in the verifier's cache.
        remembered: bool,
    },
    /// A request without a credential passed an optional layer.
    Anonymous,
    /// A CORS preflight request passed without authentication.
    Preflight,
    /// A request passed without authentication, because a `skip_if` predicate of the layer matched.
    Skipped,
    /// A layer or a guard refused a request, or an endpoint refused a cross-site request.
    #[non_exhaustive]
    Denied {
        /// The cause of the refusal. It names what is [missing](AuthError::missing), and for a token the
        /// [expected and received values](AuthError::token).
        error: &'a AuthError,
        /// The caller, if a layer authenticated one before the refusal.
        caller: Option<&'a Principal>,
        /// The method of the request; `None` if a handler refused the caller.
        method: Option<&'a Method>,
        /// The path of the request, without the query, which may contain a token; `None` as for the
        /// method.
        path: Option<&'a str>,
    },
    /// Verification keys were fetched. They may be the same keys as before.
    #[non_exhaustive]
    KeysFetched {
        /// The number of usable keys.
        keys: usize,
        /// `true` if the keys differ from those before the fetch.
        changed: bool,
    },
    /// A fetch of verification keys failed. The previous keys stay in use.
    #[non_exhaustive]
    KeyFetchFailed {
        /// The error of the fetch.
        error: &'a (dyn Error + 'static),
        /// The kind of failure, with a fixed code.
        problem: KeyProblem,
        /// The time until the next attempt is allowed.
        retry_in: Duration,
    },
    /// An entry of a key set is unusable and was skipped. Each entry is reported once.
    #[non_exhaustive]
    KeySkipped {
        /// The entry's `kid`. Its text and length are chosen by the publisher of the key set.
        kid: Option<&'a str>,
        /// The reason, from a fixed list.
        reason: &'static str,
    },
    /// The authorization server answered about a token, which may be active or not. Answers from the cache
    /// cause no event.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    #[non_exhaustive]
    Introspected {
        /// The time of the call, with its time in the queue.
        took: Duration,
    },
    /// The authorization server did not answer about a token, or its answer is unusable. The requests that
    /// waited for the answer are refused with 503.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    #[non_exhaustive]
    IntrospectionFailed {
        /// The kind of failure, with a fixed code.
        problem: KeyProblem,
        /// The time of the call, with its time in the queue.
        took: Duration,
    },
    /// The key ring of the issuer activated a new signing key.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    KeyRotated {
        /// The `kid` of the new key.
        kid: Option<&'a str>,
    },
    /// A node could not load the key ring that it shares with others. It goes on with the keys that
    /// it has, for a limited time. Reported once per loss.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    KeyRingStale {
        /// The error of the load.
        error: &'a (dyn Error + 'static),
    },
    /// A node has loaded the key ring again, after a failure.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    KeyRingRecovered {
        /// The time for which the ring could not be loaded.
        after: Duration,
    },
    /// A revocation set lost its feed and does not receive revocations by other nodes. Reported
    /// once per loss.
    #[non_exhaustive]
    RevocationsStale {
        /// The error of the feed.
        error: &'a (dyn Error + 'static),
    },
    /// A revocation set is up to date again, after its feed was lost.
    #[non_exhaustive]
    RevocationsRecovered {
        /// The time for which the set was out of date.
        after: Duration,
    },
    /// The identity provider reported a logout, and the tokens that it ends are revoked.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    #[non_exhaustive]
    LoggedOut {
        /// The issuer of the logout token.
        issuer: &'a str,
        /// The subject, if the logout token names it.
        subject: Option<&'a str>,
        /// The provider's session, if the logout token names one.
        session: Option<&'a str>,
    },
    /// A session was started, refreshed or ended, or a guest was taken over.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    Session(&'a SessionEvent),
    /// A login was attempted, or a password was changed.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    Login(&'a LoginEvent),
    /// A mail was sent, was not needed, or was lost.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    Mail(&'a MailEvent),
    /// Housekeeping failed: rows that ended long ago could not be deleted from the store.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    HousekeepingFailed {
        /// The kind of failure.
        kind: StoreErrorKind,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// An API key was created.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    ApiKeyCreated {
        /// The subject on whose behalf the key acts.
        owner: &'a str,
        /// The key's identifier, which is not secret.
        id: &'a str,
    },
    /// An API key got a new secret.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    ApiKeyRolled {
        /// The subject on whose behalf the key acts.
        owner: &'a str,
        /// The key's identifier, which is not secret.
        id: &'a str,
    },
    /// An API key was revoked.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    ApiKeyRevoked {
        /// The subject on whose behalf the key acts.
        owner: &'a str,
        /// The key's identifier, which is not secret.
        id: &'a str,
    },
    /// An API key was used. Reported about once a minute for each key.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    ApiKeyUsed {
        /// The subject on whose behalf the key acts.
        owner: &'a str,
        /// The key's identifier, which is not secret.
        id: &'a str,
    },
    /// An API key was used from a network for the first time, as far as this process knows.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[non_exhaustive]
    ApiKeyNetwork {
        /// The subject on whose behalf the key acts.
        owner: &'a str,
        /// The key's identifier, which is not secret.
        id: &'a str,
        /// The network, given by its first address.
        network: IpAddr,
    },
}

impl AuthEvent<'_> {
    /// Returns a stable name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allowed { .. } => "request.allowed",
            Self::Anonymous => "request.anonymous",
            Self::Preflight => "request.preflight",
            Self::Skipped => "request.skipped",
            Self::Denied { error, .. } if error.kind() == AuthErrorKind::CrossSite => {
                "csrf.rejected"
            }
            Self::Denied { .. } => "request.denied",
            Self::KeysFetched { .. } => "keys.fetched",
            Self::KeyFetchFailed { .. } => "keys.fetch_failed",
            Self::KeySkipped { .. } => "keys.skipped",
            #[cfg(feature = "jwks")]
            Self::Introspected { .. } => "introspection.answered",
            #[cfg(feature = "jwks")]
            Self::IntrospectionFailed { .. } => "introspection.failed",
            #[cfg(feature = "server")]
            Self::KeyRotated { .. } => "key.rotated",
            #[cfg(feature = "server")]
            Self::KeyRingStale { .. } => "key_ring.stale",
            #[cfg(feature = "server")]
            Self::KeyRingRecovered { .. } => "key_ring.recovered",
            Self::RevocationsStale { .. } => "revocation_feed.stale",
            Self::RevocationsRecovered { .. } => "revocation_feed.recovered",
            #[cfg(feature = "jwks")]
            Self::LoggedOut { .. } => "backchannel.logged_out",
            #[cfg(feature = "server")]
            Self::Session(event) => event.name(),
            #[cfg(feature = "server")]
            Self::Login(event) => event.name(),
            #[cfg(feature = "server")]
            Self::Mail(event) => event.name(),
            #[cfg(feature = "server")]
            Self::HousekeepingFailed { .. } => "housekeeping.failed",
            #[cfg(feature = "server")]
            Self::ApiKeyCreated { .. } => "api_key.created",
            #[cfg(feature = "server")]
            Self::ApiKeyRolled { .. } => "api_key.rolled",
            #[cfg(feature = "server")]
            Self::ApiKeyRevoked { .. } => "api_key.revoked",
            #[cfg(feature = "server")]
            Self::ApiKeyUsed { .. } => "api_key.used",
            #[cfg(feature = "server")]
            Self::ApiKeyNetwork { .. } => "api_key.new_network",
        }
    }

    /// Returns the subject that the event concerns, if known: the caller of a request, the owner of a
    /// session or of an API key, the user who signs in.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match *self {
            Self::Allowed { caller, .. } => caller.subject(),
            Self::Denied { error, caller, .. } => match caller {
                Some(caller) => caller.subject(),
                None => error.subject(),
            },
            #[cfg(feature = "jwks")]
            Self::LoggedOut { subject, .. } => subject,
            #[cfg(feature = "server")]
            Self::Session(event) => event.subject(),
            #[cfg(feature = "server")]
            Self::Login(event) => event.subject(),
            #[cfg(feature = "server")]
            Self::Mail(event) => event.subject(),
            #[cfg(feature = "server")]
            Self::ApiKeyCreated { owner, .. }
            | Self::ApiKeyRolled { owner, .. }
            | Self::ApiKeyRevoked { owner, .. }
            | Self::ApiKeyUsed { owner, .. }
            | Self::ApiKeyNetwork { owner, .. } => Some(owner),
            _ => None,
        }
    }

    /// Returns the session that the event concerns, if it concerns a single one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match *self {
            Self::Allowed { caller, .. } => caller.session_id()?.parse().ok(),
            Self::Denied { caller, .. } => caller?.session_id()?.parse().ok(),
            #[cfg(feature = "server")]
            Self::Session(event) => event.session(),
            _ => None,
        }
    }
}

/// The event sink of a component, if one is set.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<dyn EventSink>>);

impl Events {
    pub(crate) fn to(sink: impl EventSink) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Sends an event to the sink. The event is constructed only if there is a sink.
    ///
    /// A sink that panics changes neither the response to a request nor the state of a task.
    #[inline]
    pub(crate) fn emit<'e>(&self, event: impl FnOnce() -> AuthEvent<'e>) {
        if let Some(sink) = &self.0 {
            let _ = caught_now(SINK, || sink.record(&event()));
        }
    }

    /// Sends the event of a session, as [`emit`](Self::emit) does.
    #[cfg(feature = "server")]
    pub(crate) fn session(&self, event: impl FnOnce() -> SessionEvent) {
        if self.is_enabled() {
            let event = event();
            self.emit(|| AuthEvent::Session(&event));
        }
    }

    /// Sends the event of a login, as [`emit`](Self::emit) does.
    #[cfg(feature = "server")]
    pub(crate) fn login(&self, event: impl FnOnce() -> LoginEvent) {
        if self.is_enabled() {
            let event = event();
            self.emit(|| AuthEvent::Login(&event));
        }
    }

    /// Sends the event of a mail, as [`emit`](Self::emit) does.
    #[cfg(feature = "server")]
    pub(crate) fn mail(&self, event: impl FnOnce() -> MailEvent) {
        if self.is_enabled() {
            let event = event();
            self.emit(|| AuthEvent::Mail(&event));
        }
    }

    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.is_enabled()).finish()
    }
}

const SINK: &str = "event sink";
