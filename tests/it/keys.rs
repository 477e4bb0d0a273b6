//! Section D, D1 to D24: algorithms, and which key verifies a token.

use std::{io::ErrorKind, net::TcpListener};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyMatch, KeyQuery, KeySet, KeySource, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use crate::support::{Counting, Fixture, bearer, judge, send};

fn issuer(fixture: &Fixture, algorithm: Algorithm) -> TestIssuer {
    TestIssuer::new(algorithm).clock(fixture.clock.clone())
}

fn stranger(fixture: &Fixture, algorithm: Algorithm) -> TestIssuer {
    TestIssuer::with_keys(algorithm, TestKeys::other()).clock(fixture.clock.clone())
}

/// A published key, its members edited.
fn jwk<R>(algorithm: Algorithm, edit: impl FnOnce(&mut Value) -> R) -> Value {
    let mut jwk = serde_json::from_str(&TestKeys::new().jwk(algorithm)).unwrap();
    edit(&mut jwk);
    jwk
}

fn remove(jwk: &mut Value, name: &str) {
    jwk.as_object_mut().unwrap().remove(name);
}

fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string()).unwrap()
}

fn with_signature(token: &str, signature: &[u8]) -> String {
    let (message, _) = token.rsplit_once('.').unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').unwrap();
    URL_SAFE_NO_PAD.decode(signature).unwrap()
}

#[tokio::test]
async fn d1_no_spelling_of_none_is_accepted() {
    let fixture = Fixture::new();
    let good = fixture.token();
    for alg in [
        "none",
        "None",
        "nOnE",
        "NONE",
        "none ",
        " none",
        "n\\u006fne",
        "nonе",
        "",
    ] {
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt"}}"#);
        let signed = fixture.with_header(&header);
        fixture.judge(&signed).await.is_it(alg);
        let (message, _) = signed.rsplit_once('.').unwrap();
        for end in ["", ".", ".AA"] {
            fixture.judge(&format!("{message}{end}")).await.is_it(alg);
        }
        fixture
            .judge(&with_signature(&signed, &signature(&good)))
            .await
            .is_it(alg);
        assert!(alg.parse::<Algorithm>().is_err());
    }
}

