//! Extractors for callers of one kind.

use std::ops::Deref;

use http::Extensions;

use crate::{
    error::{AuthError, AuthErrorKind, Reason},
    principal::{Anonymous, Principal, PrincipalKind},
};

/// A user who has signed in.
///
/// A guest, a service and an API key are refused with 403, an anonymous caller with 401. A token
/// for a single conversation is refused with 403 too, because a chat widget could otherwise act for
/// its user everywhere.
///
/// # Security
///
/// A service may have the same subject as a user (RFC 9700 §4.15), and an API key has its owner's.
/// Neither is accepted as that user, even if the keys have the kind
/// [`PrincipalKind::User`](crate::principal::PrincipalKind::User). Use [`Principal`] in routes for
/// services and API keys.
#[derive(Clone, Debug)]
pub struct UserPrincipal(Principal);

/// A guest, authenticated by the token of its session.
///
/// A user, a service and an API key are refused with 403, an anonymous caller with 401.
#[derive(Clone, Debug)]
pub struct GuestPrincipal(Principal);

/// A user or a guest. A token for a single conversation ([`Principal::conversation`]) is accepted
/// too.
///
/// A service and an API key are refused with 403, an anonymous caller with 401.
#[derive(Clone, Debug)]
pub struct AnyPrincipal(Principal);

impl UserPrincipal {
    /// Returns the user of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// - [`AuthErrorKind::MissingCredential`]: the caller is anonymous.
    /// - [`AuthErrorKind::Forbidden`]: a guest, a service, an API key, or a token for a
    ///   conversation.
    /// - [`AuthErrorKind::Misconfigured`]: no authenticating layer ran.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, AuthError> {
        caller(extensions)?.clone().try_into()
    }

    const REQUIREMENT: &str = "a user who has signed in";

    fn admits(caller: &Principal) -> bool {
        caller.is_person()
            && caller.kind() == PrincipalKind::User
            && caller.conversation().is_none()
    }
}

impl GuestPrincipal {
    /// Returns the guest of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// As [`UserPrincipal::from_extensions`]; [`AuthErrorKind::Forbidden`] for a user.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, AuthError> {
        caller(extensions)?.clone().try_into()
    }

    const REQUIREMENT: &str = "a guest";

    fn admits(caller: &Principal) -> bool {
        caller.is_person()
            && caller.kind() == PrincipalKind::Guest
            && caller.conversation().is_none()
    }
}

impl AnyPrincipal {
    /// Returns the user or the guest of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// - [`AuthErrorKind::MissingCredential`]: the caller is anonymous.
    /// - [`AuthErrorKind::Forbidden`]: a service or an API key.
    /// - [`AuthErrorKind::Misconfigured`]: no authenticating layer ran.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, AuthError> {
        caller(extensions)?.clone().try_into()
    }

    /// Returns `true` for a guest.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.0.kind() == PrincipalKind::Guest
    }

    const REQUIREMENT: &str = "a user or a guest";

    fn admits(caller: &Principal) -> bool {
        caller.is_person()
    }
}

macro_rules! principal {
    ($($identity:ident)*) => {$(
        impl Deref for $identity {
            type Target = Principal;

            fn deref(&self) -> &Principal {
                &self.0
            }
        }

        impl From<$identity> for Principal {
            fn from(identity: $identity) -> Self {
                identity.0
            }
        }

        /// Converts a caller that is not in a request's extensions, such as one from a socket's
        /// first message or a warp filter. The error is [`AuthErrorKind::Forbidden`].
        impl TryFrom<Principal> for $identity {
            type Error = AuthError;

            fn try_from(caller: Principal) -> Result<Self, AuthError> {
                match Self::admits(&caller) {
                    true => Ok(Self(caller)),
                    false => Err(AuthError::forbidden(Reason::Caller, Self::REQUIREMENT)),
                }
            }
        }
    )*};
}

principal! { UserPrincipal GuestPrincipal AnyPrincipal }

fn caller(extensions: &Extensions) -> Result<&Principal, AuthError> {
    if let Some(caller) = extensions.get() {
        return Ok(caller);
    }
    Err(match extensions.get::<Anonymous>() {
        Some(_) => AuthErrorKind::MissingCredential.into(),
        None => AuthError::caused_by(
            AuthErrorKind::Misconfigured,
            "no authenticating layer ran before the handler",
        ),
    })
}
