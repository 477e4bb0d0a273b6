//! Section D: what is refused when a key is loaded, and which `kid` a key is for.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use serde_json::json;
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

use crate::support::fixture::{Fixture, bearer, judge, jwk};

#[test]
fn d12_a_secret_shorter_than_its_hash_is_refused_at_build() {
    for (algorithm, size) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        for length in [0, 1, size / 2, size - 1] {
            let refused = Verifier::secret(algorithm, vec![b's'; length])
                .build()
                .unwrap_err();
            let ConfigError::SecretTooShort {
                required, actual, ..
            } = refused
            else {
                panic!("{refused}");
            };
            assert_eq!((required, actual), (size, length));
            let k = URL_SAFE_NO_PAD.encode(vec![b's'; length]);
            let jwk = json!({"kty": "oct", "alg": algorithm.as_str(), "k": k});
            assert!(VerifyingKey::from_jwk(jwk.to_string()).is_err());
        }
        assert!(
            Verifier::secret(algorithm, vec![b's'; size])
                .build()
                .is_ok()
        );
    }
    assert!(Verifier::hs256([b's'; 31]).build().is_err());
    // A secret that is long enough for one algorithm does not serve a longer one.
    let key = VerifyingKey::from_secret(Algorithm::Hs256, [b's'; 40]).unwrap();
    let builder = Verifier::key(key).algorithms([Algorithm::Hs512]);
    assert!(matches!(builder.build(), Err(ConfigError::Algorithm(_))));
    for public in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let refused = VerifyingKey::from_secret(public, [b's'; 64]);
        assert!(matches!(refused, Err(ConfigError::Algorithm(_))));
    }
}

#[test]
fn d4_a_key_in_any_form_given_as_a_secret_is_refused_at_build() {
    for public in [
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ] {
        let keys = TestKeys::new();
        let pem = keys.public_pem(public);
        let lines: Vec<_> = pem
            .lines()
            .filter(|line| !line.starts_with("---"))
            .collect();
        let der = STANDARD.decode(lines.concat()).unwrap();
        for (form, text) in [
            ("PEM", pem.as_bytes().to_vec()),
            ("PEM, spaces around", format!(" \n{pem}\n ").into()),
            ("PEM, CRLF", pem.replace('\n', "\r\n").into()),
            ("PEM, escaped", pem.replace('\n', "\\n").into()),
            ("PEM, on one line", pem.replace('\n', " ").into()),
            ("JWK", keys.jwk(public).into()),
            (
                "JWK, spaces around",
                format!("\n {}\n", keys.jwk(public)).into(),
            ),
            ("JWKS", keys.jwks().into()),
            ("DER", der.clone()),
            ("base64", STANDARD.encode(&der).into()),
            (
                "base64, newline",
                format!("{}\n", STANDARD.encode(&der)).into(),
            ),
            ("base64, lines", lines.join("\n").into()),
            ("base64, CRLF", lines.join("\r\n").into()),
            ("base64, no padding", STANDARD_NO_PAD.encode(&der).into()),
            ("base64url", URL_SAFE_NO_PAD.encode(&der).into()),
            ("base64url, padding", URL_SAFE.encode(&der).into()),
        ] {
            let refused = Verifier::hs256(&text).build();
            assert!(
                matches!(refused, Err(ConfigError::SecretIsAKey(_))),
                "{public} {form}: {refused:?}"
            );
            let k = URL_SAFE_NO_PAD.encode(&text);
            let jwk = json!({"kty": "oct", "alg": "HS256", "k": k}).to_string();
            assert!(
                VerifyingKey::from_jwk(jwk).is_err(),
                "{public} {form} in a JWK"
            );
        }
    }
    for text in [
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAy",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw",
        "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw",
    ] {
        let refused = Verifier::hs256(text).build();
        assert!(
            matches!(refused, Err(ConfigError::SecretIsAKey(_))),
            "{text}"
        );
    }
    // Control: what only looks a little like one is a secret.
    for secret in [
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
        "{\"this\":\"is a passphrase, not a key\"}",
        "correct horse battery staple, and more",
    ] {
        assert!(Verifier::hs256(secret).build().is_ok(), "{secret}");
    }
    assert!(Verifier::hs256([0x30; 32]).build().is_ok());
}

