//! Section D, D23, D38, D39 and D54: the choice among several keys.

use std::sync::{Arc, Mutex};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::engine::{Engine as _, general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
};

use crate::support::text::encode;
use crate::support::{
    answer::Answer,
    fixture::{Fixture, bearer, judge, jwk},
};

fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string()).unwrap()
}

fn other(edit: impl FnOnce(&mut Value)) -> Value {
    let mut jwk = serde_json::from_str(&TestKeys::other().jwk(Algorithm::Es256)).unwrap();
    edit(&mut jwk);
    jwk
}

fn ours(edit: impl FnOnce(&mut Value)) -> Value {
    jwk(Algorithm::Es256, edit)
}

/// A public key that never signed.
fn filling(kid: usize) -> Value {
    let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let kid = format!("filling-{kid}");
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(x), "y": encode(y)})
}

/// A token by our key, or by the other one, with these members instead of `kid`.
fn token(fixture: &Fixture, keys: TestKeys, members: Value) -> String {
    let Value::Object(members) = members else {
        panic!("{members}: members are an object");
    };
    let header = fixture.header(|header| {
        header.remove("kid");
        header.extend(members);
    });
    TestIssuer::with_keys(Algorithm::Es256, keys)
        .clock(fixture.clock.clone())
        .raw(&header, fixture.payload(|_| ()).as_bytes())
}

async fn verdict(fixture: &Fixture, keys: &KeySet, token: &str) -> Answer {
    let builder = || fixture.expecting(Verifier::key_set(keys.clone()));
    judge(builder, bearer(token)).await
}

#[tokio::test]
async fn d23_without_kid_up_to_four_keys_that_fit_are_tried() {
    let fixture = Fixture::new();
    let nameless = |keys| token(&fixture, keys, json!({}));
    for count in 1..=5 {
        for at in 0..count {
            let mut keys: Vec<_> = (1..count).map(filling).collect();
            keys.insert(at, ours(|_| ()));
            // Keys of other algorithms do not count.
            keys.extend([Algorithm::Rs256, Algorithm::EdDsa].map(|other| jwk(other, |_| ())));
            let keys = set(keys);
            let case = format!("{at} of {count}");
            let (good, forged) = (nameless(TestKeys::new()), nameless(TestKeys::other()));
            let (good, forged) = (
                verdict(&fixture, &keys, &good).await,
                verdict(&fixture, &keys, &forged).await,
            );
            if count <= 4 {
                good.passes(&case);
                forged
                    .invalid_token(&case)
                    .because(AuthErrorKind::InvalidSignature);
            } else {
                for refused in [good, forged] {
                    refused
                        .invalid_token(&case)
                        .because(AuthErrorKind::AmbiguousKey);
                }
            }
            // A kid still selects.
            verdict(&fixture, &keys, &fixture.token())
                .await
                .passes(&case);
        }
    }
}

#[tokio::test]
async fn d23_one_key_under_two_names_is_one_candidate() {
    let fixture = Fixture::new();
    let again = |kid: &str| ours(|jwk| jwk["kid"] = json!(kid));
    let mut keys: Vec<_> = (0..3).map(filling).collect();
    keys.extend(["a", "b", "c"].map(again));
    let good = token(&fixture, TestKeys::new(), json!({}));
    verdict(&fixture, &set(keys), &good).await.passes("four");
}

#[tokio::test]
async fn d23_cheaper_checks_come_before_the_candidates() {
    let fixture = Fixture::new();
    let keys = set([filling(1), filling(2), ours(|_| ())]);
    // The signature is by none of the keys, and the issuer is the reason.
    let header = fixture.header(|header| header.remove("kid"));
    let claims = fixture.payload(|claims| claims.insert("iss".into(), json!("https://else")));
    let forged =
        TestIssuer::with_keys(Algorithm::Es256, TestKeys::other()).raw(&header, claims.as_bytes());
    verdict(&fixture, &keys, &forged)
        .await
        .invalid_token("issuer")
        .because(AuthErrorKind::WrongIssuer);
    let typ = token(&fixture, TestKeys::other(), json!({"typ": "logout+jwt"}));
    verdict(&fixture, &keys, &typ)
        .await
        .invalid_token("typ")
        .because(AuthErrorKind::WrongType);
}