#[tokio::test]
async fn d2_an_algorithm_outside_the_list_asks_for_no_key() {
    let fixture = Fixture::new();
    let keys = Counting::new();
    let builder = || fixture.expecting(Verifier::key_source(keys.clone()));
    for algorithm in [
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
        Algorithm::Ed25519,
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
    ] {
        let token = issuer(&fixture, algorithm).token(|_| ());
        judge(builder, bearer(token))
            .await
            .is_it(algorithm.as_str())
            .because(AuthErrorKind::AlgorithmNotAllowed);
    }
    for alg in ["none", "rs256", "RSA1_5", "A128KW", "HS1", "ES256K", ""] {
        let header = format!(r#"{{"alg":"{alg}","kid":"first-es256"}}"#);
        judge(builder, bearer(fixture.with_header(&header)))
            .await
            .is_it(alg);
    }
    assert!(keys.asked().is_empty());
    judge(builder, bearer(fixture.token()))
        .await
        .is_ok("control");
    assert!(!keys.asked().is_empty());
}

#[tokio::test]
async fn d3_the_algorithms_name_is_compared_with_its_case() {
    let fixture = Fixture::new();
    for alg in [
        "rs256", "Rs256", "es256", "eS256", "RS256 ", " ES256", "ES-256",
    ] {
        let header = fixture.header(|header| header.insert("alg".into(), json!(alg)));
        fixture
            .judge(&fixture.with_header(&header))
            .await
            .is_it(alg);
        let rs = fixture.rs.raw(&header, fixture.payload(|_| ()).as_bytes());
        fixture.judge(&rs).await.is_it(alg);
    }
}

/// Every text under which a public key is known.
fn public_texts(algorithm: Algorithm) -> Vec<Vec<u8>> {
    let keys = TestKeys::new();
    let pem = keys.public_pem(algorithm);
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let der = STANDARD.decode(&body).unwrap();
    let jwk = keys.jwk(algorithm);
    let members: Value = serde_json::from_str(&jwk).unwrap();
    let mut texts = vec![
        pem.into(),
        pem.trim().into(),
        pem.replace('\n', "\r\n").into(),
        body.into(),
        der,
        jwk.into(),
        keys.jwks().into(),
    ];
    for name in ["n", "x", "y"] {
        if let Some(text) = members[name].as_str() {
            texts.push(text.into());
            texts.push(URL_SAFE_NO_PAD.decode(text).unwrap());
        }
    }
    texts
}

#[tokio::test]
async fn d4_a_public_key_is_never_a_secret() {
    /// Hands out a public key whatever is asked for.
    struct Careless(KeyMatch);

    impl KeySource for Careless {
        fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
            KeyLookup::Found(self.0.clone())
        }
    }

    let fixture = Fixture::new();
    for public in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let key = || TestKeys::new().verifying_key(public);
        let careless = || Careless(std::sync::Arc::new(key()).into());
        for text in public_texts(public) {
            // HMAC pads a key with zeros, so that a short one is the same as its padded form.
            let mut secret = text;
            if secret.len() < 32 {
                secret.resize(32, 0);
            }
            let forger = TestIssuer::with_secret(Algorithm::Hs256, &secret);
            let forger = forger.clock(fixture.clock.clone());
            for kid in [None, Some(TestKeys::new().kid(public))] {
                let token = forger.clone().kid(kid.as_deref()).token(|_| ());
                fixture.judge(&token).await.is_it("listed");
                let unlisted = || fixture.any_algorithm(Verifier::key(key()));
                judge(unlisted, bearer(&token)).await.is_it("one key");
                // Even where HMAC was listed and the source is broken, a key keeps its type.
                let hmac = || {
                    fixture
                        .any_algorithm(Verifier::key_source(careless()))
                        .algorithms([Algorithm::Hs256])
                };
                judge(hmac, bearer(&token)).await.is_it("careless source");
            }
        }
        let mixed = fixture.builder().algorithms([public, Algorithm::Hs256]);
        assert!(matches!(mixed.build(), Err(ConfigError::MixedFamilies)));
    }
}

#[tokio::test]
async fn d5_a_jwk_serves_its_own_algorithm_only() {
    let fixture = Fixture::new();
    let listed = |builder: VerifierBuilder| {
        builder.algorithms([Algorithm::Rs256, Algorithm::Ps256, Algorithm::Rs512])
    };
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    for algorithm in [Algorithm::Ps256, Algorithm::Rs512] {
        let issuer = issuer(&fixture, algorithm);
        fixture
            .judge_by(listed, &issuer.token(|_| ()))
            .await
            .is_ok("own kid");
        let token = issuer.kid(Some(&kid)).token(|_| ());
        fixture
            .judge_by(listed, &token)
            .await
            .is_it(algorithm.as_str())
            .because(AuthErrorKind::UnknownKey);
    }
    // Without `alg` it serves what is listed and fits; without a list RS256.
    let keys = set([jwk(Algorithm::Rs256, |jwk| remove(jwk, "alg"))]);
    let ps = issuer(&fixture, Algorithm::Ps256)
        .kid(Some(&kid))
        .token(|_| ());
    let rs = fixture.rs.token(|_| ());
    let open = || fixture.any_algorithm(Verifier::key_set(keys.clone()));
    judge(|| listed(open()), bearer(&ps)).await.is_ok("listed");
    judge(|| listed(open()), bearer(&rs)).await.is_ok("listed");
    judge(open, bearer(&rs)).await.is_ok("default");
    judge(open, bearer(&ps)).await.is_it("not the default");
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
            let issuer = issuer(&fixture, signing).kid(Some(&kid));
            let token = issuer.token(|_| ());
            fixture
                .judge_by(all, &token)
                .await
                .is_it(&format!("{signing} {named}"));
            // Or the header names the key's algorithm, and the signature is another's.
            let header = format!(r#"{{"alg":"{named}","kid":"{kid}"}}"#);
            let token = issuer.raw(&header, fixture.payload(|_| ()).as_bytes());
            fixture
                .judge_by(all, &token)
                .await
                .is_it(&header)
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
        let issuer = issuer(&fixture, curve).kid(Some(kid));
        judge(builder, bearer(issuer.token(|_| ())))
            .await
            .is_ok("its own");
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token = issuer.raw(&header, fixture.payload(|_| ()).as_bytes());
        judge(builder, bearer(token)).await.is_it(kid);

        let mut lying = key;
        lying["alg"] = json!("ES256");
        assert!(VerifyingKey::from_jwk(lying.to_string()).is_err());
        lying["crv"] = json!("P-256");
        assert!(VerifyingKey::from_jwk(lying.to_string()).is_err());
    }
}

