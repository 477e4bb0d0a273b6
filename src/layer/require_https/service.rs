//! The service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{future::RequireHttpsFuture, layer::Config};
use crate::layer::{extract::RequestHead, middleware::GateFuture, response::ResponseBody};

/// A service that is reachable only over https; created by
/// [`RequireHttpsLayer`](super::RequireHttpsLayer).
#[derive(Clone)]
pub struct RequireHttpsService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> RequireHttpsService<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// Returns the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for RequireHttpsService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RequireHttpsFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.config.refuse(RequestHead::of(&request)) {
            // RFC 6797 §7.2: the header must not be sent over plain http.
            Some(refusal) => RequireHttpsFuture::new(GateFuture::denied(refusal), None),
            None => {
                let inner = GateFuture::inner(self.inner.call(request));
                RequireHttpsFuture::new(inner, self.config.hsts.clone())
            }
        }
    }
}

impl<S> fmt::Debug for RequireHttpsService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHttpsService")
            .finish_non_exhaustive()
    }
}
