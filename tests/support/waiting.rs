//! The rules for a layer that may wait, for tests of every such layer.

use std::{
    convert::Infallible,
    future::{Future, Ready, poll_fn, ready},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use http::{Request, Response, StatusCode};
use tokio::sync::Notify;
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit,
    load_shed::LoadShed, util::BoxCloneService,
};
use tower_jwt_auth::Principal;

/// A layer, a request that waits in it, one that does not, and the end of the wait.
pub(crate) struct Case<L> {
    pub(crate) layer: L,
    pub(crate) waits: Box<dyn Fn() -> Request<String>>,
    pub(crate) passes: Box<dyn Fn() -> Request<String>>,
    pub(crate) release: Box<dyn Fn()>,
}

/// Polls a future once.
fn polled<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls a service for readiness once.
#[track_caller]
fn ready_now<S: Service<Request<String>>>(service: &mut S) -> &mut S {
    let is_ready = polled(pin!(poll_fn(|cx| service.poll_ready(cx))));
    assert!(is_ready.is_some(), "another request holds the permit");
    service
}

/// A handler that takes as long as it is told to.
#[derive(Clone, Default)]
pub(crate) struct Handler {
    calls: Arc<AtomicUsize>,
    busy: Arc<AtomicBool>,
    done: Arc<Notify>,
}

impl Service<Request<String>> for Handler {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(request.extensions().get::<Principal>().is_some());
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (busy, done) = (self.busy.load(Ordering::SeqCst), Arc::clone(&self.done));
        Box::pin(async move {
            if busy {
                done.notified().await;
            }
            Ok(Response::default())
        })
    }
}

/// Any number of requests wait, also on one instance of the service, and the only permit is free.
pub(crate) async fn holds_no_permit<L, T>(case: Case<L>)
where
    L: Layer<ConcurrencyLimit<Handler>>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = Infallible> + Clone,
{
    let handler = Handler::default();
    let limited = ConcurrencyLimit::new(handler.clone(), 1);
    let mut service = case.layer.layer(limited);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut future = Box::pin(ready_now(&mut service).call((case.waits)()));
        assert!(polled(future.as_mut()).is_none());
        waiting.push(future);

        let good = polled(pin!(service.clone().oneshot((case.passes)())));
        let Ok(response) = good.expect("a good request needs no wait");
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(handler.calls.load(Ordering::SeqCst), 4);

    (case.release)();
    for future in waiting {
        let Ok(response) = future.await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(handler.calls.load(Ordering::SeqCst), 8);
}

/// Its readiness fails after the wait has begun.
#[derive(Clone, Default)]
pub(crate) struct Breaking(Arc<AtomicBool>);

impl Service<Request<String>> for Breaking {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(match self.0.load(Ordering::SeqCst) {
            true => Err("broken"),
            false => Ok(()),
        })
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        ready(Err("called"))
    }
}

pub(crate) async fn returns_the_readiness_error<L, T>(case: Case<L>)
where
    L: Layer<Breaking>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = &'static str>,
{
    let breaking = Breaking::default();
    let mut service = case.layer.layer(breaking.clone());
    let ready = service.ready().await.unwrap();
    let mut future = pin!(ready.call((case.waits)()));
    assert!(polled(future.as_mut()).is_none());
    breaking.0.store(true, Ordering::SeqCst);
    (case.release)();
    assert_eq!(future.as_mut().await.err(), Some("broken"));
    assert!(polled(future.as_mut()).is_none(), "polled after completion");
}

/// Panics if it is called unready. A clone is unready, and ready at the second poll.
#[derive(Default)]
pub(crate) struct Touchy {
    polls: usize,
    calls: Arc<AtomicUsize>,
    never: Arc<AtomicBool>,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        Self {
            polls: 0,
            calls: Arc::clone(&self.calls),
            never: Arc::clone(&self.never),
        }
    }
}

impl Service<Request<String>> for Touchy {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        cx.waker().wake_by_ref();
        match self.polls > 1 && !self.never.load(Ordering::SeqCst) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        assert!(std::mem::take(&mut self.polls) > 1, "called unready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::default()))
    }
}

