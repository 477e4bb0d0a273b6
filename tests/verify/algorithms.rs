//! Section D, D1 to D10: the algorithm, and what a signature looks like.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyMatch, KeyQuery, KeySource},
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use crate::support::fixture::{Counting, Fixture, bearer, judge};

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
        fixture.judge(&signed).await.invalid_token(alg);
        let (message, _) = signed.rsplit_once('.').unwrap();
        for end in ["", ".", ".AA"] {
            fixture
                .judge(&format!("{message}{end}"))
                .await
                .invalid_token(alg);
        }
        fixture
            .judge(&with_signature(&signed, &signature(&good)))
            .await
            .invalid_token(alg);
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
        let token = fixture.issuer(algorithm).token(|_| ());
        judge(builder, bearer(token))
            .await
            .invalid_token(algorithm.as_str())
            .because(AuthErrorKind::AlgorithmNotAllowed);
    }
    for alg in ["none", "rs256", "RSA1_5", "A128KW", "HS1", "ES256K", ""] {
        let header = format!(r#"{{"alg":"{alg}","kid":"first-es256"}}"#);
        judge(builder, bearer(fixture.with_header(&header)))
            .await
            .invalid_token(alg);
    }
    assert!(keys.asked().is_empty());
    judge(builder, bearer(fixture.token()))
        .await
        .passes("control");
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
            .invalid_token(alg);
        let rs = fixture.rs.raw(&header, fixture.payload(|_| ()).as_bytes());
        fixture.judge(&rs).await.invalid_token(alg);
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
                fixture.judge(&token).await.invalid_token("listed");
                let unlisted = || fixture.any_algorithm(Verifier::key(key()));
                judge(unlisted, bearer(&token))
                    .await
                    .invalid_token("one key");
                // Even where HMAC was listed and the source is broken, a key keeps its type.
                let hmac = || {
                    fixture
                        .any_algorithm(Verifier::key_source(careless()))
                        .algorithms([Algorithm::Hs256])
                };
                judge(hmac, bearer(&token))
                    .await
                    .invalid_token("careless source");
            }
        }
        let mixed = fixture.builder().algorithms([public, Algorithm::Hs256]);
        assert!(matches!(mixed.build(), Err(ConfigError::MixedFamilies)));
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
        let token = fixture.issuer(algorithm).token(|_| ());
        let good = signature(&token);
        assert_eq!(good.len(), size);
        fixture.judge_by(listed, &token).await.passes("control");
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
                .invalid_token(&format!("{algorithm} {bad:x?}"));
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
        let token = fixture.issuer(algorithm).token(|_| ());
        let good = signature(&token);
        let (r, s) = good.split_at(good.len() / 2);
        let zero = vec![0; order.len()];
        let ones = vec![0xFF; order.len()];
        let mut above = order.clone();
        *above.last_mut().unwrap() += 1;
        for bad in [&zero[..], &order, &above, &ones] {
            for pair in [[bad, s], [r, bad], [bad, bad]] {
                let token = with_signature(&token, &pair.concat());
                fixture
                    .judge_by(listed, &token)
                    .await
                    .invalid_token("range");
            }
        }
        fixture.judge_by(listed, &token).await.passes("control");
    }
}

#[tokio::test]
async fn d10_an_ed25519_signature_has_64_bytes_and_both_names_are_one() {
    let fixture = Fixture::new();
    let kid = TestKeys::new().kid(Algorithm::EdDsa);
    for listed in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let by = |builder: VerifierBuilder| builder.algorithms([listed]);
        for signing in [Algorithm::EdDsa, Algorithm::Ed25519] {
            let token = fixture.issuer(signing).kid(Some(&kid)).token(|_| ());
            fixture.judge_by(by, &token).await.passes("either name");
            let good = signature(&token);
            assert_eq!(good.len(), 64);
            let long = [&good[..], &[0]].concat();
            for bad in [&good[..63], &good[1..], &good[..32], &long, &[0; 64]] {
                let token = with_signature(&token, bad);
                fixture.judge_by(by, &token).await.invalid_token("size");
            }
        }
    }
    // Not allowed, neither name is.
    for signing in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let token = fixture.issuer(signing).kid(Some(&kid)).token(|_| ());
        fixture.judge(&token).await.invalid_token("not listed");
    }
}
