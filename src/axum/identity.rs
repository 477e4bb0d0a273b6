//! Extractors of the caller and the conversation of a chat.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::AuthRejection;
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::socket::ChatContext,
    principal::{AnyPrincipal, GuestPrincipal, UserPrincipal},
};

macro_rules! extract {
    ($($identity:ident)*) => {$(
        impl<S: Send + Sync> FromRequestParts<S> for $identity {
            type Rejection = AuthRejection;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthRejection> {
                $identity::from_extensions(&parts.extensions).map_err(|error| AuthRejection::new(error, parts))
            }
        }

        impl<S: Send + Sync> OptionalFromRequestParts<S> for $identity {
            type Rejection = AuthRejection;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &S,
            ) -> Result<Option<Self>, AuthRejection> {
                let error = match $identity::from_extensions(&parts.extensions) {
                    Ok(identity) => return Ok(Some(identity)),
                    Err(error) => error,
                };
                match error.kind() {
                    // An anonymous request, or a caller of another kind.
                    AuthErrorKind::MissingCredential | AuthErrorKind::Forbidden => Ok(None),
                    _ => Err(AuthRejection::new(error, parts)),
                }
            }
        }
    )*};
}

extract! { UserPrincipal GuestPrincipal AnyPrincipal }

impl<S: Send + Sync> FromRequestParts<S> for ChatContext {
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthRejection> {
        Self::from_extensions(&parts.extensions)
            .cloned()
            .ok_or_else(|| {
                let problem = "the handler needs a ChatLayer around it";
                let error = AuthError::caused_by(AuthErrorKind::Misconfigured, problem);
                AuthRejection::new(error, parts)
            })
    }
}
