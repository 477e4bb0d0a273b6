//! The verdict of an application about a verified token.

use std::error::Error;

use crate::error::{AuthError, AuthErrorKind};

/// The error of the application's custom check.
#[derive(Debug)]
pub struct CheckError {
    kind: AuthErrorKind,
    reason: Box<dyn Error + Send + Sync>,
}

impl CheckError {
    /// Refuses the token with 401. The reason is logged and not sent to the client.
    #[must_use]
    pub fn rejected(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::Rejected,
            reason: reason.into(),
        }
    }

    /// Responds with 503, because the check cannot decide now. The reason is logged and not sent to
    /// the client.
    #[must_use]
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::CheckUnavailable,
            reason: reason.into(),
        }
    }

    pub(super) fn into_error(self) -> AuthError {
        AuthError::caused_by(self.kind, self.reason)
    }
}
