//! Owned records of events, and a queue for them.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{AuthEvent, EventSink};
use crate::{principal::SessionId, time::Timestamp};

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
    /// Another object of the event: an API key, a signing key or a claimed guest.
    pub object: Option<String>,
    /// The client's network, given by its first address. Set for logins, and for API keys used from
    /// a new network.
    pub network: Option<IpAddr>,
    /// Further detail, such as a reason or an outcome, from a fixed list of words.
    pub detail: Option<&'static str>,
}

impl EventRecord {
    /// Creates the record of an event, with the current time.
    #[must_use]
    pub fn of(event: &AuthEvent<'_>) -> Self {
        let (subject, session, detail) = match *event {
            AuthEvent::Allowed { caller, .. } => {
                let session = caller.session_id().and_then(|id| id.parse().ok());
                (caller.subject(), session, None)
            }
            AuthEvent::Denied { error } => (None, None, Some(error.as_str())),
            AuthEvent::KeySkipped { reason, .. } => (None, None, Some(reason)),
            AuthEvent::KeyFetchFailed { problem, .. } => (None, None, Some(problem.as_str())),
            AuthEvent::Anonymous
            | AuthEvent::Preflight
            | AuthEvent::Skipped
            | AuthEvent::KeysFetched { .. }
            | AuthEvent::KeyRingStale { .. }
            | AuthEvent::KeyRingRecovered { .. }
            | AuthEvent::RevocationsStale { .. }
            | AuthEvent::RevocationsRecovered { .. }
            | AuthEvent::KeyRotated { .. }
            | AuthEvent::LoginUnlocked
            | AuthEvent::HousekeepingFailed { .. }
            | AuthEvent::LoginThrottled { .. } => (None, None, None),
            AuthEvent::SessionStarted {
                subject, session, ..
            }
            | AuthEvent::SessionExpired { subject, session }
            | AuthEvent::SessionEvicted { subject, session } => {
                (Some(subject), Some(session), None)
            }
            AuthEvent::GuestClaimed { user, .. } => (Some(user), None, None),
            AuthEvent::GuestPromoted { subject } => (Some(subject), None, None),
            AuthEvent::SessionRefreshed { session, outcome } => {
                (None, Some(session), Some(outcome))
            }
            AuthEvent::ReuseDetected {
                subject,
                session,
                reuse,
                ..
            } => (Some(subject), Some(session), Some(reuse)),
            AuthEvent::SessionsRevoked {
                subject,
                session,
                scope,
            } => (subject, session, Some(scope)),
            AuthEvent::LoginFailed {
                subject, reason, ..
            } => (subject, None, Some(reason)),
            AuthEvent::LoginLocked { subject } => (subject, None, None),
            AuthEvent::LoginSucceeded { subject, .. }
            | AuthEvent::PasswordChanged { subject }
            | AuthEvent::PasswordRehashed { subject } => (Some(subject), None, None),
            AuthEvent::ApiKey { owner, .. } => (Some(owner), None, None),
        };
        let object = match *event {
            AuthEvent::ApiKey { id, .. } => Some(id),
            AuthEvent::GuestClaimed { guest, .. } => Some(guest),
            AuthEvent::KeyRotated { kid } | AuthEvent::KeySkipped { kid, .. } => kid,
            _ => None,
        };
        let network = match *event {
            AuthEvent::LoginSucceeded { network, .. }
            | AuthEvent::LoginFailed { network, .. }
            | AuthEvent::LoginThrottled { network, .. }
            | AuthEvent::ApiKey { network, .. } => network,
            _ => None,
        };
        Self {
            name: event.name(),
            at: std::time::SystemTime::now().into(),
            subject: subject.map(str::to_owned),
            session,
            object: object.map(str::to_owned),
            network,
            detail,
        }
    }
}

/// Creates a bounded queue of events, for a task that writes them to an audit log.
///
/// Events of ordinary requests (`request.allowed`, `request.anonymous`, `request.preflight`,
/// `request.skipped`) are not queued; use counters for them. If the queue is full, new events are
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
pub fn channel(capacity: usize) -> (ChannelSink, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = ChannelSink {
        sender,
        dropped: Arc::clone(&dropped),
    };
    (sink, EventReceiver { receiver, dropped })
}

/// The sending half of a [`channel`]: an event sink.
#[derive(Clone, Debug)]
pub struct ChannelSink {
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
            detail = record.detail,
        );
    }
}

fn is_of_every_request(event: &AuthEvent<'_>) -> bool {
    matches!(
        event,
        AuthEvent::Allowed { .. }
            | AuthEvent::Anonymous
            | AuthEvent::Preflight
            | AuthEvent::Skipped
    )
}
