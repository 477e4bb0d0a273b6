//! Any bytes as `Authorization` lines, through the extractor and the whole layer.

#![no_main]

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, Verifier,
    layer::extract::{Bearer, RequestHead, TokenExtractor},
};
use tower_jwt_auth_fuzz::verifier;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier().build().unwrap());
static LAYER: LazyLock<JwtAuthLayer> = LazyLock::new(|| JwtAuthLayer::new(VERIFIER.clone()));
static RUNS: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut request = Request::new(());
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return Corpus::Reject;
        };
        request.headers_mut().append(header::AUTHORIZATION, value);
    }
    let lines = request
        .headers()
        .get_all(header::AUTHORIZATION)
        .iter()
        .count();
    let extractor = Bearer::new();
    let found = extractor.extract(RequestHead::of(&request));
    let token = found
        .ok()
        .flatten()
        .map(|credential| credential.token().to_vec());
    let good = token
        .as_ref()
        .is_some_and(|token| VERIFIER.verify_now(token).is_ok());

    let before = RUNS.load(Ordering::Relaxed);
    let mut service = LAYER.layer(service_fn(async |request: Request<()>| {
        RUNS.fetch_add(1, Ordering::Relaxed);
        assert!(request.extensions().get::<Principal>().is_some());
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let mut answer = pin!(service.call(request));
    let Poll::Ready(Ok(answer)) = answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("nothing is to be waited for")
    };
    let ran = RUNS.load(Ordering::Relaxed) - before;

    assert_eq!(ran == 1, good, "the inner service ran, or did not");
    assert_eq!(answer.status() == StatusCode::OK, good);
    assert!(lines == 1 || answer.status() == StatusCode::BAD_REQUEST);
    if !good {
        let expected = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
        assert!(expected.contains(&answer.status()), "{}", answer.status());
        let challenge = answer
            .headers()
            .get(header::WWW_AUTHENTICATE)
            .expect("RFC 9110 §15.5.2");
        let challenge = challenge.to_str().expect("visible ASCII");
        // RFC 6750 §3: nothing of the request is reflected.
        assert!(challenge.starts_with("Bearer realm=\"api\""), "{challenge}");
        assert!(
            KNOWN.iter().any(|error| challenge.contains(error)),
            "{challenge}"
        );
    }
    Corpus::Keep
});

const KNOWN: [&str; 3] = [
    "error=\"invalid_request\"",
    "error=\"invalid_token\"",
    "realm=\"api\"",
];
