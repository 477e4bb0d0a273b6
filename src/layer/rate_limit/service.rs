//! The service: counts the request, then answers it or passes it on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::layer::Config;
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{extract::RequestHead, middleware::GateFuture, response::ResponseBody},
};

/// A service with a rate limit; created by [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone)]
pub struct RateLimitService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> RateLimitService<S> {
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

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GateFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let head = RequestHead::of(&request);
        match self.config.decide(head) {
            Ok(()) => GateFuture::inner(self.inner.call(request)),
            Err(error) => GateFuture::denied(self.config.answers.deny(error, head)),
        }
    }
}

impl Config {
    pub(super) fn decide(&self, head: RequestHead<'_>) -> Result<(), AuthError> {
        let key = self.key.key(head)?;
        #[cfg(feature = "tracing")]
        if key.is_none() {
            self.note_unknown_client();
        }
        self.buckets.take(key.as_deref()).map_err(|wait| {
            // Rounded up, so that a request after this delay is allowed.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
            AuthError::unavailable(AuthErrorKind::TooManyRequests, seconds)
        })
    }
}

impl<S> std::fmt::Debug for RateLimitService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitService").finish_non_exhaustive()
    }
}
