//! What a request with a proof of possession costs, over what it must cost: one signature, which no cache can
//! save, and a token from the cache.
//!
//! `cargo bench --features test-util,server --bench dpop`, optionally with `-- --quick`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use tower::Layer;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    layer::dpop::Dpop,
    test_util::{DpopClient, TestIssuer, TestKeys},
    verify::proof::Nonces,
};

use self::harness::{Group, Handler, Prepared, Token, call};

const SERVER: &str = "https://api.example";
/// Fewer than the memory of used proofs has room for.
const PROOFS: usize = 2_000;

fn main() {
    harness::main("dpop", vec![proven]);
}

fn proven() -> Vec<Group> {
    let group = |(algorithm, target): (Algorithm, &str)| {
        Group::new(format!("DPoP, {algorithm}"))
            .candidate("signature + hit", floor(algorithm))
            .candidate("proof", proofs(algorithm, false))
            .candidate("proof with a nonce", proofs(algorithm, true))
            .compare("proof", "signature + hit", target)
            .compare("proof with a nonce", "signature + hit", target)
    };
    [(Algorithm::Es256, "≤ 1.15"), (Algorithm::EdDsa, "≤ 1.15")]
        .into_iter()
        .map(group)
        .collect()
}

fn layer() -> JwtAuthLayer {
    let key = TestKeys::new().verifying_key(Algorithm::Es256);
    let verifier = Verifier::key(key).audience(SERVER).build();
    JwtAuthLayer::new(verifier.expect("a verifier"))
}

/// A prepared key verifies a signature, and a plain token is found in the cache.
fn floor(algorithm: Algorithm) -> impl FnMut() {
    let token = Token::new(algorithm);
    let (key, signature) = (Prepared::new(algorithm), token.signature());
    let plain = TestIssuer::new(Algorithm::Es256).token(|_| ());
    let plain = HeaderValue::try_from(format!("Bearer {plain}")).expect("a header value");
    let mut service = layer().layer(Handler);
    move || {
        assert!(key.verifies(token.message(), &signature));
        let mut request = Request::new(());
        request.headers_mut().insert(AUTHORIZATION, plain.clone());
        assert_eq!(call(&mut service, request), StatusCode::OK);
    }
}

/// Requests with a proof each, which the server has not seen.
fn proofs(algorithm: Algorithm, with_nonce: bool) -> impl FnMut() {
    let build = move || {
        let nonces = || Nonces::with_key([7; 32]).expect("a key");
        let mut rules = Dpop::at(SERVER).max_age(std::time::Duration::from_secs(600));
        if with_nonce {
            let day = std::time::Duration::from_secs(86_400);
            rules = rules.nonces(nonces().lifetime(day).expect("a day"));
        }
        layer().dpop(rules.build().expect("rules")).layer(Handler)
    };
    let client = DpopClient::new(algorithm);
    let token = TestIssuer::new(Algorithm::Es256).bound_token(&client, |_| ());
    let credential = HeaderValue::try_from(format!("DPoP {token}")).expect("a header value");
    let target = format!("{SERVER}/");
    let request = move |proof: &HeaderValue| {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(AUTHORIZATION, credential.clone());
        request.headers_mut().insert("dpop", proof.clone());
        request
    };
    let sign = |client: &DpopClient| {
        HeaderValue::try_from(client.proof("GET", &target, &token)).expect("a header value")
    };
    let mut service = build();
    if with_nonce {
        let response = harness::response(&mut service, request(&sign(&client)));
        assert!(client.take_nonce(response.headers()));
    }
    let proofs: Vec<_> = (0..PROOFS).map(|_| sign(&client)).collect();
    // The first request verifies the token.
    assert_eq!(call(&mut service, request(&sign(&client))), StatusCode::OK);
    let mut next = 0;
    move || {
        if next == proofs.len() {
            // The proofs are new to new rules. The token is not, after one request.
            service = build();
            next = 0;
        }
        let status = call(&mut service, request(&proofs[next]));
        next += 1;
        assert_eq!(status, StatusCode::OK);
    }
}
