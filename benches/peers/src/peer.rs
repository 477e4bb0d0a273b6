//! What a middleware has to offer to be compared.

use std::convert::Infallible;

use aliri::jwt::CoreClaims;
use aliri_oauth2::HasScope;
use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower::Service;

use crate::setup::Setup;

/// A middleware under comparison.
///
/// Nothing is boxed between it and whoever calls it, so that nobody is charged for the harness.
pub(crate) trait Peer {
    /// As the tables call it.
    const NAME: &'static str;

    /// The body of its refusals, which the inner service's answers then have too.
    type Body: Send + 'static;

    fn body() -> Self::Body;

    /// The inner service behind the middleware.
    fn around<C: Claims, I: Inner<Self::Body>>(
        setup: Setup,
        inner: I,
    ) -> Result<impl Layered, Missing>;

    /// The same, open only to callers with a role that a token of `setup::lax_token` lacks.
    fn guarded<C: Claims, I: Inner<Self::Body>>(
        _setup: Setup,
        _inner: I,
    ) -> Result<impl Layered, Missing> {
        Err::<I, _>(Missing("has no guards"))
    }

    /// The same, announcing the API and its issuer (RFC 9728).
    fn announced<C: Claims, I: Inner<Self::Body>>(
        _setup: Setup,
        _inner: I,
    ) -> Result<impl Layered, Missing> {
        Err::<I, _>(Missing("has no metadata"))
    }
}

/// What a middleware does not offer, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing(pub(crate) &'static str);

/// An inner service.
pub(crate) trait Inner<B: Send + 'static>:
    Service<Request<()>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B: Send + 'static, S> Inner<B> for S where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A service whose answers can be looked at.
pub(crate) trait Layered:
    Service<Request<()>, Response: Head, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Layered for S where
    S: Service<Request<()>, Response: Head, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// An answer's status and headers.
pub(crate) trait Head: Send + 'static {
    fn head(&self) -> (http::StatusCode, &http::HeaderMap);
}

impl<B: Send + 'static> Head for Response<B> {
    fn head(&self) -> (http::StatusCode, &http::HeaderMap) {
        (self.status(), self.headers())
    }
}

/// A claims type, and what one peer needs instead of it: aliri's must hold aliri's own types.
pub(crate) trait Claims: DeserializeOwned + Clone + Send + Sync + 'static {
    type Aliri: DeserializeOwned + CoreClaims + HasScope + Clone + Send + Sync + 'static;
}
