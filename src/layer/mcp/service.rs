//! The service of the guard, and a request whose body it reads.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{McpBody, McpGuardLayer, body::Collected, guard::Glance};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        middleware::{Kind, Next, ResponseBody, ResponseFuture, Suspension, is_before_body},
        response::Refuse,
    },
    task::{Timer, end_of_wait},
};

/// A service that restricts the operations of an MCP server.
///
/// Created by [`McpGuardLayer`], which documents the decisions. The inner service is not called for a
/// refused request. It must be `Clone`: a request whose body is read holds a clone, so that it keeps no
/// permit of a limit inside.
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct McpGuardService<S> {
    inner: S,
    layer: McpGuardLayer,
}

impl<S> McpGuardService<S> {
    pub(super) fn new(inner: S, layer: McpGuardLayer) -> Self {
        Self { inner, layer }
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

impl<S, B, T> Service<Request<B>> for McpGuardService<S>
where
    S: Service<Request<McpBody<B>>, Response = Response<T>> + Clone,
    B: Body,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Reading<S, B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let config = &self.layer.config;
        match config.glance(RequestHead::of(&request), request.body()) {
            Glance::Pass => {
                let request = request.map(McpBody::untouched);
                ResponseFuture::inner(self.inner.call(request), ())
            }
            Glance::Refuse(error) => {
                let head = RequestHead::of(&request);
                let response = config.refusals.refuse(error, head);
                ResponseFuture::answered(Box::new(response), is_before_body(head))
            }
            Glance::Read => ResponseFuture::suspended(|| {
                // The ready instance may hold a permit, so it is dropped. Neither of the clones was
                // polled.
                let fresh = self.inner.clone();
                self.inner = fresh.clone();
                Reading::new(request, self.layer.clone(), fresh)
            }),
        }
    }
}

impl<S> fmt::Debug for McpGuardService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpGuardService").finish_non_exhaustive()
    }
}

pin_project! {
    /// A request whose body is read before the decision.
    ///
    /// It holds a clone of the inner service that was not polled for readiness. The clone is polled after
    /// the decision, and only for a request that passes.
    pub struct Reading<S, B> {
        #[pin]
        body: B,
        collected: Option<Collected>,
        held: Option<Held<S>>,
        // The request passes when the inner service is ready.
        passing: Option<McpBody<B>>,
        deadline: Instant,
        timer: Timer,
    }
}

struct Held<S> {
    layer: McpGuardLayer,
    service: S,
    head: Parts,
}

/// The frames of a body that are read in one poll, so that a client that sends many small ones does not
/// keep other tasks waiting.
const FRAMES_AT_ONCE: usize = 64;

impl<S, B: Body> Reading<S, B> {
    fn new(request: Request<B>, layer: McpGuardLayer, service: S) -> Self {
        let (head, body) = request.into_parts();
        let deadline = end_of_wait(Instant::now(), layer.config.patience);
        Self {
            body,
            collected: Some(Collected::new(layer.config.longest)),
            held: Some(Held {
                layer,
                service,
                head,
            }),
            passing: None,
            deadline,
            timer: Timer::At(deadline),
        }
    }

    /// Reads the body up to its end.
    fn poll_body(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Collected>, AuthErrorKind>> {
        let mut this = self.project();
        for _ in 0..FRAMES_AT_ONCE {
            match this.body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    let is_late = this.timer.poll(cx).is_ready();
                    return match is_late {
                        true => Poll::Ready(Err(AuthErrorKind::SlowMessage)),
                        false => Poll::Pending,
                    };
                }
                Poll::Ready(None) => return Poll::Ready(Ok(this.collected.take())),
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Err(AuthErrorKind::MalformedMessage));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let added = this.collected.as_mut().map(|held| held.add(frame));
                    if let Some(Err(_)) = added {
                        return Poll::Ready(Err(AuthErrorKind::OversizedMessage));
                    }
                }
            }
        }
        if Instant::now() >= *this.deadline {
            return Poll::Ready(Err(AuthErrorKind::SlowMessage));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> Held<S> {
    fn judge(&self, body: &[u8]) -> Result<(), Box<Response<Bytes>>> {
        let config = &self.layer.config;
        config.judge(RequestHead::of_parts(&self.head), body)
    }

    fn refuse(&self, kind: AuthErrorKind) -> Response<Bytes> {
        let refusals = &self.layer.config.refusals;
        refusals.refuse(AuthError::from(kind), RequestHead::of_parts(&self.head))
    }
}

impl<S, B> Kind for Reading<S, B> {
    type After = ();
}

impl<S, B> Suspension<S::Future, S::Error> for Reading<S, B>
where
    S: Service<Request<McpBody<B>>>,
    B: Body,
{
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next<S::Future, ()>, S::Error>> {
        if self.passing.is_none() {
            let read = ready!(self.as_mut().poll_body(cx));
            let this = self.as_mut().project();
            // Polled after completion: stays pending instead of panicking.
            let Some(held) = this.held.as_ref() else {
                return Poll::Pending;
            };
            let content = match read {
                Ok(Some(collected)) => collected.into_content(),
                Ok(None) => return Poll::Pending,
                Err(kind) => {
                    let is_unread = is_before_body(RequestHead::of_parts(&held.head));
                    let response = Box::new(held.refuse(kind));
                    return Poll::Ready(Ok(Next::Answer(response, is_unread)));
                }
            };
            if let Err(response) = held.judge(&content.bytes) {
                return Poll::Ready(Ok(Next::Answer(response, false)));
            }
            *this.passing = Some(McpBody::read(content));
        }
        let this = self.project();
        if let Some(held) = this.held.as_mut() {
            ready!(held.service.poll_ready(cx))?;
        }
        match (this.held.take(), this.passing.take()) {
            (Some(mut held), Some(body)) => {
                let request = Request::from_parts(held.head, body);
                let future = held.service.call(request);
                Poll::Ready(Ok(Next::Call(future, ())))
            }
            _ => Poll::Pending,
        }
    }
}

impl<S, B> fmt::Debug for Reading<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
