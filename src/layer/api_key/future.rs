//! The states of one request in the layer.
//!
//! ```text
//!             call()
//!    ┌──────────┼───────────┐
//!  Denied     Inner       Asking            (a separate task queries the store)
//! (response) (S::Future) (RowWait, Held)
//!    │          ▲           │ answer
//!  ready        └───────────┴──▶ Denied; nothing ever goes back
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    config::{Asked, Caller, Config, KeyPlace},
    lookup::RowWait,
};
use crate::{
    error::AuthError,
    layer::{
        extract::RequestHead,
        response::{ResponseBody, keep_private},
    },
};

pin_project! {
    /// The response future of an [`ApiKeyService`](super::ApiKeyService).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for the store, the inner service has not seen the
    /// request, and the store's answer is cached for the next request. If it is dropped later, it
    /// drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct ApiKeyFuture<S, B, T>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, B, T>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B, T> {
        Denied { response: Option<Response<ResponseBody<T>>> },
        Inner { #[pin] future: F, place: Option<KeyPlace> },
        Asking { wait: RowWait, held: Option<Held<S, B>> },
    }
}

/// The state of a request that waits for the store.
pub(super) struct Held<S, B> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) config: Arc<Config>,
    pub(super) asked: Asked,
}

impl<S, B, T> ApiKeyFuture<S, B, T>
where
    S: Service<Request<B>>,
{
    pub(super) fn denied(response: Response<ResponseBody<T>>) -> Self {
        Self {
            state: State::Denied {
                response: Some(response),
            },
        }
    }

    pub(super) fn inner(future: S::Future, place: Option<KeyPlace>) -> Self {
        Self {
            state: State::Inner { future, place },
        }
    }

    pub(super) fn asking(wait: RowWait, held: Held<S, B>) -> Self {
        Self {
            state: State::Asking {
                wait,
                held: Some(held),
            },
        }
    }
}

impl<S, B, T> Future for ApiKeyFuture<S, B, T>
where
    S: Service<Request<B>, Response = Response<T>>,
{
    type Output = Result<Response<ResponseBody<T>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Denied { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        // Polled after completion: stays pending instead of panicking.
                        None => Poll::Pending,
                    };
                }
                StateProj::Inner { future, place } => {
                    let mut response = ready!(future.poll(cx))?;
                    if *place == Some(KeyPlace::OwnHeader) {
                        keep_private(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Asking { wait, held } => {
                    let answer = ready!(Pin::new(wait).poll(cx));
                    match held.take() {
                        Some(held) => {
                            let verdict = held.config.conclude(answer, &held.asked);
                            held.proceed(verdict)
                        }
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B> Held<S, B> {
    fn proceed<T>(mut self, verdict: Result<Caller, AuthError>) -> State<S, S::Future, B, T>
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        match verdict {
            Ok(caller) => {
                let place = Some(caller.place);
                self.config.admit(&mut self.request, Some(caller));
                let future = self.service.call(self.request);
                State::Inner { future, place }
            }
            Err(error) => {
                let head = RequestHead::of(&self.request);
                State::Denied {
                    response: Some(self.config.deny(error, head)),
                }
            }
        }
    }
}

impl<S, B, T> fmt::Debug for ApiKeyFuture<S, B, T>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyFuture").finish_non_exhaustive()
    }
}