pub(crate) async fn is_called_ready<L, T>(case: Case<L>)
where
    L: Layer<Touchy>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = Infallible>,
{
    let touchy = Touchy::default();
    let mut service = case.layer.layer(touchy.clone());
    let Ok(ready) = service.ready().await;
    let mut future = Box::pin(ready.call((case.waits)()));
    assert!(polled(future.as_mut()).is_none());
    (case.release)();
    let Ok(response) = future.await;
    assert_eq!(response.status(), StatusCode::OK);
    // The instance that stays is polled for readiness as well.
    let Ok(ready) = service.ready().await;
    let Ok(response) = ready.call((case.passes)()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 2);
}

/// A clone that never becomes ready is never called, and its request can be dropped.
pub(crate) async fn never_calls_a_clone_that_is_never_ready<L, T>(case: Case<L>)
where
    L: Layer<Touchy>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = Infallible>,
{
    let touchy = Touchy::default();
    let mut service = case.layer.layer(touchy.clone());
    let Ok(ready) = service.ready().await;
    let mut future = Box::pin(ready.call((case.waits)()));
    assert!(polled(future.as_mut()).is_none());
    touchy.never.store(true, Ordering::SeqCst);
    (case.release)();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(polled(future.as_mut()).is_none());
    }
    drop(future);
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 0);
}

/// A request that is dropped while it waits, or while it waits for readiness, holds nothing.
pub(crate) async fn releases_everything_if_it_is_cancelled<L, T>(case: Case<L>)
where
    L: Layer<ConcurrencyLimit<Handler>>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = Infallible> + Clone,
{
    let (handler, sent) = (Handler::default(), Arc::new(()));
    let mut service = case.layer.layer(ConcurrencyLimit::new(handler.clone(), 1));
    let before = Arc::strong_count(&handler.calls);
    let waits = || {
        let mut request = (case.waits)();
        request.extensions_mut().insert(Arc::clone(&sent));
        request
    };
    let mut cancelled = Box::pin(ready_now(&mut service).call(waits()));
    assert!(polled(cancelled.as_mut()).is_none());
    assert_eq!(Arc::strong_count(&sent), 2);
    drop(cancelled);
    assert_eq!(Arc::strong_count(&sent), 1);
    assert_eq!(Arc::strong_count(&handler.calls), before);

    let mut cancelled = Box::pin(ready_now(&mut service).call(waits()));
    assert!(polled(cancelled.as_mut()).is_none());
    handler.busy.store(true, Ordering::SeqCst);
    let mut busy = Box::pin(ready_now(&mut service).call((case.passes)()));
    assert!(polled(busy.as_mut()).is_none());
    (case.release)();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(polled(cancelled.as_mut()).is_none(), "the limit is kept");
    }
    drop(cancelled);
    assert_eq!(Arc::strong_count(&sent), 1);
    handler.busy.store(false, Ordering::SeqCst);
    handler.done.notify_one();
    let Ok(response) = busy.await;
    assert_eq!(response.status(), StatusCode::OK);
    let Ok(response) = ready_now(&mut service).call((case.passes)()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(handler.calls.load(Ordering::SeqCst), 2);
}

/// `LoadShed` fails a call that no readiness was polled for. `Buffer` reserves a place.
pub(crate) async fn fits_around<L, T>(case: Case<L>)
where
    L: Layer<BoxCloneService<Request<String>, Response<String>, BoxError>>,
    L::Service: Service<Request<String>, Response = Response<T>, Error = BoxError> + Clone,
{
    let limited = ServiceBuilder::new().concurrency_limit(1);
    let shedding = LoadShed::new(limited.clone().service(Handler::default()));
    let buffered = Buffer::new(limited.service(Handler::default()), 1);
    let mut waiting = Vec::new();
    for inner in [
        BoxCloneService::new(shedding),
        BoxCloneService::new(buffered),
    ] {
        let service = case.layer.layer(inner);
        for _ in 0..2 {
            let mut service = service.clone();
            let ready = service.ready().await.unwrap();
            let mut future = Box::pin(ready.call((case.waits)()));
            assert!(polled(future.as_mut()).is_none());
            waiting.push(future);
        }
        let good = service.oneshot((case.passes)()).await.unwrap();
        assert_eq!(good.status(), StatusCode::OK);
    }
    (case.release)();
    for future in waiting {
        assert_eq!(future.await.unwrap().status(), StatusCode::OK);
    }
}
