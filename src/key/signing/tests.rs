use super::*;
use crate::test_util::TestKeys;

fn supported() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| cfg!(feature = "aws-lc-rs") || *algorithm != Algorithm::Es512)
}

#[test]
fn every_algorithm_signs_what_its_own_public_key_verifies() {
    for algorithm in supported() {
        let keys = TestKeys::new();
        let key = keys.signing_key(algorithm).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(
            keys.verifying_key(algorithm)
                .verifies(algorithm, b"message", &signature),
            "{algorithm}"
        );
        assert!(
            !TestKeys::other()
                .verifying_key(algorithm)
                .verifies(algorithm, b"message", &signature),
            "{algorithm}"
        );
    }
}

#[test]
fn d8_ecdsa_signatures_have_the_width_of_their_curve() {
    for (algorithm, width) in [
        (Algorithm::Es256, 64),
        (Algorithm::Es384, 96),
        (Algorithm::Es512, 132),
    ] {
        if supported().any(|supported| supported == algorithm) {
            let key = TestKeys::new().signing_key(algorithm).unwrap();
            assert_eq!(key.sign(b"message").unwrap().len(), width, "{algorithm}");
        }
    }
}

#[test]
fn d6_a_key_of_another_family_is_refused() {
    let keys = TestKeys::new();
    for own in supported().filter(|algorithm| !algorithm.is_hmac()) {
        for other in supported().filter(|other| other.family() != own.family()) {
            let key = SigningKey::from_pkcs8_der(keys.private_pkcs8_der(own)).unwrap();
            assert!(
                key.with_algorithm(other).is_err(),
                "a key for {own} was taken for {other}"
            );
        }
    }
    assert!(SigningKey::from_secret(Algorithm::Rs256, [7; 64]).is_err());
    let secret = SigningKey::from_secret(Algorithm::Hs256, [7; 64]).unwrap();
    assert!(secret.with_algorithm(Algorithm::Hs512).is_err());
}

#[test]
fn garbage_is_no_private_key() {
    let der = TestKeys::new().private_pkcs8_der(Algorithm::Rs256);
    for bad in [
        &b""[..],
        b"\x30",
        b"\x30\x83\xff\xff\xff\x02",
        &der[..der.len() - 1],
        &[der, b"\0"].concat(),
    ] {
        assert!(SigningKey::from_pkcs8_der(bad).is_err());
    }
}

#[test]
fn d12_a_short_secret_is_refused() {
    for (algorithm, bytes) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        assert!(SigningKey::from_secret(algorithm, vec![7; bytes]).is_ok());
        assert!(matches!(
            SigningKey::from_secret(algorithm, vec![7; bytes - 1]),
            Err(ConfigError::SecretTooShort { required, .. }) if required == bytes
        ));
    }
}

#[test]
fn q3_debug_prints_no_key() {
    let key = SigningKey::from_secret(Algorithm::Hs256, [b'k'; 32])
        .unwrap()
        .with_kid("one");
    let text = format!("{key:?}");
    assert_eq!(
        text,
        r#"SigningKey { algorithm: Hs256, kid: Some("one"), .. }"#
    );
}

#[test]
#[cfg(not(feature = "aws-lc-rs"))]
fn es512_needs_aws_lc_rs() {
    let der = TestKeys::new().private_pkcs8_der(Algorithm::Es512);
    assert!(matches!(
        SigningKey::from_pkcs8_der(der),
        Err(ConfigError::Algorithm(_))
    ));
}

#[test]
fn a_generated_key_of_every_kind_signs_what_its_own_half_verifies() {
    // RSA takes the pure-Rust library a quarter of a minute in a debug build: once is enough.
    let of_rsa = |one: &Algorithm| one.family() != Family::Rsa || *one == Algorithm::Ps256;
    for algorithm in supported().filter(of_rsa) {
        let key = SigningKey::generate(algorithm).unwrap();
        let other = TestKeys::new().signing_key(algorithm).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let verifies = |key: &SigningKey| {
            key.verifying_key()
                .verifies(algorithm, b"message", &signature)
        };
        assert!(verifies(&key) && !verifies(&other), "{algorithm}");
        assert_eq!(key.kid().is_some(), !algorithm.is_hmac(), "{algorithm}");
    }
}

#[test]
fn the_public_half_is_the_committed_one() {
    let keys = TestKeys::new();
    for algorithm in supported().filter(|algorithm| !algorithm.is_hmac()) {
        let key = keys.signing_key(algorithm).unwrap();
        let published: Value = serde_json::from_str(&key.public_jwk().unwrap()).unwrap();
        let expected: Value = serde_json::from_str(&keys.jwk(algorithm)).unwrap();
        for member in ["kty", "crv", "x", "y", "n", "e", "alg", "use"] {
            assert_eq!(published[member], expected[member], "{algorithm} {member}");
        }
        VerifyingKey::from_jwk(key.public_jwk().unwrap()).unwrap();
    }
}