#[tokio::test]
async fn d8_an_ecdsa_signature_has_its_fixed_size() {
    /// `Ecdsa-Sig-Value` (RFC 3279 §2.2.3).
    fn der(signature: &[u8]) -> Vec<u8> {
        let integer = |number: &[u8]| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            let mut bytes = number[zeros..].to_vec();
            if bytes.first().is_none_or(|first| first & 0x80 != 0) {
                bytes.insert(0, 0);
            }
            [
                &[0x02, u8::try_from(bytes.len()).unwrap()],
                bytes.as_slice(),
            ]
            .concat()
        };
        let (r, s) = signature.split_at(signature.len() / 2);
        let body = [integer(r), integer(s)].concat();
        let length = u8::try_from(body.len()).unwrap();
        let header = if length < 0x80 {
            vec![0x30, length]
        } else {
            vec![0x30, 0x81, length]
        };
        [header, body].concat()
    }

    let fixture = Fixture::new();
    for (algorithm, size) in [
        (Algorithm::Es256, 64),
        (Algorithm::Es384, 96),
        (Algorithm::Es512, 132),
    ] {
        let listed = |builder: VerifierBuilder| builder.algorithms([algorithm]);
        let token = issuer(&fixture, algorithm).token(|_| ());
        let good = signature(&token);
        assert_eq!(good.len(), size);
        fixture.judge_by(listed, &token).await.is_ok("control");
        let (r, s) = good.split_at(size / 2);
        for bad in [
            der(&good),
            good[..size - 1].to_vec(),
            good[1..].to_vec(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
            [&[0], r, &[0], s].concat(),
            [s, r].concat(),
            r.to_vec(),
            vec![0],
        ] {
            let token = with_signature(&token, &bad);
            fixture
                .judge_by(listed, &token)
                .await
                .is_it(&format!("{algorithm} {bad:x?}"));
        }
    }
}

