//! What a route demands of its caller's kind.

use std::ops::Deref;

use http::Extensions;

use crate::{
    error::{AuthError, AuthErrorKind},
    principal::{Anonymous, Principal, PrincipalKind},
};

/// Somebody who has signed in. A guest is refused with 403, nobody with 401.
///
/// So is a token for a single conversation: it is good for chatting there, and would otherwise let a
/// widget act for its user everywhere.
#[derive(Clone, Debug)]
pub struct User(Principal);

/// A guest, with the token of its session. Whoever has signed in is refused with 403, nobody with 401.
#[derive(Clone, Debug)]
pub struct Guest(Principal);

/// Anybody with a token, a user, a service or a guest, also with a token for a single conversation:
/// look at [`Principal::conversation`]. Nobody is refused with 401.
#[derive(Clone, Debug)]
pub struct AnyIdentity(Principal);

impl User {
    /// The user of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::MissingCredential`]: nobody. [`AuthErrorKind::Forbidden`]: a guest, or a
    /// token for a conversation. [`AuthErrorKind::Misconfigured`]: no authenticating layer ran.
    pub fn of(extensions: &Extensions) -> Result<Self, AuthError> {
        let caller = caller(extensions)?;
        match caller.kind() == PrincipalKind::Guest || caller.conversation().is_some() {
            true => Err(AuthErrorKind::Forbidden.into()),
            false => Ok(Self(caller.clone())),
        }
    }
}

impl Guest {
    /// The guest of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// As [`User::of`], where it is a user.
    pub fn of(extensions: &Extensions) -> Result<Self, AuthError> {
        let caller = caller(extensions)?;
        match caller.kind() == PrincipalKind::Guest && caller.conversation().is_none() {
            true => Ok(Self(caller.clone())),
            false => Err(AuthErrorKind::Forbidden.into()),
        }
    }
}

impl AnyIdentity {
    /// The caller of a request, from its extensions.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::MissingCredential`]: nobody. [`AuthErrorKind::Misconfigured`]: no
    /// authenticating layer ran.
    pub fn of(extensions: &Extensions) -> Result<Self, AuthError> {
        caller(extensions).cloned().map(Self)
    }

    /// Whether it is a guest.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.0.kind() == PrincipalKind::Guest
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
    )*};
}

principal! { User Guest AnyIdentity }

fn caller(extensions: &Extensions) -> Result<&Principal, AuthError> {
    if let Some(caller) = extensions.get() {
        return Ok(caller);
    }
    Err(match extensions.get::<Anonymous>() {
        Some(_) => AuthErrorKind::MissingCredential.into(),
        None => AuthError::caused_by(
            AuthErrorKind::Misconfigured,
            "no authenticating layer stands around the handler",
        ),
    })
}
