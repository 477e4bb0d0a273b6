//! Owned records of events, and a queue for them.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

#[cfg(feature = "server")]
use super::SessionEvent;
use super::{AuthEvent, EventSink};
use crate::{
    error::{AuthError, RefusedToken, shown},
    principal::SessionId,
    time::Timestamp,
};

/// An owned record of an event. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventRecord {
    /// The name of the event: [`AuthEvent::name`].
    pub name: &'static str,
    /// The time at which the record was created, by this machine's wall clock.
    pub at: Timestamp,
    /// The subject that the event concerns, if known.
    pub subject: Option<String>,
    /// The session that the event concerns, if known.
    pub session: Option<SessionId>,
    /// Another object of the event: an API key, a signing key, a claimed guest, the purpose of a
    /// mail, or the provider's session of a logout.
    pub object: Option<String>,
    /// The client's network, given by its first address. Set for logins, and for API keys used from
    /// a new network.
    pub network: Option<IpAddr>,
    /// The method and the path of a refused request, escaped and cut at 128 bytes. The query is left
    /// out, because it may contain a token.
    pub request: Option<String>,
    /// The requirement that a refused caller does not meet: [`AuthError::missing`].
    pub missing: Option<String>,
    /// The reason that a policy engine gave, escaped and cut at 128 bytes:
    /// [`AuthError::decision_reason`].
    pub reason: Option<String>,
    /// The values of a refused token, and the expected ones.
    pub token: Option<RefusedToken>,
    /// Further detail, such as a reason or an outcome, from a fixed list of words.
    pub detail: Option<&'static str>,
}

impl EventRecord {
    /// Creates the record of an event, with the current time.
    #[must_use]
    pub fn of(event: &AuthEvent<'_>) -> Self {
        let detail = match *event {
            AuthEvent::Denied { error, .. } => Some(error.as_str()),
            AuthEvent::KeySkipped { reason, .. } => Some(reason),
            AuthEvent::KeyFetchFailed { problem, .. } => Some(problem.as_str()),
            #[cfg(feature = "server")]
            AuthEvent::Session(event) => event.detail(),
            #[cfg(feature = "server")]
            AuthEvent::Login(event) => event.detail(),
            #[cfg(feature = "server")]
            AuthEvent::Mail(event) => event.detail(),
            _ => None,
        };
        let object = match *event {
            AuthEvent::KeySkipped { kid, .. } => kid,
            #[cfg(feature = "jwks")]
            AuthEvent::LoggedOut { session, .. } => session,
            #[cfg(feature = "server")]
            AuthEvent::KeyRotated { kid } => kid,
            #[cfg(feature = "server")]
            AuthEvent::Session(SessionEvent::GuestClaimed { guest, .. }) => Some(&**guest),
            #[cfg(feature = "server")]
            AuthEvent::Mail(event) => Some(event.purpose().as_str()),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyCreated { id, .. }
            | AuthEvent::ApiKeyRolled { id, .. }
            | AuthEvent::ApiKeyRevoked { id, .. }
            | AuthEvent::ApiKeyUsed { id, .. }
            | AuthEvent::ApiKeyNetwork { id, .. } => Some(id),
            _ => None,
        };
        let network = match *event {
            #[cfg(feature = "server")]
            AuthEvent::Login(event) => event.network(),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyNetwork { network, .. } => Some(network),
            _ => None,
        };
        let (error, request) = match *event {
            AuthEvent::Denied {
                error,
                method,
                path,
                ..
            } => (
                Some(error),
                method
                    .zip(path)
                    .map(|(method, path)| format!("{method} {}", shown(path))),
            ),
            _ => (None, None),
        };
        Self {
            name: event.name(),
            at: std::time::SystemTime::now().into(),
            subject: event.subject().map(str::to_owned),
            session: event.session(),
            object: object.map(str::to_owned),
            network,
            request,
            missing: error.and_then(AuthError::missing).map(str::to_owned),
            reason: error.and_then(AuthError::decision_reason).map(shown),
            token: error.and_then(AuthError::token).cloned(),
            detail,
        }
    }
}

/// Creates a bounded queue of events, for a task that writes them to an audit log.
///
/// Events of ordinary requests (`request.allowed`, `request.anonymous`, `request.preflight`,
/// `request.skipped`) and of introspection calls are not queued; use counters for them. If the queue is full, new events are
/// dropped and counted, so that no request waits for the audit log. A capacity of 0 counts as 1.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_jwt_auth::event::{AuthEvent, EventSink, channel};
///
/// let (sink, mut events) = channel(1000);
/// sink.record(&AuthEvent::Anonymous);
/// assert!(events.try_recv().is_none());
/// assert_eq!(events.dropped(), 0);
/// # }
/// ```
#[must_use]
pub fn channel(capacity: usize) -> (impl EventSink + Clone, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = ChannelSink {
        sender,
        dropped: Arc::clone(&dropped),
    };
    (sink, EventReceiver { receiver, dropped })
}

/// The sending half of a [`channel`].
#[derive(Clone)]
struct ChannelSink {
    sender: mpsc::Sender<EventRecord>,
    dropped: Arc<AtomicU64>,
}

impl EventSink for ChannelSink {
    fn record(&self, event: &AuthEvent<'_>) {
        if is_of_every_request(event) {
            return;
        }
        if self.sender.try_send(EventRecord::of(event)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The receiving half of a [`channel`].
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::Receiver<EventRecord>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// Waits for the next event. Returns `None` after every sink has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<EventRecord> {
        self.receiver.recv().await
    }

    /// Returns the next event, if one is queued.
    pub fn try_recv(&mut self) -> Option<EventRecord> {
        self.receiver.try_recv().ok()
    }

    /// Returns the number of events dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// An event sink that writes `tracing` events at `INFO`, with the target `tower_jwt_auth::audit`.
/// It writes the same events that a [`channel`] queues.
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingSink;

#[cfg(feature = "tracing")]
impl TracingSink {
    /// Creates the sink.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[cfg(feature = "tracing")]
impl EventSink for TracingSink {
    fn record(&self, event: &AuthEvent<'_>) {
        if is_of_every_request(event) {
            return;
        }
        let record = EventRecord::of(event);
        tracing::info!(
            target: "tower_jwt_auth::audit",
            event = record.name,
            subject = record.subject,
            session = record.session.map(tracing::field::display),
            object = record.object,
            network = record.network.map(tracing::field::display),
            request = record.request,
            missing = record.missing,
            reason = record.reason,
            token = record.token.as_ref().map(tracing::field::display),
            detail = record.detail,
        );
    }
}

fn is_of_every_request(event: &AuthEvent<'_>) -> bool {
    #[cfg(feature = "jwks")]
    if let AuthEvent::Introspected { .. } | AuthEvent::IntrospectionFailed { .. } = event {
        return true;
    }
    matches!(
        event,
        AuthEvent::Allowed { .. }
            | AuthEvent::Anonymous
            | AuthEvent::Preflight
            | AuthEvent::Skipped
    )
}
