//! The events of sessions.

use std::time::Duration;

use crate::principal::{PrincipalKind, SessionId};

/// A change of a session, or of all sessions of a subject.
///
/// The event is owned, so that a sink can clone it and send it to another task. It contains no token.
/// [`concerns`](Self::concerns) selects the events of one session.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use tower_jwt_auth::event::{AuthEvent, sink_fn};
///
/// let (sender, events) = mpsc::sync_channel(1000);
/// let sink = sink_fn(move |event| {
///     if let AuthEvent::Session(event) = *event {
///         let _ = sender.try_send(event.clone());
///     }
/// });
/// # drop((sink, events));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A session was started.
    #[non_exhaustive]
    Started {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
        /// The kind of subject. [`Guest`](PrincipalKind::Guest) means that the guest was created
        /// with this session.
        kind: PrincipalKind,
    },
    /// A refresh token was exchanged.
    #[non_exhaustive]
    Refreshed {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
        /// The decision about the refresh token. Its [`answers`](RefreshOutcome::answers) is `true`.
        /// [`Ahead`](RefreshOutcome::Ahead) means that the store lost a write.
        outcome: RefreshOutcome,
    },
    /// A spent refresh token was presented, and its session was ended. Emitted once per session.
    #[non_exhaustive]
    ReuseDetected {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
        /// The kind of the spent token.
        reuse: ReuseKind,
        /// The time since the last refresh of the session.
        age: Duration,
    },
    /// A refresh token was presented after its session had expired.
    #[non_exhaustive]
    Expired {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
    },
    /// The refresh token of a session that is bound to a key was presented without a proof by that key. The
    /// session continues. The token may have been stolen.
    #[non_exhaustive]
    NotProved {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
    },
    /// A session ended because its owner started more sessions than are allowed.
    #[non_exhaustive]
    Evicted {
        /// The owner of the session.
        subject: String,
        /// The session.
        session: SessionId,
    },
    /// Sessions were ended on purpose.
    #[non_exhaustive]
    Revoked {
        /// The owner of the sessions. `None` if the store could not be read after it had ended the
        /// session.
        subject: Option<String>,
        /// The sessions.
        scope: RevokedScope,
        /// The reason.
        reason: RevokeReason,
    },
    /// A user took over a guest's data. All sessions of the guest were ended, so the event names no
    /// single session.
    #[non_exhaustive]
    GuestClaimed {
        /// The guest.
        guest: String,
        /// The user.
        user: String,
    },
    /// A guest was promoted to an account with the same subject. All sessions of the guest were
    /// ended, so the event names no single session.
    #[non_exhaustive]
    GuestPromoted {
        /// The subject.
        subject: String,
    },
}

impl SessionEvent {
    /// Returns a stable name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started {
                kind: PrincipalKind::Guest,
                ..
            } => "guest.created",
            Self::Started { .. } => "session.created",
            Self::Refreshed {
                outcome: RefreshOutcome::Ahead,
                ..
            } => "store.lost_write",
            Self::Refreshed { .. } => "session.refreshed",
            Self::ReuseDetected { .. } => "session.reuse_detected",
            Self::Expired { .. } => "session.expired",
            Self::NotProved { .. } => "session.not_proved",
            Self::Evicted { .. } => "session.evicted",
            Self::Revoked { .. } => "session.revoked",
            Self::GuestClaimed { .. } => "guest.claimed",
            Self::GuestPromoted { .. } => "guest.promoted",
        }
    }

    /// Returns the owner of the session; the user for a claimed guest.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Started { subject, .. }
            | Self::Refreshed { subject, .. }
            | Self::ReuseDetected { subject, .. }
            | Self::Expired { subject, .. }
            | Self::NotProved { subject, .. }
            | Self::Evicted { subject, .. }
            | Self::GuestPromoted { subject } => Some(subject),
            Self::Revoked { subject, .. } => subject.as_deref(),
            Self::GuestClaimed { user, .. } => Some(user),
        }
    }

    /// Returns the session, or the session that was kept when all others were ended. `None` for
    /// events about all sessions of a subject.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Started { session, .. }
            | Self::Refreshed { session, .. }
            | Self::ReuseDetected { session, .. }
            | Self::Expired { session, .. }
            | Self::NotProved { session, .. }
            | Self::Evicted { session, .. } => Some(*session),
            Self::Revoked { scope, .. } => match scope {
                RevokedScope::Session(session) => Some(*session),
                RevokedScope::Others { kept, .. } => Some(*kept),
                RevokedScope::All { .. } => None,
            },
            Self::GuestClaimed { .. } | Self::GuestPromoted { .. } => None,
        }
    }

    /// Returns `true` if the event is about this session of this subject, or about all sessions of
    /// this subject.
    ///
    /// Use it to show the owner of a session what happens to it.
    ///
    /// # Security
    ///
    /// Take both arguments from a verified token. Session ids are not secret.
    #[must_use]
    pub fn concerns(&self, subject: &str, session: SessionId) -> bool {
        if let Self::GuestClaimed { guest, user } = self {
            return guest == subject || user == subject;
        }
        let is_ended = match self {
            Self::Revoked {
                scope: RevokedScope::Others { ended, .. },
                ..
            } => ended.contains(&session),
            _ => false,
        };
        // The subject of a single session may be unknown; then the session identifies it.
        self.subject().is_none_or(|owner| owner == subject)
            && (is_ended || self.session().is_none_or(|id| id == session))
    }

    /// Returns a further detail, from a fixed list of words.
    pub(super) fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Refreshed { outcome, .. } => Some(outcome.as_str()),
            Self::ReuseDetected { reuse, .. } => Some(reuse.as_str()),
            Self::Revoked { scope, .. } => Some(scope.as_str()),
            _ => None,
        }
    }
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
        /// The session that was kept.
        kept: SessionId,
        /// The sessions that were ended.
        ended: Vec<SessionId>,
    },
    /// All sessions of a subject. The store ends them by one number, so they are not listed.
    #[non_exhaustive]
    All {
        /// The subject's new epoch.
        epoch: u32,
    },
}

