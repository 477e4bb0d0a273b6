//! The groups of causes that a client can distinguish, and the text for each.

use crate::error::{AuthErrorKind, ErrorCode};

/// The reason that a client receives for a refusal. It is coarser than the cause and contains nothing
/// of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Missing,
    Malformed,
    Multiple,
    Oversized,
    Expired,
    Invalid,
    Role,
    Scope,
    CrossSite,
    Throttled,
    Unavailable,
    Misconfigured,
}

impl Reason {
    /// Every reason, with a cause that leads to it.
    pub(super) const ALL: [(Self, AuthErrorKind); 12] = [
        (Self::Missing, AuthErrorKind::MissingCredential),
        (Self::Malformed, AuthErrorKind::MalformedCredential),
        (Self::Multiple, AuthErrorKind::MultipleCredentials),
        (Self::Oversized, AuthErrorKind::OversizedCredential),
        (Self::Expired, AuthErrorKind::Expired),
        (Self::Invalid, AuthErrorKind::InvalidSignature),
        (Self::Role, AuthErrorKind::Forbidden),
        (Self::Scope, AuthErrorKind::MissingScope),
        (Self::CrossSite, AuthErrorKind::CrossSite),
        (Self::Throttled, AuthErrorKind::TooManyRequests),
        (Self::Unavailable, AuthErrorKind::KeysUnavailable),
        (Self::Misconfigured, AuthErrorKind::Misconfigured),
    ];

    pub(super) fn of(kind: AuthErrorKind) -> Self {
        match kind {
            AuthErrorKind::MissingCredential => Self::Missing,
            AuthErrorKind::MultipleCredentials => Self::Multiple,
            AuthErrorKind::OversizedCredential => Self::Oversized,
            AuthErrorKind::Expired => Self::Expired,
            AuthErrorKind::MissingScope => Self::Scope,
            AuthErrorKind::CrossSite => Self::CrossSite,
            AuthErrorKind::TooManyRequests => Self::Throttled,
            AuthErrorKind::KeysUnavailable
            | AuthErrorKind::RevocationUnavailable
            | AuthErrorKind::CheckUnavailable
            | AuthErrorKind::StoreUnavailable => Self::Unavailable,
            AuthErrorKind::Misconfigured => Self::Misconfigured,
            // By code, so that a new kind falls into the group of its status.
            _ => match kind.code() {
                Some(ErrorCode::InvalidRequest) => Self::Malformed,
                Some(ErrorCode::InsufficientScope) => Self::Role,
                _ => Self::Invalid,
            },
        }
    }

    /// Returns a fixed text in the characters that RFC 6750 §3 allows for `error_description`.
    pub(super) fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Missing => "The request carries no credential",
            Self::Malformed => "The credential is malformed",
            Self::Multiple => "The request carries more than one credential",
            Self::Oversized => "The credential is too long",
            Self::Expired => "The access token expired",
            Self::Invalid => "The access token is invalid",
            Self::Role => "The access token does not grant a role that is needed here",
            Self::Scope => "The access token does not grant a scope that is needed here",
            Self::CrossSite => "The request comes from another site",
            Self::Throttled => "Too many requests",
            Self::Unavailable => "The credential cannot be checked now",
            // The client cannot correct the mistake, and a text would only describe the server.
            Self::Misconfigured => return None,
        })
    }
}
