//! The reasons to close a socket.

use std::fmt;

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::response::AccessDenied,
    principal::Principal,
};

/// The reason why a socket or an event stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The token has expired and was not renewed in time.
    Expired,
    /// The token, its session or all sessions of its subject were revoked, or the key that signed
    /// the token was withdrawn.
    Revoked,
    /// No token was sent, or it is not valid.
    Unauthenticated,
    /// The token cannot be verified now.
    Unavailable,
}

impl CloseReason {
    /// Returns the status code of the Close frame (RFC 6455 §7.4): 4401, from the range for
    /// applications, or 1013, "try again later".
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Unavailable => 1013,
            _ => 4401,
        }
    }

    /// Returns the reason in the Close frame, for the client's program: `token_expired`,
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

    /// Returns the refusal of this caller's request, for a handler whose stream cannot begin.
    ///
    /// Its response has the form of the layer that authenticated the caller: 401 with the challenge of that
    /// layer, which names the metadata of its [resource](crate::layer::resource), or 503.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::{
    ///     Principal,
    ///     layer::{
    ///         response::AccessDenied,
    ///         socket::{SocketAuth, SocketGuard},
    ///     },
    /// };
    ///
    /// fn open(sockets: &SocketAuth, caller: Principal) -> Result<SocketGuard, AccessDenied> {
    ///     let guard = sockets.guard(caller.clone());
    ///     guard.map_err(|reason| reason.denied(&caller))
    /// }
    /// ```
    #[must_use]
    pub fn denied(self, caller: &Principal) -> AccessDenied {
        let error = match self {
            Self::Expired => AuthErrorKind::Expired.into(),
            Self::Revoked => AuthErrorKind::Revoked.into(),
            Self::Unauthenticated => AuthErrorKind::MissingCredential.into(),
            Self::Unavailable => AuthError::unavailable(AuthErrorKind::RevocationUnavailable, 1),
        };
        AccessDenied::of(caller, error)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for CloseReason {}
