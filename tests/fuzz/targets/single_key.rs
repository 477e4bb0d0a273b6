//! Any bytes as one key: PEM, DER, JWK, and a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_jwt_auth::{
    error::ConfigError,
    key::{Algorithm, VerifyingKey},
    test_util::verify_primitive,
};

fuzz_target!(|bytes: &[u8]| {
    let pem = VerifyingKey::from_pem(bytes);
    let der = VerifyingKey::from_der(bytes);
    let jwk = VerifyingKey::from_jwk(bytes);
    let secret = VerifyingKey::from_secret(Algorithm::Hs256, bytes);
    let is_secret = |key: &VerifyingKey| HMAC.into_iter().any(|one| serves(key, one));

    for public in [&pem, &der].into_iter().flatten() {
        assert!(!is_secret(public), "a public key became a secret");
        assert!(
            PUBLIC.into_iter().any(|one| serves(public, one)),
            "a key for nothing"
        );
    }
    // CVE-2016-5431 and its kin: whoever knows the public key could sign.
    if pem.is_ok() || der.is_ok() || jwk.is_ok() {
        assert!(secret.is_err(), "a key is taken for a secret");
    }
    if let Ok(key) = &jwk {
        let public = PUBLIC.into_iter().any(|one| serves(key, one));
        assert_ne!(is_secret(key), public, "a JWK is a secret or a public key");
    }
    if let Ok(key) = &secret {
        assert!(bytes.len() >= 32, "a short secret");
        assert!(!PUBLIC.into_iter().any(|one| serves(key, one)));
    }
    for key in [pem, der, jwk, secret].into_iter().flatten() {
        // No signature is that long or short.
        for algorithm in HMAC.into_iter().chain(PUBLIC) {
            assert!(!verify_primitive(&key, algorithm, bytes, b""));
            assert!(!verify_primitive(&key, algorithm, bytes, &[0; 3]));
        }
    }
});

fn serves(key: &VerifyingKey, algorithm: Algorithm) -> bool {
    match key.clone().with_algorithm(algorithm) {
        Ok(_) => true,
        Err(ConfigError::Key(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

const HMAC: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
const PUBLIC: [Algorithm; 10] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::Ed25519,
];
