//! A request that waits.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Amend, Middleware, Verdict, is_before_body,
    wait::{Bounded, Never},
};
use crate::{
    error::AuthError,
    layer::{extract::RequestHead, response::Refuse},
};

/// The kind of a response future.
pub(crate) trait Kind {
    /// The changes to the inner service's response.
    type After: Amend;
}

/// The part of a response future that waits, and then calls the inner service.
pub(crate) trait Suspension<F, E>: Kind {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Next<F, Self::After>, E>>;
}

/// The state after all waits.
pub(crate) enum Next<F, A> {
    /// The response, and `true` if the body of the request was not read.
    Answer(Box<Response<Bytes>>, bool),
    Call(F, A),
}

pin_project! {
    /// A request that waits for its decision: for keys, a store or a revocation check.
    ///
    /// It holds a clone of the inner service that was not polled for readiness. The clone is polled
    /// after the wait, and only for a request that passes.
    #[allow(private_bounds, reason = "only the layers of this crate are middleware")]
    pub struct Suspended<L, S, B>
    where
        L: Middleware,
    {
        #[pin]
        stage: Stage<L::Wait, L::After>,
        held: Option<Held<L, S, B>>,
    }
}

pin_project! {
    #[project = Projected]
    enum Stage<W, A> {
        Waiting { #[pin] waits: Bounded<W> },
        // The request passes when the inner service is ready.
        Passing { after: A },
    }
}

struct Held<L, S, B> {
    layer: L,
    service: S,
    request: Request<B>,
    /// The refusal if the current wait gives no result.
    refusal: AuthError,
}

#[allow(private_bounds, reason = "see `Suspended`")]
impl<L: Middleware, S, B> Suspended<L, S, B> {
    /// Suspends a request. `service` has not been polled for readiness.
    pub(super) fn new(
        wait: L::Wait,
        refusal: AuthError,
        layer: L,
        service: S,
        request: Request<B>,
    ) -> Self {
        let limit = Waited::of(&request).left(layer.patience());
        Self {
            stage: Stage::Waiting {
                waits: Bounded::new(wait, limit),
            },
            held: Some(Held {
                layer,
                service,
                request,
                refusal,
            }),
        }
    }
}

impl<L: Middleware, S, B> Kind for Suspended<L, S, B> {
    type After = L::After;
}

impl<L, S, B> Suspension<S::Future, S::Error> for Suspended<L, S, B>
where
    L: Middleware,
    S: Service<Request<B>>,
{
    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next<S::Future, L::After>, S::Error>> {
        let mut this = self.project();
        let Some(held) = this.held.as_mut() else {
            return Poll::Pending;
        };
        let after = loop {
            let mut waits = match this.stage.as_mut().project() {
                Projected::Waiting { waits } => waits,
                Projected::Passing { after } => break after,
            };
            let woke = ready!(waits.as_mut().poll(cx, L::NAME));
            let head = RequestHead::of(&held.request);
            let verdict = match woke {
                Some(woke) => held.layer.resume(woke, head),
                None => Verdict::Refuse(held.refusal.clone()),
            };
            let answer = match verdict {
                Verdict::Pass(pass) => {
                    let after = held.layer.admit(&mut held.request, pass);
                    let waited = Waited::of(&held.request).and(waits.as_ref().spent());
                    held.request.extensions_mut().insert(waited);
                    this.stage.set(Stage::Passing { after });
                    continue;
                }
                Verdict::Wait(wait, refusal) => {
                    held.refusal = refusal;
                    waits.continue_with(wait);
                    continue;
                }
                Verdict::Answer(answer) => answer,
                Verdict::Refuse(error) => Box::new(held.layer.refusals().refuse(error, head)),
            };
            return Poll::Ready(Ok(Next::Answer(answer, is_before_body(head))));
        };
        ready!(held.service.poll_ready(cx))?;
        let after = mem::take(after);
        match this.held.take() {
            Some(mut held) => {
                let future = held.service.call(held.request);
                Poll::Ready(Ok(Next::Call(future, after)))
            }
            None => Poll::Pending,
        }
    }
}

/// The time that a request has waited in outer layers. It is in the extensions of a request that
/// waited, so that all waits of a request share one deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) time: Duration,
    pub(super) limit: Duration,
}

impl Waited {
    fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().copied().unwrap_or_default()
    }

    /// Returns the time that is left for a layer whose own limit is `patience`. The largest limit of
    /// the layers applies to the sum of their waits.
    pub(super) fn left(self, patience: Duration) -> Duration {
        patience.max(self.limit).saturating_sub(self.time)
    }

    /// Adds the waits of a layer: the time that they took, of the time that was left.
    pub(super) fn and(self, (time, left): (Duration, Duration)) -> Self {
        Self {
            time: self.time + time,
            limit: self.limit.max(self.time + left),
        }
    }
}

/// The kind of the future of a layer that never waits. `A` is the change to the inner service's
/// response. There is no value of this type.
#[derive(Debug)]
pub struct Immediate<A = ()> {
    never: Never,
    after: PhantomData<A>,
}

impl<A: Amend> Kind for Immediate<A> {
    type After = A;
}

impl<F, E, A: Amend> Suspension<F, E> for Immediate<A> {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Next<F, A>, E>> {
        match self.never {}
    }
}

impl<L: Middleware, S, B> fmt::Debug for Suspended<L, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspended").finish_non_exhaustive()
    }
}
