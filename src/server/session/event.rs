//! The events of sessions, for audit logs and metrics.

use std::time::Duration;

use crate::{
    error::StoreErrorKind,
    event::AuthEvent,
    principal::{PrincipalKind, SessionId},
    server::refresh::{RefreshOutcome, ReuseKind},
    store::port::RevokeReason,
};

/// One change of a session. It contains no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A session was started.
    #[non_exhaustive]
    Created {
        /// The session.
        session: SessionId,
        /// The subject of the session.
        subject: String,
        /// The kind of the subject.
        kind: PrincipalKind,
    },
    /// A refresh token was accepted: rotated, answered with the current token again, or reissued.
    #[non_exhaustive]
    Refreshed {
        /// The session.
        session: SessionId,
        /// The decision about the refresh token.
        outcome: RefreshOutcome,
    },
    /// A spent refresh token was presented, and the session was revoked. Emitted once per session.
    #[non_exhaustive]
    ReuseDetected {
        /// The session.
        session: SessionId,
        /// The subject of the session.
        subject: String,
        /// The way in which the spent token was recognized as reused.
        reuse: ReuseKind,
        /// The time since the session was last refreshed.
        age: Duration,
    },
    /// A refresh token is newer than the store's row. The store was restored from a backup or
    /// failed over, and lost a confirmed write.
    #[non_exhaustive]
    StoreLostWrite {
        /// The session.
        session: SessionId,
    },
    /// A refresh token was presented after its session had expired.
    #[non_exhaustive]
    Expired {
        /// The session.
        session: SessionId,
        /// The subject of the session.
        subject: String,
    },
    /// A session ended because its subject started more sessions than
    /// [`max_sessions`](super::SessionsBuilder::max_sessions) allows.
    #[non_exhaustive]
    Evicted {
        /// The session.
        session: SessionId,
        /// The subject of the session.
        subject: String,
    },
    /// A user claimed a guest.
    #[non_exhaustive]
    GuestClaimed {
        /// The guest.
        guest: String,
        /// The user.
        user: String,
    },
    /// A guest became an account, which keeps the guest's subject.
    #[non_exhaustive]
    GuestPromoted {
        /// The subject.
        subject: String,
    },
    /// A run of the housekeeping failed. It is repeated.
    #[non_exhaustive]
    HousekeepingFailed {
        /// The kind of the store's error.
        kind: StoreErrorKind,
        /// The delay until the next attempt.
        retry_in: Duration,
    },
    /// Sessions were revoked on purpose.
    #[non_exhaustive]
    Revoked {
        /// The sessions that were revoked.
        scope: RevokedScope,
        /// The reason.
        reason: RevokeReason,
    },
}

/// The sessions that one revocation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokedScope {
    /// One session.
    Session(SessionId),
    /// All sessions of a subject except one.
    #[non_exhaustive]
    Others {
        /// The subject.
        subject: String,
        /// The session that was kept.
        kept: SessionId,
        /// The number of sessions that were ended.
        ended: u64,
    },
    /// All sessions of a subject.
    #[non_exhaustive]
    All {
        /// The subject.
        subject: String,
        /// The subject's new epoch.
        epoch: u32,
    },
}

impl SessionEvent {
    /// Returns the same event for an event sink; `None` if another event reports it.
    pub(super) fn for_sinks(&self) -> Option<AuthEvent<'_>> {
        Some(match self {
            Self::Created {
                session,
                subject,
                kind,
            } => AuthEvent::SessionStarted {
                subject,
                session: *session,
                kind: *kind,
            },
            Self::Expired { session, subject } => AuthEvent::SessionExpired {
                subject,
                session: *session,
            },
            Self::Evicted { session, subject } => AuthEvent::SessionEvicted {
                subject,
                session: *session,
            },
            Self::Refreshed { session, outcome } => AuthEvent::SessionRefreshed {
                session: *session,
                outcome: outcome.as_str(),
            },
            Self::ReuseDetected {
                session,
                subject,
                reuse,
                age,
            } => AuthEvent::ReuseDetected {
                subject,
                session: *session,
                reuse: reuse.as_str(),
                age: *age,
            },
            Self::GuestClaimed { guest, user } => AuthEvent::GuestClaimed { guest, user },
            Self::GuestPromoted { subject } => AuthEvent::GuestPromoted { subject },
            Self::HousekeepingFailed { kind, retry_in } => AuthEvent::HousekeepingFailed {
                kind: *kind,
                retry_in: *retry_in,
            },
            // The `Refreshed` event of the same refresh reports it, with its outcome.
            Self::StoreLostWrite { .. } => return None,
            Self::Revoked { scope, .. } => match scope {
                RevokedScope::Session(session) => AuthEvent::SessionsRevoked {
                    subject: None,
                    session: Some(*session),
                    scope: "device",
                },
                RevokedScope::Others { subject, kept, .. } => AuthEvent::SessionsRevoked {
                    subject: Some(subject),
                    session: Some(*kept),
                    scope: "others",
                },
                RevokedScope::All { subject, .. } => AuthEvent::SessionsRevoked {
                    subject: Some(subject),
                    session: None,
                    scope: "all",
                },
            },
        })
    }
}
