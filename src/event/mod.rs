//! What happened, for audit and metrics.
//!
//! Layers, key sets and sessions tell one [`EventSink`] what they did; nothing is made up for it
//! where no sink is set. A closure is one by [`sink_fn`], and two are one by
//! [`and`](EventSink::and). With the feature `metrics` there is one that counts, `event::Counters`; with `tracing` one that
//! writes, `event::Traced`; and a [`channel`] queues events for a task of one's own.
//!
//! No event holds a token, a secret, a password or a hash of one. Subjects are personal data: what
//! a sink does with them is its owner's responsibility.
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

use std::{error::Error, fmt, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    error::{AuthError, AuthErrorKind, KeyProblem, StoreErrorKind},
    principal::{Principal, PrincipalKind},
    task::caught_now,
    token::SessionId,
};

/// Takes note of what happened.
pub trait EventSink: Send + Sync + 'static {
    /// Takes note of one event. It is called in the middle of a request, so it must not block.
    ///
    /// A panic is caught and logged. It does not change the answer to the request.
    fn record(&self, event: &AuthEvent<'_>);

    /// A sink that tells this one, and then the other.
    fn and<O: EventSink>(self, other: O) -> Both<Self, O>
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

/// A sink that calls a closure.
///
/// ```
/// use tower_jwt_auth::event::sink_fn;
///
/// let sink = sink_fn(|event| println!("{}", event.name()));
/// ```
pub fn sink_fn<F>(record: F) -> SinkFn<F>
where
    F: Fn(&AuthEvent<'_>) + Send + Sync + 'static,
{
    SinkFn(record)
}

/// A closure as a sink; made by [`sink_fn`].
#[derive(Clone, Copy)]
pub struct SinkFn<F>(F);

impl<F> EventSink for SinkFn<F>
where
    F: Fn(&AuthEvent<'_>) + Send + Sync + 'static,
{
    fn record(&self, event: &AuthEvent<'_>) {
        (self.0)(event);
    }
}

impl<F> fmt::Debug for SinkFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SinkFn").finish_non_exhaustive()
    }
}

/// Two sinks; made by [`EventSink::and`].
#[derive(Clone, Copy, Debug)]
pub struct Both<A, B>(A, B);

impl<A: EventSink, B: EventSink> EventSink for Both<A, B> {
    fn record(&self, event: &AuthEvent<'_>) {
        // The second sink gets the event also if the first one panics.
        let _ = caught_now(SINK, || self.0.record(event));
        self.1.record(event);
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AuthEvent<'a> {
    /// A request passed as this caller. Should a guard refuse it then, that is told as well.
    #[non_exhaustive]
    Allowed {
        /// Who it is.
        caller: &'a Principal,
        /// The token had been verified before and was remembered.
        remembered: bool,
    },
    /// A request without a credential passed an optional layer.
    Anonymous,
    /// A CORS preflight request passed unseen.
    Preflight,
    /// A request passed unseen, because the layer was told to skip it.
    Skipped,
    /// A request was refused, by a layer or by a guard; by an endpoint, where another site may have
    /// sent it.
    #[non_exhaustive]
    Denied {
        /// Why.
        error: &'a AuthError,
    },
    /// Verification keys were fetched, or confirmed.
    #[non_exhaustive]
    KeysFetched {
        /// How many usable keys there are.
        keys: usize,
        /// Whether they are others than before.
        changed: bool,
    },
    /// A fetch of verification keys failed. The old keys stay.
    #[non_exhaustive]
    KeyFetchFailed {
        /// Why.
        error: &'a (dyn Error + 'static),
        /// The kind of failure, with a fixed code.
        problem: KeyProblem,
        /// When a new attempt is allowed.
        retry_in: Duration,
    },
    /// An entry of a key set is left out, because it cannot be used here. It is reported once.
    #[non_exhaustive]
    KeySkipped {
        /// The entry's `kid`. The publisher of the set wrote it, at any length.
        kid: Option<&'a str>,
        /// The reason, from a fixed list.
        reason: &'static str,
    },
    /// The issuer signs with another key from now on.
    #[non_exhaustive]
    KeyRotated {
        /// The key's name.
        kid: Option<&'a str>,
    },
    /// A revocation set lost its feed: what is revoked elsewhere does not get here. Told once.
    #[non_exhaustive]
    RevocationsStale {
        /// Why.
        error: &'a (dyn Error + 'static),
    },
    /// A revocation set knows again what was revoked meanwhile.
    #[non_exhaustive]
    RevocationsRecovered {
        /// For how long it did not.
        after: Duration,
    },
    /// A session was started.
    #[non_exhaustive]
    SessionStarted {
        /// Whose it is.
        subject: &'a str,
        /// Its name.
        session: SessionId,
        /// What kind of subject that is; a guest begins with its session.
        kind: PrincipalKind,
    },
    /// A refresh token came after its session's end.
    #[non_exhaustive]
    SessionExpired {
        /// Whose it was.
        subject: &'a str,
        /// Its name.
        session: SessionId,
    },
    /// A user took over what was a guest's.
    #[non_exhaustive]
    GuestClaimed {
        /// The guest, whose sessions ended.
        guest: &'a str,
        /// The user.
        user: &'a str,
    },
    /// A guest's subject became an account's; the guest's sessions ended.
    #[non_exhaustive]
    GuestPromoted {
        /// The subject.
        subject: &'a str,
    },
    /// A refresh token was exchanged.
    #[non_exhaustive]
    SessionRefreshed {
        /// Its name.
        session: SessionId,
        /// `rotated`, `fresh`, `retried`, `reissued` or `ahead`; the last one means that the store
        /// lost a write.
        outcome: &'static str,
    },
    /// A spent refresh token was used; its session was ended.
    #[non_exhaustive]
    ReuseDetected {
        /// Whose session it was.
        subject: &'a str,
        /// Its name.
        session: SessionId,
        /// `late_parent`, `displaced_child` or `stale_lineage`.
        reuse: &'static str,
        /// How long ago the session was last refreshed.
        age: Duration,
    },
    /// Sessions were ended.
    #[non_exhaustive]
    SessionsRevoked {
        /// Whose they were, where that is known.
        subject: Option<&'a str>,
        /// The one that was meant, or spared.
        session: Option<SessionId>,
        /// `device`, `others` or `all`.
        scope: &'static str,
    },
    /// What ended long ago could not be deleted from a store.
    #[non_exhaustive]
    HousekeepingFailed {
        /// What became of it.
        kind: StoreErrorKind,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Somebody signed in with a password.
    #[non_exhaustive]
    LoginSucceeded {
        /// Who.
        subject: &'a str,
        /// The network that the attempt came from, by its first address; `None`: nobody knows.
        network: Option<IpAddr>,
    },
    /// A password was looked at, and its sender was refused.
    #[non_exhaustive]
    LoginFailed {
        /// Whom they named; `None` where there is no such user.
        subject: Option<&'a str>,
        /// `unknown_user`, `wrong_password`, `unusable_hash`, `disabled` or `locked`.
        reason: &'static str,
        /// As in [`LoginSucceeded`](Self::LoginSucceeded); `None` also where a signed-in user gave a
        /// wrong current password.
        network: Option<IpAddr>,
    },
    /// An attempt to sign in was told to wait; its password was not looked at.
    #[non_exhaustive]
    LoginThrottled {
        /// For how long.
        retry_after: Duration,
        /// As in [`LoginFailed`](Self::LoginFailed).
        network: Option<IpAddr>,
    },
    /// A name was locked by too many failures.
    #[non_exhaustive]
    LoginLocked {
        /// Whose it is; `None` where there is no such user.
        subject: Option<&'a str>,
    },
    /// A name was unlocked.
    LoginUnlocked,
    /// An API key was made, rolled, revoked, or is in use.
    #[non_exhaustive]
    ApiKey {
        /// On whose behalf it acts.
        owner: &'a str,
        /// Its identifier, which is no secret.
        id: &'a str,
        /// `created`, `rolled`, `revoked`, `used`, which is told about once a minute, or `new_network`:
        /// used from a network from which this process had not seen it.
        event: &'static str,
        /// That network, by its first address.
        network: Option<IpAddr>,
    },
    /// Somebody changed their password.
    #[non_exhaustive]
    PasswordChanged {
        /// Whose it is.
        subject: &'a str,
    },
    /// The hash of a password was replaced by one of today's kind.
    #[non_exhaustive]
    PasswordRehashed {
        /// Whose it is.
        subject: &'a str,
    },
}

impl AuthEvent<'_> {
    /// A stable name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allowed { .. } => "request.allowed",
            Self::Anonymous => "request.anonymous",
            Self::Preflight => "request.preflight",
            Self::Skipped => "request.skipped",
            Self::Denied { error } if error.kind() == AuthErrorKind::CrossSite => "csrf.rejected",
            Self::Denied { .. } => "request.denied",
            Self::KeysFetched { .. } => "keys.fetched",
            Self::KeyFetchFailed { .. } => "keys.fetch_failed",
            Self::KeySkipped { .. } => "keys.skipped",
            Self::KeyRotated { .. } => "key.rotated",
            Self::RevocationsStale { .. } => "revocation_feed.stale",
            Self::RevocationsRecovered { .. } => "revocation_feed.recovered",
            Self::SessionStarted {
                kind: PrincipalKind::Guest,
                ..
            } => "guest.created",
            Self::SessionStarted { .. } => "session.created",
            Self::SessionExpired { .. } => "session.expired",
            Self::GuestClaimed { .. } => "guest.claimed",
            Self::GuestPromoted { .. } => "guest.promoted",
            Self::SessionRefreshed {
                outcome: "ahead", ..
            } => "store.lost_write",
            Self::SessionRefreshed { .. } => "session.refreshed",
            Self::ReuseDetected { .. } => "session.reuse_detected",
            Self::SessionsRevoked { .. } => "session.revoked",
            Self::HousekeepingFailed { .. } => "housekeeping.failed",
            Self::LoginSucceeded { .. } => "login.succeeded",
            Self::LoginFailed { .. } => "login.failed",
            Self::LoginThrottled { .. } => "login.throttled",
            Self::LoginLocked { .. } => "login.locked",
            Self::LoginUnlocked => "login.unlocked",
            Self::ApiKey { event, .. } => match *event {
                "created" => "api_key.created",
                "rolled" => "api_key.rolled",
                "revoked" => "api_key.revoked",
                "new_network" => "api_key.new_network",
                _ => "api_key.used",
            },
            Self::PasswordChanged { .. } => "password.changed",
            Self::PasswordRehashed { .. } => "password.rehashed",
        }
    }
}

/// Where events go, if anybody listens.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<dyn EventSink>>);

impl Events {
    pub(crate) fn to(sink: impl EventSink) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// The event is put together only where somebody listens.
    ///
    /// A sink that panics changes neither the answer to a request nor the course of a task.
    #[inline]
    pub(crate) fn tell<'e>(&self, event: impl FnOnce() -> AuthEvent<'e>) {
        if let Some(sink) = &self.0 {
            let _ = caught_now(SINK, || sink.record(&event()));
        }
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.is_heard()).finish()
    }
}

const SINK: &str = "event sink";

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
mod counters;
mod record;
#[cfg(feature = "metrics")]
pub use self::counters::Counters;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use self::record::Traced;
pub use self::record::{ChannelSink, EventReceiver, EventRecord, channel};
