//! The service that handles one request.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{JwtAuthLayer, forward::ForwardedBody};
use crate::{
    layer::middleware::{Guarded, ResponseBody, ResponseFuture, Suspended},
    principal::Claims,
    revocation::{NoRevocation, RevocationCheck},
};

/// A service that authenticates requests by a JWT, created by [`JwtAuthLayer`](super::JwtAuthLayer).
///
/// The inner service must be `Clone`: a request that waits for keys or for a revocation check holds a
/// clone, so that it keeps no permit of a limit inside.
#[must_use = "services do nothing unless called"]
pub struct JwtAuthService<S, C = Claims, R = NoRevocation, const FORWARDS: bool = false> {
    guarded: Guarded<S, JwtAuthLayer<C, R, FORWARDS>>,
}

impl<S, C, R, const FORWARDS: bool> JwtAuthService<S, C, R, FORWARDS> {
    pub(super) fn new(inner: S, layer: JwtAuthLayer<C, R, FORWARDS>) -> Self {
        Self {
            guarded: Guarded::new(inner, layer),
        }
    }

    /// Returns a reference to the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.guarded.inner()
    }

    /// Returns the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.guarded.into_inner()
    }
}

impl<S, C, R, B, T> Service<Request<B>> for JwtAuthService<S, C, R>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Suspended<JwtAuthLayer<C, R>, S, B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.guarded.call_or_wait(request)
    }
}

impl<S, C, R, B, T> Service<Request<B>> for JwtAuthService<S, C, R, true>
where
    S: Service<Request<ForwardedBody<B>>, Response = Response<T>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future =
        ResponseFuture<S::Future, Suspended<JwtAuthLayer<C, R, true>, S, ForwardedBody<B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let forward = Arc::clone(&self.guarded.layer().config.forward);
        let request = request.map(|body| ForwardedBody::new(body, forward));
        self.guarded.call_or_wait(request)
    }
}

impl<S: Clone, C, R, const FORWARDS: bool> Clone for JwtAuthService<S, C, R, FORWARDS> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
        }
    }
}

impl<S, C, R, const FORWARDS: bool> fmt::Debug for JwtAuthService<S, C, R, FORWARDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthService").finish_non_exhaustive()
    }
}
