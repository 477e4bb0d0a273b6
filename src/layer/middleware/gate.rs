//! The future of the layers that decide without waiting.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use crate::layer::response::ResponseBody;

pin_project! {
    /// The response future of a layer that decides without waiting: it returns the refusal immediately,
    /// or the inner service's response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct GateFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        Denied { response: Option<Response<ResponseBody<R>>> },
        Inner { #[pin] future: F },
    }
}

impl<F, R> GateFuture<F, R> {
    pub(crate) fn denied(response: Response<ResponseBody<R>>) -> Self {
        Self {
            state: State::Denied {
                response: Some(response),
            },
        }
    }

    pub(crate) fn inner(future: F) -> Self {
        Self {
            state: State::Inner { future },
        }
    }
}

impl<F, R, E> Future for GateFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Polled after completion: stays pending instead of panicking.
            StateProj::Denied { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
        }
    }
}

impl<F, R> fmt::Debug for GateFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Denied { .. } => "denied",
            State::Inner { .. } => "inner",
        };
        f.debug_struct("GateFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
