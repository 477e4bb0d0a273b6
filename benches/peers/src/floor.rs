//! What no layer of this shape can avoid, and the service inside.
//!
//! The floor is that of `benches/layer.rs`: build the request, decode signature and payload into
//! stack buffers, check the signature with a prepared key, read the claims once after one look at
//! their UTF-8, share them, leave two extensions, call the inner service. Nothing in it is checked
//! but the signature.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use tower::Service;

use crate::{
    harness::{Prepared, Token, User},
    peer::Head,
    setup::{bearer, request},
};

/// The inner service: ready at once, and answers at once.
pub(crate) struct Handler<B>(pub(crate) fn() -> B);

impl<B> Clone for Handler<B> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<B> Service<Request<()>> for Handler<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new((self.0)())))
    }
}

/// One request after the other, with these tokens in turn.
pub(crate) fn calls<S>(mut service: S, tokens: &[Token]) -> impl FnMut() + Send + use<S>
where
    S: Service<Request<()>, Response: Head, Error = Infallible> + Send,
{
    let mut values = Turns::of(tokens.iter().map(|token| bearer(&token.text)).collect());
    move || assert_eq!(call(&mut service, request(values.next())), StatusCode::OK)
}

pub(crate) fn floor(tokens: &[Token]) -> impl FnMut() + Send + use<> {
    let key = Prepared::new(tokens[0].algorithm);
    let with_dots = |token: &Token| (bearer(&token.text), token.dots);
    let mut values = Turns::of(tokens.iter().map(with_dots).collect());
    let mut inner = Handler(|| ());
    move || {
        let (value, (first, second)) = values.next();
        let mut request = request(value);
        let text = request
            .headers()
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let token = &text.expect("it was just put there")["Bearer ".len()..];
        let mut signature = [0; 512];
        let length = URL_SAFE_NO_PAD.decode_slice(&token[second + 1..], &mut signature);
        let signature = &signature[..length.expect("base64url")];
        assert!(key.verifies(&token[..*second], signature));
        let mut payload = [0; 512];
        let length = URL_SAFE_NO_PAD.decode_slice(&token[first + 1..*second], &mut payload);
        let payload = &payload[..length.expect("base64url")];
        let json = std::str::from_utf8(payload).expect("claims are text");
        let user: Arc<User> = Arc::new(serde_json::from_str(json).expect("claims of a user"));
        request.extensions_mut().insert(Caller(Arc::clone(&user)));
        request.extensions_mut().insert(user);
        assert_eq!(call(&mut inner, request), StatusCode::OK);
    }
}

/// The second extension of the floor.
#[derive(Clone)]
struct Caller(#[allow(dead_code, reason = "nobody asks")] Arc<User>);

/// Values, one after the other and again from the start.
struct Turns<T> {
    values: Vec<T>,
    at: usize,
}

impl<T> Turns<T> {
    fn of(values: Vec<T>) -> Self {
        Self { values, at: 0 }
    }

    fn next(&mut self) -> &T {
        let at = self.at;
        self.at = if at + 1 == self.values.len() {
            0
        } else {
            at + 1
        };
        &self.values[at]
    }
}

fn call<S>(service: &mut S, request: Request<()>) -> StatusCode
where
    S: Service<Request<()>, Response: Head, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response.head().0,
        Poll::Pending => panic!("nothing here waits"),
    }
}
