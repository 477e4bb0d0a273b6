//! An accepted token with any one byte changed is refused.

use std::collections::HashSet;

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    key::{Algorithm, KeySet},
    test_util::{TestClock, TestIssuer, TestKeys},
};

fn verifier(algorithm: Algorithm, clock: &TestClock) -> Verifier {
    Verifier::key(TestKeys::new().verifying_key(algorithm))
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap()
}

const ALGORITHMS: [Algorithm; 13] = [
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];

/// Every other byte in every position, with the algorithm that is fast enough for it.
#[test]
fn c7_any_other_byte_in_any_position_is_refused() {
    let clock = TestClock::new();
    let verifier = verifier(Algorithm::Hs256, &clock);
    let issuer = TestIssuer::new(Algorithm::Hs256).clock(clock.clone());
    let mut changes = 0;
    for token in [
        issuer.token(|_| ()),
        issuer.clone().kid(None).typ(None).token(|claims| {
            claims.insert("roles".into(), json!(["admin", "\u{e9}\\\""]));
            claims.insert("nbf".into(), json!(clock.timestamp()))
        }),
    ] {
        let mut bytes = token.into_bytes();
        assert!(verifier.verify_now(&bytes).is_ok());
        for position in 0..bytes.len() {
            let original = bytes[position];
            for other in (0..=u8::MAX).filter(|other| *other != original) {
                bytes[position] = other;
                let verdict = verifier.verify_now(&bytes);
                assert!(verdict.is_err(), "position {position}, byte {other}");
                changes += 1;
            }
            bytes[position] = original;
        }
        assert!(
            verifier.verify_now(&bytes).is_ok(),
            "and nothing was spoilt"
        );
    }
    println!("{changes} changed tokens refused");
}

/// Every position, and of the other bytes those that differ in one bit or are base64url's
/// neighbours, with every algorithm.
#[test]
fn c7_any_position_changed_is_refused_by_every_algorithm() {
    let clock = TestClock::new();
    for algorithm in ALGORITHMS {
        let verifier = verifier(algorithm, &clock);
        let token = TestIssuer::new(algorithm)
            .clock(clock.clone())
            .token(|_| ());
        let mut bytes = token.into_bytes();
        assert!(verifier.verify_now(&bytes).is_ok(), "{algorithm}");
        for position in 0..bytes.len() {
            let original = bytes[position];
            for other in [original ^ 1, original ^ 0x20, b'A', b'=', b'.'] {
                if other != original {
                    bytes[position] = other;
                    let verdict = verifier.verify_now(&bytes);
                    assert!(verdict.is_err(), "{algorithm}, {position}: {other}");
                }
            }
            bytes[position] = original;
        }
    }
}

#[test]
fn a_byte_added_or_removed_anywhere_is_refused() {
    let clock = TestClock::new();
    let verifier = verifier(Algorithm::Hs256, &clock);
    let issuer = TestIssuer::new(Algorithm::Hs256).clock(clock.clone());
    let token = issuer.token(|_| ()).into_bytes();
    for position in 0..=token.len() {
        for added in (0..=u8::MAX).step_by(3).chain(*b".=A \n") {
            let mut longer = token.clone();
            longer.insert(position, added);
            assert!(verifier.verify_now(&longer).is_err(), "{position}: {added}");
        }
        if position < token.len() {
            let mut shorter = token.clone();
            shorter.remove(position);
            assert!(verifier.verify_now(&shorter).is_err(), "{position}");
        }
        assert!(
            verifier.verify_now(&token[..position]).is_err() || position == token.len(),
            "{position}"
        );
    }
}

#[test]
fn d5_a_token_of_one_algorithm_never_passes_for_one_of_another() {
    let clock = TestClock::new();
    let keys = KeySet::from_jwks(TestKeys::new().jwks()).unwrap();
    let public = Verifier::key_set(keys)
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut refused = HashSet::new();
    for signed_by in ALGORITHMS {
        for named in ALGORITHMS {
            let issuer = TestIssuer::new(signed_by).clock(clock.clone());
            let good = issuer.token(|_| ());
            let claims = good.split('.').nth(1).unwrap();
            let kid = TestKeys::new().kid(named);
            let header = json!({"alg": named.as_str(), "kid": kid}).to_string();
            let header =
                base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
            let token = issuer.raw_parts(&header, claims);
            let accepted = public.verify_now(token).is_ok();
            assert_eq!(
                accepted,
                signed_by == named && !named.is_hmac(),
                "{signed_by} as {named}"
            );
            if !accepted {
                refused.insert((signed_by, named));
            }
        }
    }
    assert_eq!(refused.len(), 13 * 13 - 10);
}