#[tokio::test]
async fn d38_a_key_that_is_listed_twice_is_one_key() {
    let fixture = Fixture::new();
    let with_certificate = || {
        ours(|jwk| {
            jwk.as_object_mut().unwrap().remove("alg");
            jwk["x5t"] = json!("abc");
            jwk["x5c"] = json!(["MIIB"]);
        })
    };
    for keys in [
        vec![ours(|_| ()), ours(|_| ())],
        vec![ours(|_| ()), with_certificate()],
        vec![with_certificate(), ours(|_| ())],
        vec![with_certificate(), ours(|_| ()), with_certificate()],
    ] {
        let keys = set(keys);
        assert_eq!((keys.len(), keys.skipped().count()), (1, 0));
        let bare = token(&fixture, TestKeys::new(), json!({}));
        let forged = stranger(&fixture);
        verdict(&fixture, &keys, &fixture.token())
            .await
            .passes("kid");
        verdict(&fixture, &keys, &bare).await.passes("no kid");
        verdict(&fixture, &keys, &forged)
            .await
            .invalid_token("forged")
            .because(AuthErrorKind::InvalidSignature);
    }
    // The merged entry knows the certificate.
    let keys = set([ours(|_| ()), with_certificate(), filling(1)]);
    let named = token(&fixture, TestKeys::new(), json!({"x5t": "abc"}));
    verdict(&fixture, &keys, &named).await.passes("x5t");
}

fn stranger(fixture: &Fixture) -> String {
    let kid = TestKeys::new().kid(Algorithm::Es256);
    token(fixture, TestKeys::other(), json!({ "kid": kid }))
}

#[tokio::test]
async fn d38_two_different_keys_under_one_kid_stay_ambiguous() {
    let fixture = Fixture::new();
    let kid = TestKeys::new().kid(Algorithm::Es256);
    let keys = set([ours(|_| ()), other(|jwk| jwk["kid"] = json!(kid))]);
    assert_eq!(keys.len(), 2);
    for token in [fixture.token(), stranger(&fixture)] {
        verdict(&fixture, &keys, &token)
            .await
            .invalid_token("ambiguous")
            .because(AuthErrorKind::AmbiguousKey);
    }
}

/// Enough of a certificate: one structure whose first part is another.
const CERTIFICATE: &[u8] = &[0x30, 0x08, 0x30, 0x03, 0x02, 0x01, 0x01, 0x02, 0x01, 0x05];

#[tokio::test]
async fn d39_a_token_without_kid_selects_its_key_by_the_certificate() {
    let fixture = Fixture::new();
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, CERTIFICATE);
    let (sha1, sha256) = (encode(sha1), encode(Sha256::digest(CERTIFICATE)));
    let chain = json!([STANDARD.encode(CERTIFICATE), "MIIB"]);
    let without_kid = |jwk: &mut Value| jwk.as_object_mut().unwrap().remove("kid");
    let foreign = || {
        other(|jwk| {
            jwk["x5t"] = json!("bbbb");
            jwk["x5t#S256"] = json!("BBBB");
        })
    };
    for (member, value, key) in [
        ("x5t", "aaaa", ours(|jwk| jwk["x5t"] = json!("aaaa"))),
        (
            "x5t#S256",
            "AAAA",
            ours(|jwk| {
                without_kid(jwk);
                jwk["x5t#S256"] = json!("AAAA");
            }),
        ),
        ("x5t", &sha1, ours(|jwk| jwk["x5c"] = chain.clone())),
        ("x5t#S256", &sha256, ours(|jwk| jwk["x5c"] = chain.clone())),
        ("x5t", "as-kid", ours(|jwk| jwk["kid"] = json!("as-kid"))),
    ] {
        // More keys than are tried without a name.
        let mut keys: Vec<_> = (0..5).map(filling).collect();
        keys.extend([foreign(), key]);
        let keys = set(keys);
        let case = format!("{member} {value}");
        let by = |keys, named: &str| token(&fixture, keys, json!({ member: named }));
        let good = by(TestKeys::new(), value);
        verdict(&fixture, &keys, &good).await.passes(&case);
        let forged = by(TestKeys::other(), value);
        verdict(&fixture, &keys, &forged)
            .await
            .invalid_token(&case)
            .because(AuthErrorKind::InvalidSignature);
        let wrong = by(TestKeys::new(), "zzzz");
        verdict(&fixture, &keys, &wrong)
            .await
            .invalid_token(&case)
            .because(AuthErrorKind::UnknownKey);
        let of_other = by(
            TestKeys::new(),
            if member == "x5t" { "bbbb" } else { "BBBB" },
        );
        verdict(&fixture, &keys, &of_other)
            .await
            .invalid_token(&case)
            .because(AuthErrorKind::InvalidSignature);
    }
}

