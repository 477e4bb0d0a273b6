//! Several issuers, tenants known at run time, and the documents of real providers.

mod cached;
mod layer;
mod memory;
mod providers;
mod realms;
mod several;
mod sources;
mod tenants;

use serde_json::{Map, Value, json};
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

const A: &str = "https://a.example";
const B: &str = "https://b.example";
const AUDIENCE: &str = "https://api.example";

/// Rules for one issuer whose only key is named `k1`, as everybody else's is.
fn rules(issuer: &str, keys: TestKeys, algorithm: Algorithm, clock: &TestClock) -> VerifierBuilder {
    Verifier::key_set(KeySet::new([key(keys, algorithm)]).unwrap())
        .issuer(issuer)
        .audience(AUDIENCE)
        .clock(clock.clone())
}

fn key(keys: TestKeys, algorithm: Algorithm) -> VerifyingKey {
    keys.verifying_key(algorithm).with_kid("k1")
}

/// What such an issuer signs with.
fn signer(issuer: &str, keys: TestKeys, algorithm: Algorithm, clock: &TestClock) -> TestIssuer {
    TestIssuer::with_keys(algorithm, keys)
        .issuer(issuer)
        .audience(AUDIENCE)
        .kid(Some("k1"))
        .clock(clock.clone())
}

fn refusal(verifier: &Verifier, token: &str) -> AuthErrorKind {
    verifier.verify_now(token).unwrap_err().kind()
}

/// The claims in `claims`, with times by the clock.
fn timed(claims: Value, clock: &TestClock) -> String {
    let mut claims = match claims {
        Value::Object(claims) => claims,
        other => panic!("claims are an object, not {other}"),
    };
    let times = json!({"iat": clock.timestamp(), "exp": clock.timestamp() + 3600});
    if let Value::Object(times) = times {
        claims.extend(times);
    }
    Value::Object(claims).to_string()
}

/// A public key of ours in the words of somebody else's document.
fn published(algorithm: Algorithm, members: Value) -> Value {
    let own: Map<String, Value> = serde_json::from_str(&TestKeys::new().jwk(algorithm)).unwrap();
    let mut key = Map::new();
    for name in ["kty", "n", "e", "crv", "x", "y"] {
        if let Some(value) = own.get(name) {
            key.insert(name.into(), value.clone());
        }
    }
    if let Value::Object(members) = members {
        key.extend(members);
    }
    Value::Object(key)
}
