//! Tests for both cryptographic libraries. The others are in `tests/server/issue`.

use serde_json::Value;

use super::*;
use crate::{
    key::Algorithm,
    revocation,
    test_util::{TestClock, TestKeys},
};

fn supported() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| cfg!(feature = "aws-lc-rs") || *algorithm != Algorithm::Es512)
}

#[test]
fn s1_every_algorithm_mints_what_its_own_verifier_accepts() {
    let clock = TestClock::new();
    for algorithm in supported() {
        let key = TestKeys::new().signing_key(algorithm).unwrap();
        let keys = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
        let issuer = TokenIssuer::builder(keys)
            .issuer("https://as.example")
            .audience("api")
            .client_id("web")
            .build()
            .unwrap();
        let minted = issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .unwrap();
        let verifier = issuer.verifier().build().unwrap();
        let verified = verifier.verify_now(minted.token().expose()).unwrap();
        assert_eq!(verified.subject(), Some("alice"), "{algorithm}");
    }
}

#[test]
fn s5_no_private_member_is_published_by_either_library() {
    for algorithm in supported() {
        let keys = KeyRing::new(TestKeys::new().signing_key(algorithm).unwrap()).unwrap();
        let set: Value = serde_json::from_str(&keys.jwks()).unwrap();
        let entries = set["keys"].as_array().unwrap();
        assert_eq!(
            entries.len(),
            usize::from(!algorithm.is_hmac()),
            "{algorithm}"
        );
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let of_none = entries.iter().all(|entry| entry.get(private).is_none());
            assert!(of_none, "{algorithm}: {private}");
        }
    }
}

/// Revocations are kept for the lifetime of a token. `server::issue` may not use the
/// constant.
#[test]
fn no_token_outlives_the_memory_of_its_revocation() {
    assert_eq!(MAX_TOKEN_LIFETIME, revocation::MAX_TOKEN_LIFETIME);
}