#[tokio::test]
async fn d39_a_thumbprint_that_fits_no_key_selects_none() {
    let fixture = Fixture::new();
    let named = |members| token(&fixture, TestKeys::new(), members);
    let x5t = |value: &str| named(json!({ "x5t": value }));
    // One key that fits the algorithm, with another certificate.
    let keys = set([ours(|jwk| jwk["x5t"] = json!("aaaa"))]);
    for wrong in [x5t("zzzz"), x5t(""), x5t("aaaa="), x5t("AAAA")] {
        verdict(&fixture, &keys, &wrong)
            .await
            .invalid_token("another certificate")
            .because(AuthErrorKind::UnknownKey);
    }
    // Both members must fit.
    let keys = set([ours(|jwk| {
        jwk["x5t"] = json!("aaaa");
        jwk["x5t#S256"] = json!("AAAA");
    })]);
    let both = |sha256: &str| named(json!({"x5t": "aaaa", "x5t#S256": sha256}));
    verdict(&fixture, &keys, &both("AAAA")).await.passes("both");
    verdict(&fixture, &keys, &both("BBBB"))
        .await
        .invalid_token("one of two")
        .because(AuthErrorKind::UnknownKey);
    // A key of another algorithm.
    let kind = AuthErrorKind::KeyAlgorithmMismatch;
    let rsa = jwk(Algorithm::Rs256, |jwk| jwk["x5t"] = json!("aaaa"));
    let keys = set([rsa, ours(|_| ()), filling(1)]);
    verdict(&fixture, &keys, &x5t("aaaa"))
        .await
        .invalid_token("algorithm")
        .because(kind);
    // RFC 7515 §6: the only key that fits, of which no certificate is known.
    let keys = set([ours(|_| ())]);
    verdict(&fixture, &keys, &x5t("zzzz")).await.passes("only");
    // A key that was loaded without a name serves any name.
    let pem = VerifyingKey::from_pem(TestKeys::new().public_pem(Algorithm::Es256));
    let keys = KeySet::new([pem.unwrap()]).unwrap();
    verdict(&fixture, &keys, &x5t("zzzz")).await.passes("open");
}

#[test]
fn d39_a_key_source_sees_both_thumbprints() {
    #[derive(Clone, Default)]
    struct Seeing(Arc<Mutex<Vec<[Option<String>; 3]>>>);

    impl KeySource for Seeing {
        fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
            let named = [query.kid(), query.x5t(), query.x5t_s256()];
            let named = named.map(|one| one.map(str::to_owned));
            self.0.lock().unwrap().push(named);
            KeyLookup::Absent
        }
    }

    let fixture = Fixture::new();
    let source = Seeing::default();
    let verifier = fixture
        .any_algorithm(Verifier::key_source(source.clone()))
        .build()
        .unwrap();
    for members in [
        json!({"x5t": "a\u{e9}"}),
        json!({"x5t#S256": "A"}),
        json!({"kid": "k", "x5t": "a", "x5t#S256": "A"}),
    ] {
        let token = token(&fixture, TestKeys::new(), members.clone());
        assert!(verifier.verify_now(token).is_err());
        let seen = source.0.lock().unwrap().pop().unwrap();
        let sent = ["kid", "x5t", "x5t#S256"].map(|name| members[name].as_str());
        assert_eq!(seen.each_ref().map(Option::as_deref), sent);
    }
}

#[tokio::test]
async fn d54_a_known_kid_whose_key_does_not_serve_the_algorithm_has_a_reason_of_its_own() {
    let fixture = Fixture::new();
    let open = jwk(Algorithm::Rs256, |jwk| {
        jwk.as_object_mut().unwrap().remove("alg")
    });
    let bound = jwk(Algorithm::Rs256, |_| ());
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    for key in [open, bound] {
        let keys = set([key, jwk(Algorithm::Es256, |_| ())]);
        let builder = || fixture.any_algorithm(Verifier::key_source(keys.clone()));
        for algorithm in [Algorithm::Ps256, Algorithm::Es256] {
            let issuer = fixture.issuer(algorithm).kid(Some(&kid));
            judge(builder, bearer(issuer.token(|_| ())))
                .await
                .invalid_token(algorithm.as_str())
                .because(AuthErrorKind::KeyAlgorithmMismatch);
        }
        // Controls: another kid, and the algorithm that the key serves.
        let unknown = fixture.issuer(Algorithm::Ps256).kid(Some("unknown"));
        judge(builder, bearer(unknown.token(|_| ())))
            .await
            .invalid_token("unknown")
            .because(AuthErrorKind::UnknownKey);
        judge(builder, bearer(fixture.rs.token(|_| ())))
            .await
            .passes("RS256");
    }
    let kind = AuthErrorKind::KeyAlgorithmMismatch;
    assert_eq!(kind.as_str(), "key_algorithm_mismatch");
}
