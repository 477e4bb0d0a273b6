//! The states of one request in the layer.
//!
//! ```text
//!             call()
//!    ┌──────────┼─────────────┬──────────────────┐
//!  Denied     Inner         Waiting            Asking         (its key is being fetched; the
//! (response) (S::Future)  (KeyWait, Held)  (R::Future, Held)   revocation check has to ask)
//!    │          ▲             │ news: decided    │ answer
//!  ready        └─────────────┴──────────────────┘
//!                    or Denied; Waiting may go on to Asking; nothing ever goes back
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response, header::SET_COOKIE};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::config::{Asked, Config, Decision};
use crate::{
    error::AuthError,
    key::KeyWait,
    layer::{
        extract::{Cleared, RequestHead},
        response::{ResponseBody, keep_private},
    },
    revocation::RevocationCheck,
};

pin_project! {
    /// The response future of a [`JwtAuthService`](super::JwtAuthService).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits for a key or a revocation check is safe: the inner service
    /// has not been called. Dropping it later drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, T, C, R>
    where
        S: Service<Request<B>>,
        R: RevocationCheck,
    {
        #[pin]
        state: State<S, S::Future, R::Future, B, T, C, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, A, B, T, C, R> {
        Denied { response: Option<Response<ResponseBody<T>>> },
        Inner { #[pin] future: F, after: After },
        Waiting { wait: KeyWait, held: Option<Held<S, B, C, R>> },
        Asking { #[pin] answer: A, held: Option<(Asked<C>, Held<S, B, C, R>)> },
    }
}

/// A suspended request, with the service and the configuration that continue it.
pub(super) struct Held<S, B, C, R> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) config: Arc<Config<C, R>>,
}

/// The change to the inner service's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    /// Deletes a bad cookie, and makes the response `private`.
    ClearCookie(Cleared),
    /// Makes the response `private`, so that shared caches do not store it.
    Private,
}

impl<S, B, T, C, R> ResponseFuture<S, B, T, C, R>
where
    S: Service<Request<B>>,
    R: RevocationCheck,
{
    pub(super) fn denied(response: Response<ResponseBody<T>>) -> Self {
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

    pub(super) fn waiting(wait: KeyWait, held: Held<S, B, C, R>) -> Self {
        Self {
            state: State::Waiting {
                wait,
                held: Some(held),
            },
        }
    }

    pub(super) fn asking(answer: R::Future, asked: Asked<C>, held: Held<S, B, C, R>) -> Self {
        Self {
            state: State::Asking {
                answer,
                held: Some((asked, held)),
            },
        }
    }
}

impl<S, B, T, C, R> Future for ResponseFuture<S, B, T, C, R>
where
    S: Service<Request<B>, Response = Response<T>>,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
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
                StateProj::Inner { future, after } => {
                    let mut response = ready!(future.poll(cx))?;
                    after.amend(response.headers_mut());
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Waiting { wait, held } => {
                    ready!(Pin::new(wait).poll(cx));
                    match held.take() {
                        Some(held) => {
                            let head = RequestHead::of(&held.request);
                            match held.config.decide(head) {
                                // A key source is waited for once per request.
                                Decision::Wait(_, error) => held.deny(error),
                                decision => held.proceed(decision),
                            }
                        }
                        None => return Poll::Pending,
                    }
                }
                StateProj::Asking { answer, held } => {
                    let status = ready!(answer.poll(cx));
                    match held.take() {
                        Some((asked, held)) => {
                            let decision = held.config.conclude(status, asked);
                            held.proceed(decision)
                        }
                        None => return Poll::Pending,
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, C, R> Held<S, B, C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    fn proceed<T>(
        mut self,
        decision: Decision<C, R::Future>,
    ) -> State<S, S::Future, R::Future, B, T, C, R>
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        let (caller, after) = match decision {
            Decision::Authenticated(caller, after) => (Some(caller), after),
            Decision::Anonymous(after) => (None, after),
            Decision::Denied(error) => return self.deny(error),
            Decision::Wait(wait, _) => {
                let held = Some(self);
                return State::Waiting { wait, held };
            }
            Decision::Ask(answer, asked) => {
                let held = Some((asked, self));
                return State::Asking { answer, held };
            }
        };
        self.config.admit(&mut self.request, caller);
        State::Inner {
            future: self.service.call(self.request),
            after,
        }
    }

    fn deny<F, T>(&self, error: AuthError) -> State<S, F, R::Future, B, T, C, R> {
        let head = RequestHead::of(&self.request);
        State::Denied {
            response: Some(self.config.deny(error, head)),
        }
    }
}

impl After {
    fn amend(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing => {}
            Self::ClearCookie(clear) => {
                for clear in clear.values() {
                    let name = cookie_name(clear);
                    let mut set = headers.get_all(SET_COOKIE).iter();
                    // Of two cookies of one name a browser keeps the last one (RFC 6265 §5.3).
                    if !set.any(|set| cookie_name(set) == name) {
                        headers.append(SET_COOKIE, clear.clone());
                    }
                }
                keep_private(headers);
            }
            Self::Private => {
                keep_private(headers);
            }
        }
    }
}

/// Returns the cookie name in a `Set-Cookie` value (RFC 6265 §5.2), empty if there is none.
fn cookie_name(set_cookie: &HeaderValue) -> &[u8] {
    let mut attributes = set_cookie.as_bytes().split(|byte| *byte == b';');
    let pair = attributes.next().unwrap_or_default();
    let end = pair.iter().position(|byte| *byte == b'=');
    end.and_then(|end| pair.get(..end))
        .unwrap_or_default()
        .trim_ascii()
}

impl<S, B, T, C, R> fmt::Debug for ResponseFuture<S, B, T, C, R>
where
    S: Service<Request<B>>,
    R: RevocationCheck,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
