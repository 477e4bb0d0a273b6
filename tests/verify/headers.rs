//! Headers that are remembered: how many, of which tokens, and that no decision is remembered with
//! them.

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, SharedKeySet, VerifyingKey},
    test_util::{TestClock, TestIssuer, TestKeys},
};

use crate::support::text::{encode, segments};

const KID: &str = "shared";

fn kind<T>(verdict: Result<T, tower_jwt_auth::AuthError>) -> Result<(), AuthErrorKind> {
    verdict.map(drop).map_err(|error| error.kind())
}

/// A token of the issuer with these keys.
fn token(keys: TestKeys, header: &str) -> String {
    let claims = json!({ "exp": TestClock::new().timestamp() + 600, "aud": "api" });
    let issuer = TestIssuer::with_keys(Algorithm::Hs256, keys);
    issuer.raw(header, claims.to_string().as_bytes())
}

fn header(kid: &str) -> String {
    json!({ "alg": "HS256", "kid": kid }).to_string()
}

fn key(keys: TestKeys) -> VerifyingKey {
    keys.verifying_key(Algorithm::Hs256)
}

fn verifier(key: VerifyingKey) -> Verifier {
    let verifier = Verifier::key(key).audience("api").clock(TestClock::new());
    verifier.without_cache().build().unwrap()
}

/// A key that verifies tokens with any `kid`.
fn open_key() -> VerifyingKey {
    let secret = TestKeys::new().secret(Algorithm::Hs256).to_vec();
    VerifyingKey::from_secret(Algorithm::Hs256, secret).unwrap()
}

#[test]
fn q5_few_headers_are_remembered() {
    let verifier = verifier(open_key());
    let padding = "x".repeat(600);
    let tokens: Vec<_> = (0..500)
        .map(|number| token(TestKeys::new(), &header(&format!("{number}{padding}"))))
        .collect();
    let kept = allocation_counter::measure(|| {
        for token in &tokens {
            for _ in 0..3 {
                assert_eq!(kind(verifier.verify_now(token)), Ok(()));
            }
        }
    });
    assert!(kept.bytes_current > 0, "nothing was kept: {kept:?}");
    // Eight headers, raw and parsed.
    assert!(kept.bytes_current < 8 * 2 * 1024, "{kept:?}");
}

#[test]
fn q5_headers_of_refused_tokens_are_not_remembered() {
    let verifier = verifier(open_key());
    let forged: Vec<_> = (0..500)
        .map(|number| token(TestKeys::other(), &header(&number.to_string())))
        .collect();
    // The first token fills what is filled once in a process.
    let good = token(TestKeys::new(), &header("good"));
    assert_eq!(kind(verifier.verify_now(good)), Ok(()));
    let kept = allocation_counter::measure(|| {
        for token in &forged {
            for _ in 0..3 {
                let refused = kind(verifier.verify_now(token));
                assert_eq!(refused, Err(AuthErrorKind::InvalidSignature));
            }
        }
    });
    assert_eq!(kept.bytes_current, 0, "{kept:?}");
}

#[test]
fn q5_a_remembered_header_is_not_parsed_again() {
    let verifier = verifier(open_key());
    // A name that the parser has to copy.
    let token = token(TestKeys::new(), r#"{"alg":"HS256","unusual":1}"#);
    let allocations = || {
        let counted = allocation_counter::measure(|| {
            assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
        });
        counted.count_total
    };
    let [first, second, third] = [allocations(), allocations(), allocations()];
    assert!(second < first, "{first}, then {second}");
    assert_eq!(second, third);
}

/// Decision 6: no key is remembered with a header.
#[test]
fn q5_a_remembered_header_selects_its_key_again() {
    let [ours, theirs] = [TestKeys::new(), TestKeys::other()].map(|keys| token(keys, &header(KID)));
    assert_eq!(segments(&ours)[0], segments(&theirs)[0]);
    let [our_set, their_set] = [TestKeys::new(), TestKeys::other()]
        .map(|keys| KeySet::new([key(keys).with_kid(KID)]).unwrap());
    let keys = SharedKeySet::new(our_set.clone());
    let verifier = Verifier::key_source(keys.clone())
        .algorithms([Algorithm::Hs256])
        .audience("api")
        .clock(TestClock::new())
        .without_cache()
        .build()
        .unwrap();
    let verify = |token: &str| kind(verifier.verify_now(token));
    for _ in 0..3 {
        assert_eq!(verify(&ours), Ok(()));
        assert_eq!(verify(&theirs), Err(AuthErrorKind::InvalidSignature));
    }
    keys.replace(their_set);
    for _ in 0..3 {
        assert_eq!(verify(&ours), Err(AuthErrorKind::InvalidSignature));
        assert_eq!(verify(&theirs), Ok(()));
    }
    keys.replace(KeySet::new([key(TestKeys::new()).with_kid("another")]).unwrap());
    assert_eq!(verify(&ours), Err(AuthErrorKind::UnknownKey));
    keys.replace(our_set);
    assert_eq!(verify(&ours), Ok(()));
}

#[test]
fn q5_only_the_very_same_header_is_found_again() {
    let verifier = verifier(key(TestKeys::new()).with_kid(KID));
    let token = token(TestKeys::new(), &header(KID));
    for _ in 0..3 {
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    }
    let [known, claims, signature] = segments(&token);
    let others = [
        (header("shared "), AuthErrorKind::UnknownKey),
        (
            r#"{"alg":"none","kid":"shared"}"#.into(),
            AuthErrorKind::AlgorithmNotAllowed,
        ),
        (
            r#"{"alg":"HS384","kid":"shared"}"#.into(),
            AuthErrorKind::AlgorithmNotAllowed,
        ),
        (
            r#"{"alg":"HS256","kid":"shared","crit":[]}"#.into(),
            AuthErrorKind::UnsupportedHeader,
        ),
        (header(KID) + " ", AuthErrorKind::InvalidSignature),
    ];
    for (other, expected) in others {
        let token = format!("{}.{claims}.{signature}", encode(&other));
        assert_eq!(kind(verifier.verify_now(&token)), Err(expected), "{other}");
    }
    for spelt in [
        format!("{known}="),
        format!(" {known}"),
        known[1..].to_owned(),
    ] {
        let token = format!("{spelt}.{claims}.{signature}");
        assert_eq!(
            kind(verifier.verify_now(&token)),
            Err(AuthErrorKind::MalformedHeader)
        );
    }
}
