//! The service.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ApiKeyFuture,
    config::{Config, Decision},
    future::Held,
};
use crate::layer::{extract::RequestHead, response::ResponseBody};

/// A service that authenticates requests by an API key; created by
/// [`ApiKeyLayer`](super::ApiKeyLayer).
#[derive(Clone)]
pub struct ApiKeyService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> ApiKeyService<S> {
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

impl<S, B, T> Service<Request<B>> for ApiKeyService<S>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ApiKeyFuture<S, B, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let head = RequestHead::of(&request);
        match self.config.decide(head) {
            Decision::Passes(caller) => {
                let place = caller.as_ref().map(|caller| caller.place);
                self.config.admit(&mut request, caller);
                ApiKeyFuture::inner(self.inner.call(request), place)
            }
            Decision::Denied(error) => ApiKeyFuture::denied(self.config.deny(error, head)),
            Decision::Ask(wait, asked) => {
                // The instance that was polled ready must be the one that is called.
                let fresh = self.inner.clone();
                let held = Held {
                    service: mem::replace(&mut self.inner, fresh),
                    request,
                    config: Arc::clone(&self.config),
                    asked,
                };
                ApiKeyFuture::asking(wait, held)
            }
        }
    }
}

impl<S> fmt::Debug for ApiKeyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService").finish_non_exhaustive()
    }
}
