//! Section D: which key verifies a token.

use std::{io::ErrorKind, net::TcpListener, sync::Arc};

use serde_json::{Value, json};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use crate::support::{
    answer::send,
    fixture::{AUDIENCE, Counting, Fixture, bearer, judge, jwk},
};

fn stranger(fixture: &Fixture, algorithm: Algorithm) -> TestIssuer {
    TestIssuer::with_keys(algorithm, TestKeys::other()).clock(fixture.clock.clone())
}

fn remove(jwk: &mut Value, name: &str) {
    jwk.as_object_mut().unwrap().remove(name);
}

fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string()).unwrap()
}

#[tokio::test]
async fn d5_a_jwk_serves_its_own_algorithm_only() {
    let fixture = Fixture::new();
    let listed = |builder: VerifierBuilder| {
        builder.algorithms([Algorithm::Rs256, Algorithm::Ps256, Algorithm::Rs512])
    };
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    for algorithm in [Algorithm::Ps256, Algorithm::Rs512] {
        let issuer = fixture.issuer(algorithm);
        fixture
            .judge_by(listed, &issuer.token(|_| ()))
            .await
            .passes("own kid");
        let token = issuer.kid(Some(&kid)).token(|_| ());
        fixture
            .judge_by(listed, &token)
            .await
            .invalid_token(algorithm.as_str())
            .because(AuthErrorKind::KeyAlgorithmMismatch);
    }
    // Without `alg` it serves what is listed and fits; without a list RS256.
    let keys = set([jwk(Algorithm::Rs256, |jwk| remove(jwk, "alg"))]);
    let ps = fixture
        .issuer(Algorithm::Ps256)
        .kid(Some(&kid))
        .token(|_| ());
    let rs = fixture.rs.token(|_| ());
    let open = || fixture.any_algorithm(Verifier::key_set(keys.clone()));
    judge(|| listed(open()), bearer(&ps)).await.passes("listed");
    judge(|| listed(open()), bearer(&rs)).await.passes("listed");
    judge(open, bearer(&rs)).await.passes("default");
    judge(open, bearer(&ps))
        .await
        .invalid_token("not the default");
}

#[tokio::test]
async fn d6_a_key_of_another_family_is_not_used() {
    let fixture = Fixture::new();
    let all = |builder: VerifierBuilder| {
        builder.algorithms([Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa])
    };
    let algorithms = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    for signing in algorithms {
        for named in algorithms.into_iter().filter(|named| *named != signing) {
            let kid = TestKeys::new().kid(named);
            let issuer = fixture.issuer(signing).kid(Some(&kid));
            let token = issuer.token(|_| ());
            fixture
                .judge_by(all, &token)
                .await
                .invalid_token(&format!("{signing} {named}"));
            // Or the header names the key's algorithm, and the signature is another's.
            let header = format!(r#"{{"alg":"{named}","kid":"{kid}"}}"#);
            let token = issuer.raw(&header, fixture.payload(|_| ()).as_bytes());
            fixture
                .judge_by(all, &token)
                .await
                .invalid_token(&header)
                .because(AuthErrorKind::InvalidSignature);
        }
    }
    // A document that says so of a key is not believed.
    let lying = jwk(Algorithm::Rs256, |jwk| jwk["alg"] = json!("ES256"));
    let keys = set([lying, jwk(Algorithm::Es256, |_| ())]);
    assert_eq!((keys.len(), keys.skipped().count()), (1, 1));
}

#[tokio::test]
async fn d7_es256_with_a_key_of_another_curve_is_refused() {
    let fixture = Fixture::new();
    for (curve, kid) in [(Algorithm::Es384, "p384"), (Algorithm::Es512, "p521")] {
        let key = jwk(curve, |jwk| {
            remove(jwk, "alg");
            jwk["kid"] = json!(kid);
        });
        let keys = set([key.clone(), jwk(Algorithm::Es256, |_| ())]);
        let builder = || {
            fixture
                .expecting(Verifier::key_set(keys.clone()))
                .algorithms([Algorithm::Es256, curve])
        };
        let issuer = fixture.issuer(curve).kid(Some(kid));
        judge(builder, bearer(issuer.token(|_| ())))
            .await
            .passes("its own");
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token = issuer.raw(&header, fixture.payload(|_| ()).as_bytes());
        judge(builder, bearer(token)).await.invalid_token(kid);

        let mut lying = key;
        lying["alg"] = json!("ES256");
        assert!(VerifyingKey::from_jwk(lying.to_string()).is_err());
        lying["crv"] = json!("P-256");
        assert!(VerifyingKey::from_jwk(lying.to_string()).is_err());
    }
}

#[tokio::test]
async fn d13_a_key_that_the_token_brings_along_is_not_used() {
    let fixture = Fixture::new();
    let forger = stranger(&fixture, Algorithm::Es256);
    let own: Value = serde_json::from_str(&TestKeys::other().jwk(Algorithm::Es256)).unwrap();
    let ours = TestKeys::new().kid(Algorithm::Es256);
    let theirs = TestKeys::other().kid(Algorithm::Es256);
    for kid in [None, Some(ours), Some(theirs)] {
        let header = fixture.header(|header| {
            header.insert("jwk".into(), own.clone());
            match kid.clone() {
                Some(kid) => header.insert("kid".into(), json!(kid)),
                None => header.remove("kid"),
            }
        });
        let token = forger.raw(&header, fixture.payload(|_| ()).as_bytes());
        fixture.judge(&token).await.invalid_token(&header);
    }
    // Ignored means ignored: with it, a good token stays good.
    let header = fixture.header(|header| header.insert("jwk".into(), own));
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .passes("ignored");
}

#[tokio::test]
async fn d14_addresses_in_the_header_are_not_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();

    let fixture = Fixture::new();
    let forger = stranger(&fixture, Algorithm::Es256);
    let keys = Counting::new();
    let layer = JwtAuthLayer::new(
        fixture
            .expecting(Verifier::key_source(keys.clone()))
            .build()
            .unwrap(),
    );
    for name in ["jku", "x5u", "jwks_uri"] {
        for scheme in ["http", "https", "file", "ftp"] {
            let url = format!("{scheme}://{address}/jwks.json");
            let header = fixture.header(|header| {
                header.insert(name.into(), json!(url));
                header.insert("kid".into(), json!("unknown"));
            });
            let claims = fixture.payload(|claims| claims.insert("iss".into(), json!(url)));
            let token = forger.raw(&header, claims.as_bytes());
            send(layer.clone(), bearer(token)).await.invalid_token(&url);
        }
    }
    // A fetch that somebody spawned has had its chance.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    // The keys were asked for by `kid` and nothing else.
    assert!(
        keys.asked()
            .iter()
            .all(|kid| kid.as_deref() == Some("unknown"))
    );

    // Control: the canary does sing.
    let _visitor = std::net::TcpStream::connect(address).unwrap();
    assert!(listener.accept().is_ok());
}

