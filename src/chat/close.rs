//! Why a socket is closed.

use std::fmt;

/// Why a socket or a stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The token has expired, and no other one came in time.
    Expired,
    /// The token, its session or all of its subject's sessions were revoked.
    Revoked,
    /// No token came, or none that is good.
    Unauthenticated,
    /// It cannot be said now whether the token is good.
    Unavailable,
}

impl CloseReason {
    /// The status code of the Close frame (RFC 6455 §7.4): 4401, from the range for applications,
    /// or 1013, "try again later".
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unavailable => 1013,
            _ => 4401,
        }
    }

    /// What the Close frame says besides, for the client's program: `token_expired`,
    /// `token_revoked`, `unauthenticated` or `temporarily_unavailable`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "temporarily_unavailable",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for CloseReason {}