#[test]
fn s4_the_kid_is_the_thumbprint_unless_named() {
    let der = TestKeys::new().private_pkcs8_der(Algorithm::Es256);
    let key = SigningKey::from_pkcs8_der(der).unwrap();
    assert_eq!(key.kid(), key.thumbprint());
    assert_eq!(key.verifying_key().kid(), key.kid());

    let named = key.with_kid("mine");
    assert_eq!(named.kid(), Some("mine"));
    assert_eq!(named.verifying_key().kid(), Some("mine"));
    let jwk: Value = serde_json::from_str(&named.public_jwk().unwrap()).unwrap();
    assert_eq!(jwk["kid"], "mine");

    // RFC 7638 §7: a thumbprint of a secret would be a hash of it.
    let secret = SigningKey::generate(Algorithm::Hs256).unwrap();
    assert_eq!(
        (secret.kid(), secret.thumbprint(), secret.public_jwk()),
        (None, None, None)
    );
}

#[test]
fn d4_a_key_of_another_kind_is_no_secret() {
    let der = TestKeys::new().private_pkcs8_der(Algorithm::Rs256);
    for secret in [der, TestKeys::new().public_pem(Algorithm::Rs256).as_bytes()] {
        assert!(matches!(
            SigningKey::from_secret(Algorithm::Hs256, secret),
            Err(ConfigError::SecretIsAKey(_))
        ));
    }
}

#[cfg(feature = "pem")]
mod pem {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn armored(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn refusal(pem: &str) -> String {
        match SigningKey::from_pem(pem) {
            Err(ConfigError::Key(why)) => why.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pkcs8_is_read_for_every_kind_of_key() {
        for (algorithm, read) in [
            (Algorithm::Rs256, Algorithm::Rs256),
            (Algorithm::Ps512, Algorithm::Rs256),
            (Algorithm::Es256, Algorithm::Es256),
            (Algorithm::Es384, Algorithm::Es384),
            (Algorithm::Es512, Algorithm::Es512),
            (Algorithm::Ed25519, Algorithm::EdDsa),
        ] {
            if supported().all(|one| one != algorithm) {
                continue;
            }
            let pem = armored("PRIVATE KEY", TestKeys::new().private_pkcs8_der(algorithm));
            let key = SigningKey::from_pem(pem).unwrap();
            assert_eq!(key.algorithm(), read);
            let key = key.with_algorithm(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(
                TestKeys::new()
                    .verifying_key(algorithm)
                    .verifies(algorithm, b"message", &signature),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn the_older_forms_of_openssl_are_the_same_keys() {
        // openssl ecparam -genkey, and the same key through openssl pkcs8 -topk8.
        let sec1 = include_str!("test-only/p256.sec1.pem");
        let pkcs8 = include_str!("test-only/p256.pkcs8.pem");
        let keys = [sec1, pkcs8].map(|pem| SigningKey::from_pem(pem).unwrap());
        assert_eq!(keys[0].thumbprint(), keys[1].thumbprint());
        assert_eq!(keys[0].algorithm(), Algorithm::Es256);

        let pkcs1 = include_str!("test-only/rsa2048.pkcs1.pem");
        let pkcs8 = include_str!("test-only/rsa2048.pkcs8.pem");
        let keys = [pkcs1, pkcs8].map(|pem| SigningKey::from_pem(pem).unwrap());
        assert_eq!(keys[0].thumbprint(), keys[1].thumbprint());
        assert_eq!(keys[0].algorithm(), Algorithm::Rs256);
    }

    #[test]
    fn what_is_no_plain_private_key_is_refused_by_name() {
        let public = TestKeys::new().public_pem(Algorithm::Es256);
        assert!(refusal(public).contains("public key"));
        assert!(refusal(&armored("CERTIFICATE", b"0")).contains("certificate"));
        assert!(refusal(&armored("ENCRYPTED PRIVATE KEY", b"0")).contains("encrypted"));
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
        assert!(refusal(encrypted).contains("encrypted"));
        assert!(refusal(&armored("OPENSSH PRIVATE KEY", b"0")).contains("OpenSSH"));
        assert!(refusal("hello").contains("not a PEM"));
        // secp256k1, which no JWT algorithm of this crate signs with.
        assert!(
            refusal(include_str!("test-only/secp256k1.sec1.pem")).contains("unsupported curve")
        );
        assert!(refusal(include_str!("test-only/rsa1024.pkcs8.pem")).contains("RS"));

        let key = armored(
            "PRIVATE KEY",
            TestKeys::new().private_pkcs8_der(Algorithm::Es256),
        );
        assert!(refusal(&format!("{key}{key}")).contains("more than one"));
    }
}
