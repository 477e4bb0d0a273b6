//! Events that outlive their moment: in a log, in a queue.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use super::{AuthEvent, EventSink};
use crate::{clock::Timestamp, token::SessionId};

/// What is kept of an event: who, which session, what, and why. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventRecord {
    /// What happened: [`AuthEvent::name`].
    pub name: &'static str,
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// Whom it concerns, where that is known.
    pub subject: Option<String>,
    /// Which session.
    pub session: Option<SessionId>,
    /// What else is concerned: an API key, a signing key, the guest that was claimed.
    pub object: Option<String>,
    /// From which network, by its first address: of logins, and of API keys that are used elsewhere.
    pub network: Option<IpAddr>,
    /// Why, how, or how far: a word from a fixed list.
    pub detail: Option<&'static str>,
}

impl EventRecord {
    /// The record of an event that happens now.
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
            | AuthEvent::RevocationsStale { .. }
            | AuthEvent::RevocationsRecovered { .. }
            | AuthEvent::KeyRotated { .. }
            | AuthEvent::LoginUnlocked
            | AuthEvent::HousekeepingFailed { .. }
            | AuthEvent::LoginThrottled { .. } => (None, None, None),
            AuthEvent::SessionStarted {
                subject, session, ..
            }
            | AuthEvent::SessionExpired { subject, session } => {
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

/// A bounded queue of events, for a task that writes them somewhere.
///
/// What passes on every request (`request.allowed`, `request.anonymous`, `request.preflight`,
/// `request.skipped`) is left to counters. Where the task falls behind, new events are dropped and
/// counted: no request waits for an audit log.
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

/// The end of a [`channel`] that events go into.
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

/// The end of a [`channel`] that events come out of.
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::Receiver<EventRecord>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// The next event; `None` once every sink is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<EventRecord> {
        self.receiver.recv().await
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<EventRecord> {
        self.receiver.try_recv().ok()
    }

    /// How many events found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Writes each event that a [`channel`] would take as a `tracing` event at `INFO`, with the target
/// `tower_jwt_auth::audit`.
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Traced;

#[cfg(feature = "tracing")]
impl Traced {
    /// Writes from now on.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[cfg(feature = "tracing")]
impl EventSink for Traced {
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
