//! The service: one request.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    config::{Config, Decision},
    future::ResponseFuture,
};
use crate::{body::ResponseBody, claims::Claims, head::RequestHead};

/// A service that authenticates requests by a JWT; made by [`JwtAuthLayer`](super::JwtAuthLayer).
pub struct JwtAuthService<S, C = Claims> {
    inner: S,
    config: Arc<Config<C>>,
}

impl<S, C> JwtAuthService<S, C> {
    pub(super) fn new(inner: S, config: Arc<Config<C>>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, B, R> Service<Request<B>> for JwtAuthService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let config = &*self.config;
        config.clean(&mut request);
        let head = RequestHead::of(&request);
        match config.decide(head) {
            Decision::Authenticated(token, after) => {
                config.admit(&mut request, Some(token));
                ResponseFuture::inner(self.inner.call(request), after)
            }
            Decision::Anonymous(after) => {
                config.admit(&mut request, None);
                ResponseFuture::inner(self.inner.call(request), after)
            }
            Decision::Denied(error) => ResponseFuture::denied(config.answers.deny(error, head)),
            Decision::Wait(wait) => {
                // The instance that was polled ready must be the one that is called.
                let fresh = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, fresh);
                ResponseFuture::waiting(wait, ready, request, Arc::clone(&self.config))
            }
        }
    }
}

impl<S: Clone, C> Clone for JwtAuthService<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<S, C> fmt::Debug for JwtAuthService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthService").finish_non_exhaustive()
    }
}
