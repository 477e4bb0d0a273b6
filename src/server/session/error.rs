//! The error of a session that was not started or not refreshed.

use std::{error::Error, fmt};

use http::StatusCode;

use crate::{
    error::StoreError,
    event::{RefreshOutcome, ReuseKind},
    server::issue::IssueError,
};

/// The reason why no new tokens are issued.
///
/// `Display` and `Debug` are for logs. They contain neither tokens nor subjects. A client receives
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
    /// The token is not a refresh token of this server, or its session no longer exists.
    Invalid,
    /// The session has reached its maximum lifetime or its idle timeout.
    Expired,
    /// The session was revoked.
    Revoked,
    /// A spent refresh token was presented. The session is revoked.
    Reused(ReuseKind),
    /// The session is bound to a key, and the client has not proved to hold it (RFC 9449 §5). The session
    /// continues, and the presented token was not used up.
    NotProved,
    /// The subject is disabled or deleted.
    Disabled,
    /// All sessions of the subject were revoked while this one was being started. A new attempt
    /// reads the epoch again and may succeed.
    Superseded,
    /// The store failed.
    StoreUnavailable,
    /// The claims source failed or timed out.
    ClaimsUnavailable,
    /// The key ring is out of date, so that this node does not sign.
    KeysUnavailable,
    /// The access token could not be issued.
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

    /// Returns the error of a refresh that was decided as `outcome`.
    pub(super) fn refused(outcome: RefreshOutcome) -> Self {
        Self::new(match outcome {
            RefreshOutcome::Expired | RefreshOutcome::Idle => SessionErrorKind::Expired,
            RefreshOutcome::Reused(reuse) => SessionErrorKind::Reused(reuse),
            // The store's answer contradicts its earlier one: a failover between two calls.
            answered if answered.answers() => SessionErrorKind::StoreUnavailable,
            _ => SessionErrorKind::Revoked,
        })
    }

    /// Returns the cause, for operators.
    #[must_use]
    pub fn kind(&self) -> SessionErrorKind {
        self.kind
    }

    /// Returns the error code on the wire.
    ///
    /// - `invalid_grant` (RFC 6749 §5.2): the only code on which a client signs its user out.
    /// - `invalid_dpop_proof` (RFC 9449 §5): the session is bound to a key.
    /// - `temporarily_unavailable`: the client keeps its tokens and tries again.
    /// - `server_error`: the access token could not be issued.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self.status() {
            _ if self.kind == SessionErrorKind::NotProved => "invalid_dpop_proof",
            StatusCode::BAD_REQUEST => "invalid_grant",
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            _ => "server_error",
        }
    }

    /// Returns the detail of an `invalid_grant`, for a message to the user: `session_expired`,
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

    /// Returns the HTTP status: 400 (RFC 6749 §5.2), 503 or 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            SessionErrorKind::StoreUnavailable
            | SessionErrorKind::ClaimsUnavailable
            | SessionErrorKind::KeysUnavailable
            | SessionErrorKind::Superseded => StatusCode::SERVICE_UNAVAILABLE,
            SessionErrorKind::NotMinted => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the delay in seconds after which a new attempt may succeed, if the cause is
    /// temporary.
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
            IssueError::KeysUnavailable => {
                Self::caused_by(SessionErrorKind::KeysUnavailable, error)
            }
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
            SessionErrorKind::NotProved => "the client has not proved to hold the session's key",
            SessionErrorKind::Disabled => "the subject is disabled",
            SessionErrorKind::Superseded => "the subject's sessions were revoked during the start",
            SessionErrorKind::StoreUnavailable => "the session store is unavailable",
            SessionErrorKind::ClaimsUnavailable => "the subject's claims are unavailable",
            SessionErrorKind::KeysUnavailable => "the key ring is out of date",
            SessionErrorKind::NotMinted => "the access token could not be issued",
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
