//! The way of one request through the layer.
//!
//! ```text
//!             call()
//!    ┌──────────┼─────────────┐
//!  Denied     Inner         Waiting        (its key is being fetched)
//! (response) (S::Future)  (KeyWait, Held)
//!    │          ▲             │ news: decided once more, for good
//!  ready        └──────┬──────┘
//!                      └─ or Denied; nothing ever goes back
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CACHE_CONTROL, SET_COOKIE},
};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::config::{Config, Decision};
use crate::{
    body::ResponseBody,
    error::{AuthError, AuthErrorKind},
    head::RequestHead,
    key::KeyWait,
};

pin_project! {
    /// The response of a [`JwtAuthService`](super::JwtAuthService).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a key, the request was never handed to the inner service. Dropped
    /// later, it drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R, C>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, S::Future, B, R, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B, R, C> {
        Denied { response: Option<Response<ResponseBody<R>>> },
        Inner { #[pin] future: F, after: After },
        Waiting { wait: KeyWait, held: Option<Held<S, B, C>> },
    }
}

/// What a waiting request needs to go on.
struct Held<S, B, C> {
    service: S,
    request: Request<B>,
    config: Arc<Config<C>>,
}

/// What the response needs, besides what the inner service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// Make the browser forget a bad cookie.
    ClearCookie(HeaderValue),
    /// Keep shared caches away.
    Private,
}

impl<S, B, R, C> ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    pub(super) fn denied(response: Response<ResponseBody<R>>) -> Self {
        Self {
            state: State::Denied {
                response: Some(response),
            },
        }
    }

    pub(super) fn inner(future: S::Future, after: After) -> Self {
        Self {
            state: State::Inner { future, after },
        }
    }

    pub(super) fn waiting(
        wait: KeyWait,
        service: S,
        request: Request<B>,
        config: Arc<Config<C>>,
    ) -> Self {
        Self {
            state: State::Waiting {
                wait,
                held: Some(Held {
                    service,
                    request,
                    config,
                }),
            },
        }
    }
}

impl<S, B, R, C> Future for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Denied { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        // Polled after it was done: never ready again, and no panic.
                        None => Poll::Pending,
                    };
                }
                StateProj::Inner { future, after } => {
                    let mut response = ready!(future.poll(cx))?;
                    after.amend(response.headers_mut());
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Waiting { wait, held } => {
                    ready!(Pin::new(wait).poll(cx));
                    match held.take() {
                        Some(held) => held.proceed(),
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, C> Held<S, B, C>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Decides once more. A source that still wants to wait has had its time.
    fn proceed<R>(mut self) -> State<S, S::Future, B, R, C>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        let head = RequestHead::of(&self.request);
        let (token, after) = match self.config.decide(head) {
            Decision::Authenticated(token, after) => (Some(token), after),
            Decision::Anonymous(after) => (None, after),
            Decision::Denied(error) => return self.deny(error),
            Decision::Wait(_) => {
                let unavailable = AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1);
                return self.deny(unavailable);
            }
        };
        self.config.admit(&mut self.request, token);
        State::Inner {
            future: self.service.call(self.request),
            after,
        }
    }

    fn deny<F, R>(&self, error: AuthError) -> State<S, F, B, R, C> {
        let head = RequestHead::of(&self.request);
        State::Denied {
            response: Some(self.config.answers.deny(error, head)),
        }
    }
}

impl After {
    fn amend(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing => {}
            Self::ClearCookie(clear) => {
                headers.append(SET_COOKIE, clear.clone());
            }
            Self::Private => {
                let kept_private = headers.get_all(CACHE_CONTROL).iter().any(|value| {
                    let directives = value.to_str().unwrap_or_default().to_ascii_lowercase();
                    directives.contains("private") || directives.contains("no-store")
                });
                if !kept_private {
                    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("private") });
                }
            }
        }
    }
}

impl<S, B, R, C> fmt::Debug for ResponseFuture<S, B, R, C>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
