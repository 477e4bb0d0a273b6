//! Why a session was not started or went no further.

use std::{error::Error, fmt};

use http::StatusCode;

use crate::{
    error::StoreError,
    issue::IssueError,
    refresh::{Outcome, Reuse},
};

/// Why there are no new tokens.
///
/// `Display` and `Debug` are for logs, and hold neither tokens nor names. A client is told
/// [`error`](Self::error), [`code`](Self::code) and [`retry_after`](Self::retry_after).
#[derive(Debug)]
pub struct SessionError {
    kind: SessionErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The cause of a [`SessionError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionErrorKind {
    /// Not a refresh token of this server, or its session is gone.
    Invalid,
    /// The session has reached its end, or was not used for too long.
    Expired,
    /// The session was ended.
    Revoked,
    /// A spent refresh token: the session is ended now.
    Reused(Reuse),
    /// The subject is disabled or gone.
    Disabled,
    /// All sessions of the subject were ended while this one was being started. A new attempt, which
    /// reads the epoch again, may succeed.
    Superseded,
    /// The store could not do it.
    StoreUnavailable,
    /// Nobody could say what the subject may do.
    GrantsUnavailable,
    /// The access token could not be minted.
    NotMinted,
}

impl SessionError {
    pub(super) fn new(kind: SessionErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn caused_by(
        kind: SessionErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Why a refresh that was decided like this is not answered.
    pub(super) fn refused(outcome: Outcome) -> Self {
        Self::new(match outcome {
            Outcome::Expired | Outcome::Idle => SessionErrorKind::Expired,
            Outcome::Reused(reuse) => SessionErrorKind::Reused(reuse),
            // The store changed its mind: a failover between two questions.
            answered if answered.answers() => SessionErrorKind::StoreUnavailable,
            _ => SessionErrorKind::Revoked,
        })
    }

    /// The cause, for operators.
    #[must_use]
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }

    /// The error code on the wire: `invalid_grant` (RFC 6749 §5.2), on which alone a client signs
    /// its user out; `temporarily_unavailable`, on which it keeps its tokens and tries again; or
    /// `server_error`.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "invalid_grant",
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            _ => "server_error",
        }
    }

    /// What a client may tell its user where the error is `invalid_grant`: `session_expired`,
    /// `session_revoked`, `refresh_token_reused` or `refresh_token_invalid`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match self.kind {
            SessionErrorKind::Invalid => Some("refresh_token_invalid"),
            SessionErrorKind::Expired => Some("session_expired"),
            SessionErrorKind::Reused(_) => Some("refresh_token_reused"),
            SessionErrorKind::Revoked | SessionErrorKind::Disabled => Some("session_revoked"),
            _ => None,
        }
    }

    /// The HTTP status: 400 (RFC 6749 §5.2), 503 or 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            SessionErrorKind::StoreUnavailable
            | SessionErrorKind::GrantsUnavailable
            | SessionErrorKind::Superseded => StatusCode::SERVICE_UNAVAILABLE,
            SessionErrorKind::NotMinted => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Seconds after which a new attempt may succeed, where the cause is temporary.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::caused_by(SessionErrorKind::StoreUnavailable, error)
    }
}

impl From<IssueError> for SessionError {
    fn from(error: IssueError) -> Self {
        match error {
            // Less than a second is left.
            IssueError::SessionEnded => Self::new(SessionErrorKind::Expired),
            _ => Self::caused_by(SessionErrorKind::NotMinted, error),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SessionErrorKind::Invalid => "not a refresh token of this server",
            SessionErrorKind::Expired => "the session has expired",
            SessionErrorKind::Revoked => "the session was ended",
            SessionErrorKind::Reused(_) => "a spent refresh token was used",
            SessionErrorKind::Disabled => "the subject is disabled",
            SessionErrorKind::Superseded => "the subject's sessions were ended meanwhile",
            SessionErrorKind::StoreUnavailable => "the session store is unavailable",
            SessionErrorKind::GrantsUnavailable => "the subject's grants cannot be had now",
            SessionErrorKind::NotMinted => "the access token could not be minted",
        })
    }
}

impl Error for SessionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

const RETRY_AFTER: u32 = 1;