#[tokio::test]
async fn d9_r_and_s_must_be_in_range() {
    // The orders of P-256 and P-384 (FIPS 186-4, D.1.2).
    let order = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    let fixture = Fixture::new();
    for (algorithm, order) in [
        (
            Algorithm::Es256,
            order("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        ),
        (
            Algorithm::Es384,
            order(
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            ),
        ),
    ] {
        let listed = |builder: VerifierBuilder| builder.algorithms([algorithm]);
        let token = issuer(&fixture, algorithm).token(|_| ());
        let good = signature(&token);
        let (r, s) = good.split_at(good.len() / 2);
        let zero = vec![0; order.len()];
        let ones = vec![0xFF; order.len()];
        let mut above = order.clone();
        *above.last_mut().unwrap() += 1;
        for bad in [&zero[..], &order, &above, &ones] {
            for pair in [[bad, s], [r, bad], [bad, bad]] {
                let token = with_signature(&token, &pair.concat());
                fixture.judge_by(listed, &token).await.is_it("range");
            }
        }
        fixture.judge_by(listed, &token).await.is_ok("control");
    }
}

#[tokio::test]
async fn d10_an_ed25519_signature_has_64_bytes_and_both_names_are_one() {
    let fixture = Fixture::new();
    let kid = TestKeys::new().kid(Algorithm::EdDsa);
    for listed in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let by = |builder: VerifierBuilder| builder.algorithms([listed]);
        for signing in [Algorithm::EdDsa, Algorithm::Ed25519] {
            let token = issuer(&fixture, signing).kid(Some(&kid)).token(|_| ());
            fixture.judge_by(by, &token).await.is_ok("either name");
            let good = signature(&token);
            assert_eq!(good.len(), 64);
            let long = [&good[..], &[0]].concat();
            for bad in [&good[..63], &good[1..], &good[..32], &long, &[0; 64]] {
                let token = with_signature(&token, bad);
                fixture.judge_by(by, &token).await.is_it("size");
            }
        }
    }
    // Not allowed, neither name is.
    for signing in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let token = issuer(&fixture, signing).kid(Some(&kid)).token(|_| ());
        fixture.judge(&token).await.is_it("not listed");
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
        fixture.judge(&token).await.is_it(&header);
    }
    // Ignored means ignored: with it, a good token stays good.
    let header = fixture.header(|header| header.insert("jwk".into(), own));
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .is_ok("ignored");
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
            send(layer.clone(), bearer(token)).await.is_it(&url);
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
        fixture.judge(&token).await.is_it(kid);
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
            .is_it(kid)
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
    judge(builder, bearer(huge)).await.is_ir("1 MiB");
    assert!(keys.asked().is_empty());
}

#[tokio::test]
async fn d22_without_kid_the_only_key_that_fits_is_used() {
    let fixture = Fixture::new();
    for issuer in [&fixture.es, &fixture.rs] {
        let token = issuer.clone().kid(None).token(|_| ());
        fixture.judge(&token).await.is_ok("one fits");
    }
    let token = stranger(&fixture, Algorithm::Es256).kid(None).token(|_| ());
    fixture.judge(&token).await.is_it("another's");
}

#[tokio::test]
async fn d23_without_kid_several_keys_that_fit_are_refused_each_time() {
    let fixture = Fixture::new();
    let other = serde_json::from_str(&TestKeys::other().jwk(Algorithm::Es256)).unwrap();
    let keys = set([jwk(Algorithm::Es256, |_| ()), other]);
    let builder = || fixture.expecting(Verifier::key_set(keys.clone()));
    for issuer in [fixture.es.clone(), stranger(&fixture, Algorithm::Es256)] {
        let nameless = issuer.clone().kid(None).token(|_| ());
        for _ in 0..3 {
            judge(builder, bearer(&nameless))
                .await
                .is_it("ambiguous")
                .because(AuthErrorKind::AmbiguousKey);
        }
        judge(builder, bearer(issuer.token(|_| ())))
            .await
            .is_ok("named");
    }
}

#[tokio::test]
async fn d24_of_two_keys_with_one_kid_the_one_that_fits_is_used() {
    let fixture = Fixture::new();
    let same = |algorithm| jwk(algorithm, |jwk| jwk["kid"] = json!("same"));
    let keys = set([same(Algorithm::Rs256), same(Algorithm::Es256)]);
    let builder = || fixture.expecting(Verifier::key_set(keys.clone()));
    for issuer in [&fixture.es, &fixture.rs] {
        let token = issuer.clone().kid(Some("same")).token(|_| ());
        judge(builder, bearer(token)).await.is_ok("fits");
    }
    let token = stranger(&fixture, Algorithm::Es256)
        .kid(Some("same"))
        .token(|_| ());
    judge(builder, bearer(token)).await.is_it("another's");
}
