//! What happens to sessions, for audit and metrics.

use std::time::Duration;

use crate::{
    error::StoreErrorKind,
    event::AuthEvent,
    principal::PrincipalKind,
    refresh::{Outcome, Reuse, RevokeReason},
    token::SessionId,
};

/// What happened to a session. No token is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A session was started.
    #[non_exhaustive]
    Created {
        /// The session.
        session: SessionId,
        /// Whose it is.
        subject: String,
        /// What kind of subject that is.
        kind: PrincipalKind,
    },
    /// A refresh token was answered: rotated, or given again, or reissued.
    #[non_exhaustive]
    Refreshed {
        /// The session.
        session: SessionId,
        /// How.
        outcome: Outcome,
    },
    /// A spent refresh token was used, and the session is ended. Said once.
    #[non_exhaustive]
    ReuseDetected {
        /// The session.
        session: SessionId,
        /// Whose it is.
        subject: String,
        /// Which spent token.
        reuse: Reuse,
        /// How long ago the session was last refreshed.
        age: Duration,
    },
    /// A refresh token is newer than the store knows: it was restored, or failed over, and lost
    /// what it had confirmed.
    #[non_exhaustive]
    StoreLostWrite {
        /// The session.
        session: SessionId,
    },
    /// A refresh token came after its session's end.
    #[non_exhaustive]
    Expired {
        /// The session.
        session: SessionId,
        /// Whose it was.
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
    /// A guest became an account, and keeps its subject.
    #[non_exhaustive]
    GuestPromoted {
        /// The subject.
        subject: String,
    },
    /// What ended long ago could not be deleted; it is tried again.
    #[non_exhaustive]
    HousekeepingFailed {
        /// What became of it.
        kind: StoreErrorKind,
        /// When.
        retry_in: Duration,
    },
    /// Sessions were ended on purpose.
    #[non_exhaustive]
    Revoked {
        /// Which ones.
        scope: RevokedScope,
        /// Why.
        reason: RevokeReason,
    },
}

/// Which sessions were ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokedScope {
    /// This one.
    Session(SessionId),
    /// All of a subject but one.
    #[non_exhaustive]
    Others {
        /// The subject.
        subject: String,
        /// The one that goes on.
        kept: SessionId,
        /// How many there were.
        ended: u64,
    },
    /// All of a subject.
    #[non_exhaustive]
    All {
        /// The subject.
        subject: String,
        /// Its epoch since then.
        epoch: u32,
    },
}

impl SessionEvent {
    /// The same event for an event sink; `None` if another event reports it.
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
            // The refresh that found out tells it as well.
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
