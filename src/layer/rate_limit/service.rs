//! The service: counts the request, then answers it or passes it on.

use std::convert::Infallible;

use http::Request;

use super::RateLimitLayer;
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        middleware::{Middleware, Never, Verdict, immediate_service},
        response::InnerAnswers,
    },
};

immediate_service! {
    /// A service with a rate limit; created by [`RateLimitLayer`](super::RateLimitLayer).
    RateLimitService, RateLimitLayer, ()
}

impl Middleware for RateLimitLayer {
    type Wait = Never;
    type Pass = ();
    type After = ();
    type Refusals = InnerAnswers;

    const NAME: &'static str = "rate limit";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<(), Never> {
        match self.take(head) {
            Ok(()) => Verdict::Pass(()),
            Err(error) => Verdict::Refuse(error),
        }
    }

    fn resume(&self, woke: Infallible, _: RequestHead<'_>) -> Verdict<(), Never> {
        match woke {}
    }

    fn admit<B>(&self, _: &mut Request<B>, (): ()) {}

    fn refusals(&self) -> &InnerAnswers {
        &self.config.answers
    }
}

impl RateLimitLayer {
    /// Takes one request from its budget. The error contains the time until the next request is
    /// allowed.
    pub(crate) fn take(&self, head: RequestHead<'_>) -> Result<(), AuthError> {
        let config = &self.config;
        let key = config.key.key(head)?;
        #[cfg(feature = "tracing")]
        if key.is_none() {
            config.note_unknown_client();
        }
        config.buckets.take(key.as_deref()).map_err(|wait| {
            // Rounded up, so that a request after this delay is allowed.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
            AuthError::unavailable(AuthErrorKind::TooManyRequests, seconds)
        })
    }
}
