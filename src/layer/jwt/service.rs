//! The service that handles one request.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    config::{Config, Decision},
    forward::{ForwardedBody, Forwarding, Plain},
    future::{Held, ResponseFuture},
};
use crate::{
    layer::{extract::RequestHead, response::ResponseBody},
    principal::Claims,
    revocation::{NoRevocation, RevocationCheck},
};

/// A service that authenticates requests by a JWT, created by [`JwtAuthLayer`](super::JwtAuthLayer).
pub struct JwtAuthService<S, C = Claims, R = NoRevocation, M = Plain> {
    inner: S,
    config: Arc<Config<C, R>>,
    mode: PhantomData<fn() -> M>,
}

impl<S, C, R, M> JwtAuthService<S, C, R, M> {
    pub(super) fn new(inner: S, config: Arc<Config<C, R>>) -> Self {
        Self {
            inner,
            config,
            mode: PhantomData,
        }
    }

    /// Returns a reference to the inner service.
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request)
    }
}

impl<S, C, R, B, T> Service<Request<B>> for JwtAuthService<S, C, R, Forwarding>
where
    S: Service<Request<ForwardedBody<B>>, Response = Response<T>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ForwardedBody<B>, T, C, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let forward = Arc::clone(&self.config.forward);
        self.answer(request.map(|body| ForwardedBody::new(body, forward)))
    }
}

impl<S, C, R, M> JwtAuthService<S, C, R, M>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    fn answer<B, T>(&mut self, mut request: Request<B>) -> ResponseFuture<S, B, T, C, R>
    where
        S: Service<Request<B>, Response = Response<T>> + Clone,
    {
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
            Decision::Denied(error) => ResponseFuture::denied(config.deny(error, head)),
            Decision::Wait(wait, _) => ResponseFuture::waiting(wait, self.hold(request)),
            Decision::Ask(future, asked) => {
                ResponseFuture::asking(future, asked, self.hold(request))
            }
        }
    }
}

impl<S: Clone, C, R, M> JwtAuthService<S, C, R, M> {
    fn hold<B>(&mut self, request: Request<B>) -> Held<S, B, C, R> {
        // The instance that returned ready must be the one that is called.
        let fresh = self.inner.clone();
        Held {
            service: mem::replace(&mut self.inner, fresh),
            request,
            config: Arc::clone(&self.config),
        }
    }
}

impl<S: Clone, C, R, M> Clone for JwtAuthService<S, C, R, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
            mode: PhantomData,
        }
    }
}

impl<S, C, R, M> fmt::Debug for JwtAuthService<S, C, R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthService").finish_non_exhaustive()
    }
}
