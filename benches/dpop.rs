//! What a request with a proof of possession costs, over what it must cost: one signature, which no cache can
//! save, and a token from the cache. And what a flood of made-up proofs costs.
//!
//! `cargo bench --features test-util,server --bench dpop`, optionally with `-- --quick`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use std::{env, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use tower::Layer;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    layer::dpop::{Dpop, DpopBuilder},
    test_util::{DpopClient, TestIssuer, TestKeys},
    verify::proof::Nonces,
};

use self::harness::{Group, Handler, Prepared, call};

const SERVER: &str = "https://api.example";
const TARGET: &str = "https://api.example/";
/// Fewer than the memory of used proofs has room for.
const PROOFS: usize = 2_000;
const FLOOD: usize = 200_000;

fn main() {
    harness::main("dpop", vec![proven, plain]);
    if !env::args().any(|argument| argument == "--loop") {
        flood(match env::args().any(|argument| argument == "--quick") {
            true => FLOOD / 100,
            false => FLOOD,
        });
    }
}

fn proven() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        Group::new(format!("DPoP, {algorithm}"))
            .candidate("signature + hit", floor(algorithm))
            .candidate("proof", proofs(algorithm, false))
            .candidate("proof with a nonce", proofs(algorithm, true))
            .candidate("made-up proof", made_up(algorithm))
            .compare("proof", "signature + hit", "≤ 1.15")
            .compare("proof with a nonce", "signature + hit", "≤ 1.15")
            .compare("made-up proof", "signature + hit", "–")
    };
    [Algorithm::Es256, Algorithm::EdDsa].map(group).into()
}

/// Plain tokens, which pay for proofs only where proofs are accepted.
fn plain() -> Vec<Group> {
    let hit = |layer: JwtAuthLayer| {
        let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
        let bearer = value(&format!("Bearer {token}"));
        let mut service = layer.layer(Handler);
        move || {
            let mut request = Request::new(());
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
            assert_eq!(call(&mut service, request), StatusCode::OK);
        }
    };
    let group = Group::new("Bearer, again")
        .candidate("proofs off", hit(layer()))
        .candidate("proofs allowed", hit(layer().dpop(built(rules()))))
        .compare("proofs allowed", "proofs off", "–");
    vec![group]
}

fn layer() -> JwtAuthLayer {
    let key = TestKeys::new().verifying_key(Algorithm::Es256);
    let verifier = Verifier::key(key).audience(SERVER).build();
    JwtAuthLayer::new(verifier.expect("a verifier"))
}

/// Proofs stay fresh while the benchmark runs.
fn rules() -> DpopBuilder {
    Dpop::at(SERVER).max_age(Duration::from_secs(600))
}

fn built(rules: DpopBuilder) -> Dpop {
    rules.build().expect("rules")
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("a header value")
}

/// A client with a key, and its token.
struct Client {
    key: DpopClient,
    token: String,
    credential: HeaderValue,
}

impl Client {
    fn new(algorithm: Algorithm) -> Self {
        let key = DpopClient::new(algorithm);
        let token = TestIssuer::new(Algorithm::Es256).bound_token(&key, |_| ());
        Self {
            credential: value(&format!("DPoP {token}")),
            key,
            token,
        }
    }

    fn proof(&self) -> String {
        self.key.proof("GET", TARGET, &self.token)
    }

    fn request(&self, proof: &HeaderValue) -> Request<()> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.credential.clone());
        headers.insert("dpop", proof.clone());
        request
    }
}

/// A prepared key verifies the signature of a proof, and a plain token is found in the cache.
fn floor(algorithm: Algorithm) -> impl FnMut() {
    let client = Client::new(algorithm);
    let proof = client.proof();
    let (message, signature) = proof.rsplit_once('.').expect("a proof has dots");
    let message = message.to_owned();
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let key = Prepared::of(algorithm, &client.key.public_jwk());
    let plain = TestIssuer::new(Algorithm::Es256).token(|_| ());
    let plain = value(&format!("Bearer {plain}"));
    let mut service = layer().layer(Handler);
    move || {
        assert!(key.verifies(message.as_bytes(), &signature));
        let mut request = Request::new(());
        request.headers_mut().insert(AUTHORIZATION, plain.clone());
        assert_eq!(call(&mut service, request), StatusCode::OK);
    }
}

