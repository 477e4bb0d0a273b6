//! Extractors and a rejection for axum.
//!
//! [`JwtAuthLayer`](crate::JwtAuthLayer) and [`RoleGuardLayer`](crate::RoleGuardLayer) work unchanged
//! in `Router::layer`, `Router::route_layer` and `MethodRouter::layer`. With this module, handlers take
//! the values that the layers insert as arguments:
//!
//! | argument | anonymous request | no layer ran |
//! |---|---|---|
//! | [`Verified<C>`](Verified): the claims; a caller with an API key has none and gets 403 | 401 | 500 |
//! | [`Principal`]: the caller, for any kind of credential | 401 | 500 |
//! | [`UserPrincipal`], [`GuestPrincipal`](crate::principal::GuestPrincipal): a caller of that kind; any other kind gets 403 | 401 | 500 |
//! | [`AnyPrincipal`](crate::principal::AnyPrincipal): a user or a guest; any other kind gets 403 | 401 | 500 |
//! | `Option` of one of these; also `None` if the argument itself would be 403 | `None` | 500 |
//! | [`ChatContext`](crate::layer::socket::ChatContext): inserted by a [`ChatLayer`](crate::layer::socket::ChatLayer) | as documented there | 500 |
//!
//! [`UserPrincipal`]: crate::principal::UserPrincipal
//!
//! A 401 looks like the refusals of the authenticating layer. A [`Verified`] with another claims type
//! than the layer's is a mistake in the program, and is answered with 500.
//!
//! A handler that decides by itself returns the error of [`Principal::require_scope`],
//! [`require_role`](Principal::require_role) or [`require_kind`](Principal::require_kind), which is a
//! response:
//!
//! ```
//! use axum::extract::Path;
//! use tower_jwt_auth::{Principal, layer::response::AccessDenied};
//!
//! async fn cancel(caller: Principal, Path(order): Path<u64>) -> Result<String, AccessDenied> {
//!     if order > 1000 {
//!         caller.require_role("admin")?;
//!     }
//!     caller.require_scope("orders:write")?;
//!     Ok(format!("order {order} is cancelled"))
//! }
//! # let _ = axum::routing::post::<_, _, ()>(cancel);
//! ```
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_jwt_auth::{JwtAuthLayer, Principal, RoleGuardLayer, Verified, Verifier};
//!
//! #[derive(serde::Deserialize)]
//! struct Claims {
//!     name: String,
//! }
//!
//! async fn me(user: Verified<Claims>) -> String {
//!     format!("hello {}", user.name)
//! }
//!
//! async fn greet(caller: Option<Principal>) -> &'static str {
//!     if caller.is_some() { "welcome back" } else { "hello stranger" }
//! }
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
//!     .claims::<Claims>()
//!     .build()?;
//! let app = Router::new()
//!     .route("/purge", get(async || "purged").layer(RoleGuardLayer::any_of(["admin"])))
//!     .route("/me", get(me))
//!     .route("/", get(greet))
//!     .layer(JwtAuthLayer::new(verifier).optional());
//!
//! for (path, status) in [
//!     ("/", StatusCode::OK),
//!     ("/me", StatusCode::UNAUTHORIZED),
//!     ("/purge", StatusCode::UNAUTHORIZED),
//! ] {
//!     let response = app.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
//!     assert_eq!(response.status(), status);
//! }
//! # Ok(())
//! # }
//! ```

mod close;
mod identity;

use std::{error::Error, fmt};

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, request::Parts};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        response::{AccessDenied, Refuse, answers_in, caller_in},
    },
    principal::Principal,
    verify::Verified,
};

impl<S, C> FromRequestParts<S> for Verified<C>
where
    S: Send + Sync,
    C: Send + Sync + 'static,
{
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthRejection> {
        required(parts)
    }
}

impl<S, C> OptionalFromRequestParts<S> for Verified<C>
where
    S: Send + Sync,
    C: Send + Sync + 'static,
{
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, AuthRejection> {
        optional(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AuthRejection> {
        required(parts)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = AuthRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, AuthRejection> {
        optional(parts)
    }
}

/// The rejection of a handler's argument: the request is anonymous (401), the caller is of another kind
/// than the handler requires (403), or the layers are misconfigured (500).
///
/// The response looks like the refusals of the authenticating layer. Like every refusal, it carries the
/// [`AuthError`] in its extensions.
pub struct AuthRejection {
    error: AuthError,
    // Boxed so that a handler's `Result` stays small.
    response: Box<http::Response<Bytes>>,
}

impl AuthRejection {
    fn new(error: AuthError, parts: &Parts) -> Self {
        let answers = answers_in(&parts.extensions).unwrap_or_default();
        let response = answers.refuse(error.clone(), RequestHead::of_parts(parts));
        Self {
            error,
            response: Box::new(response),
        }
    }

    /// Returns the cause.
    #[must_use]
    pub fn error(&self) -> &AuthError {
        &self.error
    }

    /// Returns the status of the response. A responder may have changed it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }
}

impl IntoResponse for AuthRejection {
    fn into_response(self) -> Response {
        self.response.map(Body::from)
    }
}

impl IntoResponse for AccessDenied {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}

#[cfg(feature = "server")]
impl IntoResponse for crate::server::endpoints::FlowError {
    fn into_response(self) -> Response {
        self.to_response().map(Body::new)
    }
}

impl fmt::Display for AuthRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for AuthRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRejection")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Error for AuthRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

fn required<T>(parts: &Parts) -> Result<T, AuthRejection>
where
    T: Clone + Send + Sync + 'static,
{
    let error = match caller_in(&parts.extensions) {
        Ok(Some(caller)) => return Ok(caller),
        Ok(None) => AuthErrorKind::MissingCredential.into(),
        Err(error) => error,
    };
    Err(AuthRejection::new(error, parts))
}

fn optional<T>(parts: &Parts) -> Result<Option<T>, AuthRejection>
where
    T: Clone + Send + Sync + 'static,
{
    match caller_in(&parts.extensions) {
        Err(error) if error.kind() == AuthErrorKind::Forbidden => Ok(None),
        caller => caller.map_err(|error| AuthRejection::new(error, parts)),
    }
}
