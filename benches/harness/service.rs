//! A request, and the service behind the layer, in process and without a runtime.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use tower::Service;

use super::Token;

/// A request as a server hands it on, and nothing that this crate does not look at.
pub(crate) fn request(credential: Option<&HeaderValue>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(value) = credential {
        request.headers_mut().insert(AUTHORIZATION, value.clone());
    }
    request
}

pub(crate) fn credential(token: &Token) -> HeaderValue {
    let value = HeaderValue::try_from(format!("Bearer {}", token.text));
    value.expect("a token fits into a header")
}

/// The inner service: ready at once, and answers at once.
#[derive(Clone)]
pub(crate) struct Handler;

impl Service<Request<()>> for Handler {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(())))
    }
}

pub(crate) fn call<S, R>(service: &mut S, request: Request<()>) -> StatusCode
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    response(service, request).status()
}

pub(crate) fn response<S, R>(service: &mut S, request: Request<()>) -> Response<R>
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("nothing here waits"),
    }
}