/// Requests with a proof each, which the server has not seen.
fn proofs(algorithm: Algorithm, with_nonce: bool) -> impl FnMut() {
    let build = move || {
        let mut rules = rules();
        if with_nonce {
            let day = Duration::from_secs(86_400);
            let nonces = Nonces::with_key([7; 32]).expect("a key").lifetime(day);
            rules = rules.nonces(nonces.expect("a day"));
        }
        layer().dpop(built(rules)).layer(Handler)
    };
    let client = Client::new(algorithm);
    let mut service = build();
    if with_nonce {
        let request = client.request(&value(&client.proof()));
        let response = harness::response(&mut service, request);
        assert!(client.key.take_nonce(response.headers()));
    }
    let proofs: Vec<_> = (0..PROOFS).map(|_| value(&client.proof())).collect();
    // The first request verifies the token.
    let first = client.request(&value(&client.proof()));
    assert_eq!(call(&mut service, first), StatusCode::OK);
    let mut next = 0;
    move || {
        if next == proofs.len() {
            // The proofs are new to new rules. The token is not, after one request.
            service = build();
            next = 0;
        }
        let status = call(&mut service, client.request(&proofs[next]));
        next += 1;
        assert_eq!(status, StatusCode::OK);
    }
}

/// Requests of a thief, who has the token and another key.
fn made_up(algorithm: Algorithm) -> impl FnMut() {
    let client = Client::new(algorithm);
    let thief = DpopClient::new(algorithm);
    let mut service = layer().dpop(built(rules())).layer(Handler);
    let request = client.request(&value(&client.proof()));
    assert_eq!(call(&mut service, request), StatusCode::OK);
    let proof = value(&thief.proof("GET", TARGET, &client.token));
    move || {
        let status = call(&mut service, client.request(&proof));
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

/// Counts what a flood of proofs of one key leaves behind. The requests have a stolen token.
fn flood(proofs: usize) {
    let [client, other] = [(); 2].map(|()| Client::new(Algorithm::Es256));
    let thief = DpopClient::new(Algorithm::Es256);
    let rules = built(rules());
    let mut service = layer().dpop(rules.clone()).layer(Handler);
    let used = value(&client.proof());
    assert_eq!(call(&mut service, client.request(&used)), StatusCode::OK);
    let proof = thief.proof("GET", TARGET, &client.token);
    let (message, signature) = proof.rsplit_once('.').expect("a proof has dots");
    let made_up = |number: usize| match number % 4 {
        // Whole proofs, and such whose claims or signatures nobody signed.
        0 => value(&proof),
        1 => value(&format!("{message}{number:08}.{signature}")),
        2 => value(&format!("{message}.{number:08}{}", &signature[8..])),
        // A copy of the client's own.
        _ => used.clone(),
    };
    // Whatever the first refusal prepares.
    call(&mut service, client.request(&made_up(0)));
    let before = (rules.verifications(), rules.remembered());
    let spent = allocation_counter::measure(|| {
        for number in 0..proofs {
            let status = call(&mut service, client.request(&made_up(number)));
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    });
    let after = (rules.verifications(), rules.remembered());
    let others = call(&mut service, other.request(&value(&other.proof())));
    println!(
        "\n{proofs} made-up proofs of one key: {} signatures verified, {} proofs remembered, {} bytes kept; a \
         request of another key: {others}",
        after.0 - before.0,
        after.1 - before.1,
        spent.bytes_current,
    );
    assert_eq!((before, others), (after, StatusCode::OK));
}