impl RevokedScope {
    /// Returns a stable name: `device`, `others` or `all`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Session(_) => "device",
            Self::Others { .. } => "others",
            Self::All { .. } => "all",
        }
    }
}

/// The reason why a session was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeReason {
    /// The user logged out.
    Logout,
    /// A spent refresh token was presented.
    Reuse,
    /// The user's credentials changed.
    CredentialsChanged,
    /// An operator revoked it.
    Administrative,
    /// A guest was claimed by a user or became an account.
    Claimed,
    /// The subject had too many sessions, and this one was used least recently.
    Displaced,
    /// A session with another proof of authentication took its place.
    Replaced,
}

impl RevokeReason {
    /// Returns the number by which stores persist the reason.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Logout => 1,
            Self::Reuse => 2,
            Self::CredentialsChanged => 3,
            Self::Administrative => 4,
            Self::Claimed => 5,
            Self::Displaced => 6,
            Self::Replaced => 7,
        }
    }

    /// Returns the reason with this number.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            1 => Self::Logout,
            2 => Self::Reuse,
            3 => Self::CredentialsChanged,
            4 => Self::Administrative,
            5 => Self::Claimed,
            6 => Self::Displaced,
            7 => Self::Replaced,
            _ => return None,
        })
    }
}

/// The decision about a presented refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The live generation within the grace window, for example from a second tab. The response
    /// contains the same refresh token.
    Fresh,
    /// The live generation. It becomes the parent of a new one.
    Rotated,
    /// A generation newer than the store's: the store lost a write. It becomes the parent of a new
    /// one.
    Ahead,
    /// The parent within the grace window, for example after a lost response. The response contains the
    /// live generation.
    Retried,
    /// The parent, after the grace window, and its child was never confirmed. The response contains a
    /// new child.
    Reissued,
    /// The session was revoked.
    Revoked,
    /// The session has reached its maximum lifetime.
    Expired,
    /// The session has reached its idle timeout.
    Idle,
    /// A spent token. The session is revoked.
    Reused(ReuseKind),
}

impl RefreshOutcome {
    /// Returns `true` if the outcome changes the session, so that the store has to write.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::Rotated | Self::Ahead | Self::Reissued | Self::Reused(_)
        )
    }

    /// Returns `true` if the client receives new tokens.
    #[must_use]
    pub fn answers(self) -> bool {
        matches!(
            self,
            Self::Fresh | Self::Rotated | Self::Ahead | Self::Retried | Self::Reissued
        )
    }

    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Rotated => "rotated",
            Self::Ahead => "ahead",
            Self::Retried => "retried",
            Self::Reissued => "reissued",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Reused(reuse) => reuse.as_str(),
        }
    }
}

/// The kind of a spent refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReuseKind {
    /// The parent, later than the policy allows.
    LateParent,
    /// A child that a reissue replaced.
    DisplacedChild,
    /// A generation older than the parent.
    StaleLineage,
}

impl ReuseKind {
    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LateParent => "late_parent",
            Self::DisplacedChild => "displaced_child",
            Self::StaleLineage => "stale_lineage",
        }
    }
}
