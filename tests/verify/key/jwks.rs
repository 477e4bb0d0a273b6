//! Section D, D11 and D17 to D21: documents of keys.

use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
};

use crate::support::fixture::{Fixture, bearer, judge, jwk};

fn document(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The fixture's keys and one more in front: the others must work, and this one must not.
async fn is_left_out(fixture: &Fixture, odd: Value, case: &str) {
    let keys = [
        odd.clone(),
        jwk(Algorithm::Es256, |_| ()),
        jwk(Algorithm::Rs256, |_| ()),
    ];
    let set = KeySet::from_jwks(document(&keys)).expect(case);
    assert_eq!(set.len(), 2, "{case}");
    let (kid, _) = set.skipped().next().expect(case);
    assert_eq!(kid, odd.get("kid").and_then(Value::as_str), "{case}");
    let builder = || fixture.expecting(Verifier::key_set(set.clone()));
    judge(builder, bearer(fixture.token())).await.passes(case);
    judge(builder, bearer(fixture.rs.token(|_| ())))
        .await
        .passes(case);
}

/// 1024 bits, made for this test.
const WEAK_N: &str = "s3Soxn9V_2qVwAPkJL45-61ndDcioHLH_SgFRV4V7mtYvXqXxmc5-LJm33M2RsR68yWSHxVei2gaAW9tJtbgIElRmvO2M8F_jwBJP_CNjASXBs1MbLUck6DDwCKOQ1IEKa3D1bMmttWU4v3Xu_HG8O1pzvejxOAVTxlzqF897LM";
const WEAK_SIGNATURE: &str = "jNXuoV9bkY1Luwxxt7lCJ0uXsBrU2MmyOZdQCSZZtIEgeX8GkklRxQaunPWsEXeIvBeUFmT2uDLKnWR7GDjS9ue_tCIlBG1tcRg4pUhWxP8hFc2OHopf9quD4kpUVBNV1OzL4LcKWUXuR-GYD73ys6NLvuty3MmsdX23epY3-Yo";
const WEAK_MESSAGE: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IndlYWsifQ.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwiZXhwIjoxNzY3MjI2MjAwfQ";

#[tokio::test]
async fn d11_an_rsa_key_under_2048_bits_is_never_used() {
    let fixture = Fixture::new();
    let n = URL_SAFE_NO_PAD.decode(WEAK_N).unwrap();
    let token = format!("{WEAK_MESSAGE}.{WEAK_SIGNATURE}");

    // The signature is good, so that nothing but the size can be why the token is refused.
    let key = RsaPublicKeyComponents {
        n: n.as_slice(),
        e: [1, 0, 1].as_slice(),
    };
    let signature = URL_SAFE_NO_PAD.decode(WEAK_SIGNATURE).unwrap();
    key.verify(
        &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        WEAK_MESSAGE.as_bytes(),
        &signature,
    )
    .unwrap();

    let weak = json!({"kty": "RSA", "kid": "weak", "alg": "RS256", "n": WEAK_N, "e": "AQAB"});
    is_left_out(&fixture, weak.clone(), "weak").await;
    let keys = [
        weak.clone(),
        jwk(Algorithm::Rs256, |_| ()),
        jwk(Algorithm::Es256, |_| ()),
    ];
    let set = KeySet::from_jwks(document(&keys)).unwrap();
    let builder = || fixture.expecting(Verifier::key_set(set.clone()));
    judge(builder, bearer(token))
        .await
        .invalid_token("weak")
        .because(AuthErrorKind::UnknownKey);

    assert!(matches!(
        VerifyingKey::from_jwk(weak.to_string()),
        Err(ConfigError::Key(_))
    ));
    assert!(matches!(
        KeySet::from_jwks(document(&[weak])),
        Err(ConfigError::KeySet(_))
    ));
    let integer = |bytes: &[u8]| {
        let bytes = [&[0], bytes].concat();
        [
            &[0x02, 0x81, u8::try_from(bytes.len()).unwrap()],
            bytes.as_slice(),
        ]
        .concat()
    };
    let body = [integer(&n), integer(&[1, 0, 1])].concat();
    let der = [
        &[0x30, 0x81, u8::try_from(body.len()).unwrap()],
        body.as_slice(),
    ]
    .concat();
    assert!(matches!(
        VerifyingKey::from_der(&der),
        Err(ConfigError::Key(_))
    ));
    let body = STANDARD.encode(&der);
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{body}\n-----END RSA PUBLIC KEY-----\n");
    assert!(matches!(
        VerifyingKey::from_pem(&pem),
        Err(ConfigError::Key(_))
    ));
    assert!(matches!(
        Verifier::pem(pem).build(),
        Err(ConfigError::Key(_))
    ));

    // Leading zeros do not make it longer, and a bit less is too little.
    let padded = [vec![0; 128], n].concat();
    for n in [
        padded,
        vec![0x7F; 256],
        [vec![0x01], vec![0xFF; 254]].concat(),
    ] {
        let weak = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB"});
        assert!(VerifyingKey::from_jwk(weak.to_string()).is_err());
    }
}

#[tokio::test]
async fn d17_a_key_for_encryption_does_not_verify() {
    let fixture = Fixture::new();
    for usage in ["enc", "ENC", "Sig", ""] {
        let odd = jwk(Algorithm::Es256, |jwk| {
            jwk["use"] = json!(usage);
            jwk["kid"] = json!("odd");
        });
        is_left_out(&fixture, odd, usage).await;
    }
    let bare = jwk(Algorithm::Es256, |jwk| {
        jwk.as_object_mut().unwrap().remove("use")
    });
    assert!(VerifyingKey::from_jwk(bare.to_string()).is_ok());
}

#[tokio::test]
async fn d18_a_key_whose_operations_lack_verify_does_not_verify() {
    let fixture = Fixture::new();
    for operations in [
        json!([]),
        json!(["sign"]),
        json!(["encrypt", "wrapKey"]),
        json!(["Verify"]),
    ] {
        let odd = jwk(Algorithm::Es256, |jwk| {
            jwk["key_ops"] = operations.clone();
            jwk["kid"] = json!("odd");
        });
        is_left_out(&fixture, odd, &operations.to_string()).await;
    }
    let good = jwk(Algorithm::Es256, |jwk| {
        jwk["key_ops"] = json!(["sign", "verify"])
    });
    assert!(VerifyingKey::from_jwk(good.to_string()).is_ok());
}

#[tokio::test]
async fn d19_an_oct_key_in_a_document_never_serves_hs256_unasked() {
    let fixture = Fixture::new();
    let secret = [b's'; 32];
    let oct = json!({"kty": "oct", "kid": "oct", "k": URL_SAFE_NO_PAD.encode(secret)});
    let token = TestIssuer::with_secret(Algorithm::Hs256, &secret)
        .clock(fixture.clock.clone())
        .kid(Some("oct"))
        .token(|_| ());

    // Smuggled in among public keys it spoils the document, loudly.
    let smuggled = document(&[jwk(Algorithm::Es256, |_| ()), oct.clone()]);
    assert!(matches!(
        KeySet::from_jwks(smuggled),
        Err(ConfigError::MixedFamilies)
    ));
    // Alone, it does not go with the algorithms that were asked for.
    let alone = || KeySet::from_jwks(document(std::slice::from_ref(&oct))).unwrap();
    let builder = fixture.expecting(Verifier::key_set(alone()));
    assert!(matches!(builder.build(), Err(ConfigError::MixedFamilies)));
    // From a source, which may be remote, it is not used whatever the source says.
    let source = || fixture.any_algorithm(Verifier::key_source(alone()));
    judge(source, bearer(&token))
        .await
        .invalid_token("unasked")
        .because(AuthErrorKind::AlgorithmNotAllowed);
    let asked = || source().algorithms([Algorithm::Hs256]);
    judge(asked, bearer(&token)).await.passes("asked for");
}

#[tokio::test]
async fn d20_one_odd_key_does_not_spoil_the_others() {
    let fixture = Fixture::new();
    for odd in [
        json!({"kty": "PQC", "kid": "odd"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd"}),
        json!({"kty": "EC", "kid": "odd"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "odd"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": "AA", "kid": "odd"}),
        json!({"kty": "RSA", "kid": "odd"}),
        json!({"kty": "RSA", "n": "!!!", "e": "AQAB", "kid": "odd"}),
        json!({"kty": "RSA", "n": 5, "e": "AQAB", "kid": "odd"}),
        json!({"kty": 5, "kid": "odd"}),
        json!({"kid": "odd"}),
        json!({}),
        json!(null),
        json!("key"),
        json!([]),
        jwk(Algorithm::Es256, |jwk| jwk["alg"] = json!("ES999")),
        jwk(Algorithm::Es256, |jwk| jwk["alg"] = json!("RSA-OAEP")),
        jwk(Algorithm::Es256, |jwk| jwk["x"] = json!("AA")),
        jwk(Algorithm::Es256, |jwk| jwk["y"] = jwk["x"].clone()),
        jwk(Algorithm::Rs256, |jwk| jwk["e"] = json!("AA")),
        jwk(Algorithm::Rs256, |jwk| jwk["e"] = json!("AQ")),
        jwk(Algorithm::EdDsa, |jwk| {
            jwk["x"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        }),
        json!({"kty": "oct", "k": "c2hvcnQ", "kid": "odd"}),
    ] {
        let case = odd.to_string();
        is_left_out(&fixture, odd, &case).await;
    }
}

#[test]
fn d21_a_document_without_one_usable_key_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "5",
        "\"keys\"",
        "<html><body>login</body></html>",
        "not json",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":"x"}"#,
        r#"{"keys":[]}"#,
        r#"{"KEYS":[]}"#,
        r#"{"keys":[{"kty":"PQC"}]}"#,
        r#"{"keys":["#,
    ] {
        let refused = KeySet::from_jwks(text);
        assert!(matches!(refused, Err(ConfigError::KeySet(_))), "{text}");
    }
    // A key alone is no set of keys.
    let alone = TestKeys::new().jwk(Algorithm::Es256);
    assert!(matches!(
        KeySet::from_jwks(alone),
        Err(ConfigError::KeySet(_))
    ));
    assert!(matches!(KeySet::new([]), Err(ConfigError::KeySet(_))));
    let missing = KeySet::from_file("tests/no-such-file.json");
    assert!(matches!(missing, Err(ConfigError::File { .. })));
}

#[tokio::test]
async fn d41_a_byte_order_mark_before_keys_is_ignored() {
    let marked = |text: &str| [b"\xEF\xBB\xBF", text.as_bytes()].concat();
    let fixture = Fixture::new();
    let key = TestKeys::new().jwk(Algorithm::Es256);
    let document = document(&[jwk(Algorithm::Es256, |_| ())]);
    let sets = [
        KeySet::from_jwks(marked(&document)).unwrap(),
        VerifyingKey::from_jwk(marked(&key))
            .and_then(KeySet::try_from)
            .unwrap(),
        VerifyingKey::from_pem(marked(TestKeys::new().public_pem(Algorithm::Es256)))
            .and_then(KeySet::try_from)
            .unwrap(),
    ];
    for set in sets {
        let builder = || fixture.any_algorithm(Verifier::key_set(set.clone()));
        judge(builder, bearer(fixture.token())).await.passes("read");
    }
    // One mark is ignored. Two are not JSON.
    let twice = marked(std::str::from_utf8(&marked(&document)).unwrap());
    assert!(KeySet::from_jwks(twice).is_err());
    // The mark does not make a secret of a key.
    for text in [key, document] {
        let refused = Verifier::hs256(marked(&text)).build();
        assert!(matches!(refused, Err(ConfigError::SecretIsAKey(_))));
    }
}

#[test]
fn d42_an_entry_that_is_left_out_is_listed_with_its_reason() {
    let padded = jwk(Algorithm::Rs256, |jwk| {
        jwk["kid"] = json!("padded");
        jwk["n"] = json!(format!("{}==", jwk["n"].as_str().unwrap()));
    });
    let cut = jwk(Algorithm::Es256, |jwk| {
        jwk.as_object_mut().unwrap().remove("kid");
        jwk.as_object_mut().unwrap().remove("y");
    });
    let good = jwk(Algorithm::Es256, |_| ());
    // A key that is listed twice is not left out.
    let set = KeySet::from_jwks(document(&[padded, cut, good.clone(), good])).unwrap();
    assert_eq!(set.len(), 1);
    let skipped: Vec<_> = set.skipped().collect();
    assert_eq!(
        skipped,
        [
            (
                Some("padded"),
                "unusable key: `n` is not base64url without padding (RFC 7515 §2)"
            ),
            (None, "unusable key: `y` is missing"),
        ]
    );
}

#[cfg(feature = "tracing")]
#[test]
fn d42_an_entry_that_is_left_out_is_a_line_in_the_log() {
    let (log, guard) = crate::support::log::Log::start();
    let odd = json!({"kty": "RSA", "n": "AA==", "e": "AQAB", "kid": "padded\nkey"});
    let document = document(&[odd, jwk(Algorithm::Es256, |_| ())]);
    KeySet::from_jwks(document).unwrap();
    drop(guard);
    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("`n` is not base64url"), "{log}");
    assert!(lines[0].contains(r"padded\\nkey"), "{log}");
}