fn secret(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn with_secrets(fixture: &Fixture, bytes: &[u8]) -> Result<VerifierBuilder, ConfigError> {
    let keys = bytes
        .iter()
        .map(|byte| VerifyingKey::from_secret(Algorithm::Hs256, secret(*byte)).unwrap());
    Ok(fixture.any_algorithm(Verifier::key_set(KeySet::new(keys)?)))
}

#[tokio::test]
async fn d23_up_to_three_secrets_are_tried_in_order() {
    let fixture = Fixture::new();
    let signed_by = |byte: u8| {
        TestIssuer::with_secret(Algorithm::Hs256, &secret(byte)).clock(fixture.clock.clone())
    };
    for count in 1..=3 {
        let bytes = &b"abc"[..count];
        let builder = || with_secrets(&fixture, bytes).unwrap();
        for byte in bytes {
            for kid in [None, Some("any")] {
                let token = signed_by(*byte).kid(kid).token(|_| ());
                judge(builder, bearer(token)).await.passes("one of them");
            }
        }
        let token = signed_by(b'z').token(|_| ());
        judge(builder, bearer(token))
            .await
            .invalid_token("none of them")
            .because(AuthErrorKind::InvalidSignature);
    }
    assert!(matches!(
        with_secrets(&fixture, b"abcd"),
        Err(ConfigError::KeySet(_))
    ));
}

#[tokio::test]
async fn d22_a_key_loaded_without_kid_is_for_any_token() {
    let fixture = Fixture::new();
    let pem = TestKeys::new().public_pem(Algorithm::Es256);
    let lines = pem.lines().filter(|line| !line.starts_with("---"));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    for kid in [None, Some("first-es256"), Some("whatever"), Some("")] {
        let token = fixture.es.clone().kid(kid).token(|_| ());
        for key in [VerifyingKey::from_pem(pem), VerifyingKey::from_der(&der)] {
            let key = key.unwrap();
            let builder = || fixture.any_algorithm(Verifier::key(key.clone()));
            judge(builder, bearer(&token)).await.passes("any kid");
        }
    }
}

#[tokio::test]
async fn d22_a_jwk_with_kid_is_for_its_own_tokens_and_one_without_for_those_without() {
    let fixture = Fixture::new();
    let named = jwk(Algorithm::Es256, |_| ()).to_string();
    let nameless = jwk(Algorithm::Es256, |jwk| {
        jwk.as_object_mut().unwrap().remove("kid")
    });
    let nameless = nameless.to_string();
    for (kid, by_named, by_nameless) in [
        (Some("first-es256"), true, false),
        (Some("whatever"), false, false),
        // RFC 7515 §6: the only key that fits is the one.
        (None, true, true),
    ] {
        let token = fixture.es.clone().kid(kid).token(|_| ());
        for (jwk, expected) in [(&named, by_named), (&nameless, by_nameless)] {
            let key = VerifyingKey::from_jwk(jwk).unwrap();
            let builder = || fixture.any_algorithm(Verifier::key(key.clone()));
            let answer = judge(builder, bearer(&token)).await;
            if expected {
                answer.passes("for it");
            } else {
                answer
                    .invalid_token("not for it")
                    .because(AuthErrorKind::UnknownKey);
            }
        }
    }
}

#[test]
fn d6_a_key_is_bound_to_algorithms_that_fit_it_only() {
    let es = || TestKeys::new().verifying_key(Algorithm::Es256);
    assert!(es().with_algorithm(Algorithm::Es256).is_ok());
    for other in [Algorithm::Es384, Algorithm::Rs256, Algorithm::Hs256] {
        assert!(matches!(
            es().with_algorithm(other),
            Err(ConfigError::Key(_))
        ));
        let builder = Verifier::key(es()).algorithms([other]);
        assert!(matches!(
            builder.build(),
            Err(ConfigError::Algorithm(_) | ConfigError::MixedFamilies)
        ));
    }
    let secret = VerifyingKey::from_secret(Algorithm::Hs256, secret(b'a')).unwrap();
    let mixed = KeySet::new([es(), secret]);
    assert!(matches!(mixed, Err(ConfigError::MixedFamilies)));
    for text in [
        "",
        "garbage",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ] {
        assert!(
            matches!(VerifyingKey::from_pem(text), Err(ConfigError::Key(_))),
            "{text}"
        );
        assert!(
            matches!(VerifyingKey::from_der(text), Err(ConfigError::Key(_))),
            "{text}"
        );
        assert!(VerifyingKey::from_jwk(text).is_err(), "{text}");
    }
}
