//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Response, header::STRICT_TRANSPORT_SECURITY};
use pin_project_lite::pin_project;

use crate::layer::{middleware::GateFuture, response::ResponseBody};

pin_project! {
    /// The response future of a [`RequireHttpsService`](super::RequireHttpsService).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops only the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct RequireHttpsFuture<F, R> {
        #[pin]
        inner: GateFuture<F, R>,
        hsts: Option<HeaderValue>,
    }
}

impl<F, R> RequireHttpsFuture<F, R> {
    pub(super) fn new(inner: GateFuture<F, R>, hsts: Option<HeaderValue>) -> Self {
        Self { inner, hsts }
    }
}

impl<F, R, E> Future for RequireHttpsFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(hsts) = this.hsts.take() {
            response
                .headers_mut()
                .insert(STRICT_TRANSPORT_SECURITY, hsts);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F, R> fmt::Debug for RequireHttpsFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHttpsFuture").finish_non_exhaustive()
    }
}