#[tokio::test]
async fn d15_a_certificate_chain_in_the_header_is_not_used() {
    let fixture = Fixture::new();
    let forger = stranger(&fixture, Algorithm::Rs256);
    let pem = TestKeys::other().public_pem(Algorithm::Rs256);
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    for kid in ["unknown", "first-rs256"] {
        let header = json!({
            "alg": "RS256", "kid": kid, "x5c": [body, body], "x5t": "AA", "x5t#S256": "AA",
        });
        let token = forger.raw(&header.to_string(), fixture.payload(|_| ()).as_bytes());
        fixture.judge(&token).await.invalid_token(kid);
    }
}

#[tokio::test]
async fn d16_a_hostile_kid_is_a_key_of_a_map_and_nothing_else() {
    let fixture = Fixture::new();
    let keys = Counting::new();
    let builder = || fixture.expecting(Verifier::key_source(keys.clone()));
    for kid in [
        "../../etc/passwd",
        "/dev/null",
        "' OR 1=1 --",
        "x'; DROP TABLE keys;--",
        "$(id)",
        "|id",
        "%00",
        "\0",
        "first-es256\0",
        "FIRST-ES256",
        " first-es256",
        "first-es256 ",
        "",
        "http://127.0.0.1/",
        "\u{202e}",
        "ｆirst-es256",
        "\r\n",
        "first-es25",
        "*",
        "__proto__",
    ] {
        let token = fixture.es.clone().kid(Some(kid)).token(|_| ());
        judge(builder, bearer(token))
            .await
            .invalid_token(kid)
            .because(AuthErrorKind::UnknownKey);
        assert!(
            keys.asked()
                .iter()
                .all(|asked| asked.as_deref() == Some(kid))
        );
    }
    let huge = fixture
        .es
        .clone()
        .kid(Some(&"k".repeat(1 << 20)))
        .token(|_| ());
    judge(builder, bearer(huge)).await.invalid_request("1 MiB");
    assert!(keys.asked().is_empty());
}

#[tokio::test]
async fn d22_without_kid_the_only_key_that_fits_is_used() {
    let fixture = Fixture::new();
    for issuer in [&fixture.es, &fixture.rs] {
        let token = issuer.clone().kid(None).token(|_| ());
        fixture.judge(&token).await.passes("one fits");
    }
    let token = stranger(&fixture, Algorithm::Es256).kid(None).token(|_| ());
    fixture.judge(&token).await.invalid_token("another's");
}

#[tokio::test]
async fn d24_of_two_keys_with_one_kid_the_one_that_fits_is_used() {
    let fixture = Fixture::new();
    let same = |algorithm| jwk(algorithm, |jwk| jwk["kid"] = json!("same"));
    let keys = set([same(Algorithm::Rs256), same(Algorithm::Es256)]);
    let builder = || fixture.expecting(Verifier::key_set(keys.clone()));
    for issuer in [&fixture.es, &fixture.rs] {
        let token = issuer.clone().kid(Some("same")).token(|_| ());
        judge(builder, bearer(token)).await.passes("fits");
    }
    let token = stranger(&fixture, Algorithm::Es256)
        .kid(Some("same"))
        .token(|_| ());
    judge(builder, bearer(token))
        .await
        .invalid_token("another's");
}

#[test]
fn d5_a_source_of_ones_own_cannot_lend_a_key_to_another_algorithm() {
    /// Answers every question with the same key.
    struct Careless(Arc<VerifyingKey>);

    impl KeySource for Careless {
        fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
            KeyLookup::Found(Arc::clone(&self.0).into())
        }
    }

    let pem = TestKeys::new().public_pem(Algorithm::Rs256);
    let key = VerifyingKey::from_pem(pem)
        .and_then(|key| key.with_algorithm(Algorithm::Rs256))
        .unwrap();
    let verifier = Verifier::key_source(Careless(Arc::new(key)))
        .audience(AUDIENCE)
        .build()
        .unwrap();
    let verdict = |algorithm| {
        let token = TestIssuer::new(algorithm).token(|_| ());
        verifier
            .verify_now(token)
            .map(drop)
            .map_err(|error| error.kind())
    };
    assert_eq!(verdict(Algorithm::Rs256), Ok(()));
    // The same RSA key, so that the signature itself is good.
    for other in [Algorithm::Ps256, Algorithm::Ps512, Algorithm::Rs512] {
        assert_eq!(verdict(other), Err(AuthErrorKind::InvalidSignature));
    }
}
