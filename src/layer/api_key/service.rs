//! The service, and the wait for the store.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::{
    ApiKeyLayer,
    config::{Caller, Pending},
    lookup::{Answer, RowWait},
};
use crate::layer::{
    extract::RequestHead,
    middleware::{
        After, Guarded, Middleware, ResponseBody, ResponseFuture, Suspended, Verdict, Wait,
    },
    response::Answers,
};

/// A service that authenticates requests by an API key; created by
/// [`ApiKeyLayer`](super::ApiKeyLayer).
///
/// The inner service must be `Clone`: a request that waits for the store holds a clone, so that it
/// keeps no permit of a limit inside.
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct ApiKeyService<S> {
    guarded: Guarded<S, ApiKeyLayer>,
}

impl<S> ApiKeyService<S> {
    pub(super) fn new(inner: S, layer: ApiKeyLayer) -> Self {
        Self {
            guarded: Guarded::new(inner, layer),
        }
    }

    /// Returns a reference to the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.guarded.inner()
    }

    /// Returns the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.guarded.into_inner()
    }
}

impl<S, B, T> Service<Request<B>> for ApiKeyService<S>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Suspended<ApiKeyLayer, S, B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.guarded.call_or_wait(request)
    }
}

/// The wait for the store, and the state of the request until then.
pub(crate) struct StoreWait {
    pub(super) row: RowWait,
    pub(super) pending: Option<Pending>,
}

impl Future for StoreWait {
    type Output = (Answer, Pending);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.row).poll(cx));
        match self.pending.take() {
            Some(pending) => Poll::Ready((answer, pending)),
            None => Poll::Pending,
        }
    }
}

impl Wait for StoreWait {
    fn ends_at(&self) -> Option<Instant> {
        None
    }
}

impl Middleware for ApiKeyLayer {
    type Wait = StoreWait;
    type Pass = Option<Caller>;
    type After = After;
    type Refusals = Answers;

    const NAME: &'static str = "API key layer";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<Option<Caller>, StoreWait> {
        self.config.decide(head)
    }

    fn resume(
        &self,
        (answer, pending): (Answer, Pending),
        _: RequestHead<'_>,
    ) -> Verdict<Option<Caller>, StoreWait> {
        self.config.conclude(answer, &pending)
    }

    fn admit<B>(&self, request: &mut Request<B>, caller: Option<Caller>) -> After {
        self.config.admit(request, caller)
    }

    fn refusals(&self) -> &Answers {
        &self.config.answers
    }
}

impl<S> fmt::Debug for ApiKeyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService").finish_non_exhaustive()
    }
}
