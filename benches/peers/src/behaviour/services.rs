//! How the service inside is treated.

use std::{
    convert::Infallible,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Request, StatusCode, Version,
    header::{CONTENT_TYPE, TE},
};
use tower::{Service, limit::ConcurrencyLimit};
use tower_jwt_auth::{key::Algorithm, test_util::TestKeys};

use super::{
    Case, Outcome, QUIET,
    client::{Answer, Client},
};
use crate::{
    floor::Handler,
    harness::KID,
    peer::{Layered, Missing, Peer},
    peers::{AxumJwks, AxumJwtAuth},
    setup::{Lax, Setup, bearer, jwk, jwks, lax_token, request},
};

pub(super) fn cases<P: Peer, G: Peer>() -> Vec<Case> {
    vec![
        (
            "inner service that must be polled ready",
            "served",
            strict::<P>(),
        ),
        ("`ConcurrencyLimit` inside", "served", limited::<P>()),
        (
            "gRPC: a role is missing",
            "HTTP 200, `grpc-status: 7`",
            denied::<G>(),
        ),
        (
            "a role is missing (RFC 6750 §3.1)",
            "403 with `insufficient_scope`",
            forbidden::<P>(),
        ),
        (
            "the API's metadata (RFC 9728)",
            "served, and named in the challenge",
            announced::<P>(),
        ),
    ]
}

fn setup() -> Setup {
    let key = jwk(TestKeys::new(), Algorithm::Rs256, KID);
    Setup::here(Algorithm::Rs256, jwks([key]))
}

fn good() -> Request<()> {
    request(&bearer(&lax_token(TestKeys::new(), KID, |_, _| ())))
}

/// What is an extractor stands in no stack of services.
fn is_extractor<P: Peer>() -> bool {
    [AxumJwtAuth::NAME, AxumJwks::NAME].contains(&P::NAME)
}

const EXTRACTOR: Outcome = Outcome::Absent("is an extractor, not a layer");

fn strict<P: Peer>() -> Outcome {
    if is_extractor::<P>() {
        return EXTRACTOR;
    }
    let inner = Strict {
        inner: Handler(P::body),
        ready: false,
    };
    served(P::around::<Lax, _>(setup(), inner))
}

fn limited<P: Peer>() -> Outcome {
    if is_extractor::<P>() {
        return EXTRACTOR;
    }
    let inner = ConcurrencyLimit::new(Handler(P::body), 1);
    served(P::around::<Lax, _>(setup(), inner))
}

fn served(service: Result<impl Layered, Missing>) -> Outcome {
    let client = match service {
        Ok(service) => Client::new(service),
        Err(missing) => return missing.into(),
    };
    // A panic is a result here, and needs no message.
    QUIET.store(true, Ordering::SeqCst);
    let answer = client.send(good());
    QUIET.store(false, Ordering::SeqCst);
    Outcome::of(answer.is(StatusCode::OK), || answer.shown())
}

fn denied<P: Peer>() -> Outcome {
    let client = match P::guarded::<Lax, _>(setup(), Handler(P::body)) {
        Ok(service) => Client::new(service),
        Err(missing) => return missing.into(),
    };
    let mut call = good();
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    let headers = call.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let answer = client.send(call);
    let status = answer.header("grpc-status");
    Outcome::of(answer.is(StatusCode::OK) && status == Some("7"), || {
        let Answer::Head(http, _) = &answer else {
            return answer.shown();
        };
        format!(
            "HTTP {}, `grpc-status: {}`",
            http.as_u16(),
            status.unwrap_or("none")
        )
    })
}

fn forbidden<P: Peer>() -> Outcome {
    let client = match P::guarded::<Lax, _>(setup(), Handler(P::body)) {
        Ok(service) => Client::new(service),
        Err(missing) => return missing.into(),
    };
    let answer = client.send(good());
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let says = challenge.contains("insufficient_scope");
    Outcome::of(answer.is(StatusCode::FORBIDDEN) && says, || {
        match answer.is(StatusCode::FORBIDDEN) {
            true => "answered 403 without it".to_owned(),
            false => answer.shown(),
        }
    })
}

fn announced<P: Peer>() -> Outcome {
    let client = match P::announced::<Lax, _>(setup(), Handler(P::body)) {
        Ok(service) => Client::new(service),
        Err(missing) => return missing.into(),
    };
    let refusal = client.send(Request::new(()));
    let document = Request::get("/.well-known/oauth-protected-resource").body(());
    let document = client.send(document.expect("a path"));
    let challenge = refusal.header("www-authenticate").unwrap_or_default();
    let names = challenge.contains("resource_metadata=");
    let is_json = document.header("content-type") == Some("application/json");
    Outcome::of(names && is_json && document.is(StatusCode::OK), || {
        format!("challenge `{challenge}`, document {}", document.shown())
    })
}

/// Panics when it is called without having been polled ready, which a service may.
struct Strict<S> {
    inner: S,
    ready: bool,
}

/// A clone is not ready because the original was.
impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            ready: false,
        }
    }
}

impl<S: Service<Request<()>, Error = Infallible>> Service<Request<()>> for Strict<S> {
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.ready = false;
        self.inner.call(request)
    }
}
