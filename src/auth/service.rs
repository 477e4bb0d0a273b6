//! The service: one request.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    config::{Config, Decision},
    future::{Held, ResponseFuture},
};
use crate::{
    body::ResponseBody,
    claims::Claims,
    head::RequestHead,
    revoke::{NoRevocation, RevocationCheck},
};

/// A service that authenticates requests by a JWT; made by [`JwtAuthLayer`](super::JwtAuthLayer).
pub struct JwtAuthService<S, C = Claims, R = NoRevocation> {
    inner: S,
    config: Arc<Config<C, R>>,
}

impl<S, C, R> JwtAuthService<S, C, R> {
    pub(super) fn new(inner: S, config: Arc<Config<C, R>>) -> Self {
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

impl<S, C, R, B, T> Service<Request<B>> for JwtAuthService<S, C, R>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, T, C, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let config = &*self.config;
        config.clean(&mut request);
        let head = RequestHead::of(&request);
        match config.decide(head) {
            Decision::Authenticated(caller, after) => {
                config.admit(&mut request, Some(caller));
                ResponseFuture::inner(self.inner.call(request), after)
            }
            Decision::Anonymous(after) => {
                config.admit(&mut request, None);
                ResponseFuture::inner(self.inner.call(request), after)
            }
            Decision::Denied(error) => ResponseFuture::denied(config.answers.deny(error, head)),
            Decision::Wait(wait) => ResponseFuture::waiting(wait, self.hold(request)),
            Decision::Ask(future, asked) => {
                ResponseFuture::asking(future, asked, self.hold(request))
            }
        }
    }
}

impl<S: Clone, C, R> JwtAuthService<S, C, R> {
    fn hold<B>(&mut self, request: Request<B>) -> Held<S, B, C, R> {
        // The instance that was polled ready must be the one that is called.
        let fresh = self.inner.clone();
        Held {
            service: mem::replace(&mut self.inner, fresh),
            request,
            config: Arc::clone(&self.config),
        }
    }
}

impl<S: Clone, C, R> Clone for JwtAuthService<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<S, C, R> fmt::Debug for JwtAuthService<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthService").finish_non_exhaustive()
    }
}
