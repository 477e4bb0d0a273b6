//! Section D, D41, D51 and D52: public keys in PEM files and in certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use sha2::{Digest, Sha256};
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{TestIssuer, TestKeys},
};

use crate::support::text::encode;
use crate::support::{
    answer::Answer,
    fixture::{Fixture, bearer, judge},
};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519];

/// A key pair of the test issuer.
fn pair(algorithm: Algorithm) -> KeyPair {
    macro_rules! der {
        ($name:literal) => {
            &include_bytes!(concat!(
                "../../../src/test_util/keys/first/",
                $name,
                ".test-only.pkcs8.der"
            ))[..]
        };
    }

    let der = match algorithm {
        Algorithm::Rs256 => der!("rsa2048"),
        Algorithm::Es256 => der!("p256"),
        _ => der!("ed25519"),
    };
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).unwrap()
}

fn params(name: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}

/// A certificate of the issuer's key, and that of an authority with another kind of key.
fn issued(algorithm: Algorithm, by: Algorithm, name: Option<&str>) -> [Certificate; 2] {
    let mut authority = params(Some("authority"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = authority.self_signed(&pair(by)).unwrap();
    let issuer = Issuer::new(authority, pair(by));
    let leaf = params(name).signed_by(&pair(algorithm), &issuer).unwrap();
    [leaf, own]
}

fn issuer(fixture: &Fixture, algorithm: Algorithm) -> TestIssuer {
    fixture.issuer(algorithm)
}

async fn verdict(fixture: &Fixture, keys: &KeySet, token: &str) -> Answer {
    let builder = || fixture.any_algorithm(Verifier::key_set(keys.clone()));
    judge(builder, bearer(token)).await
}

/// The PEM's keys are those of these algorithms, and no others.
async fn serves(fixture: &Fixture, pem: &str, algorithms: &[Algorithm]) {
    let keys = KeySet::from_pem(pem).unwrap();
    assert_eq!(keys.len(), algorithms.len());
    for algorithm in ALGORITHMS {
        let token = issuer(fixture, algorithm).token(|_| ());
        let answer = verdict(fixture, &keys, &token).await;
        if algorithms.contains(&algorithm) {
            answer.passes(algorithm.as_str());
        } else {
            answer.invalid_token(algorithm.as_str());
        }
    }
}

#[tokio::test]
async fn d52_the_key_of_any_certificate_is_read() {
    let fixture = Fixture::new();
    for algorithm in ALGORITHMS {
        for by in ALGORITHMS {
            for name in [Some("signer"), None] {
                let [leaf, _] = issued(algorithm, by, name);
                serves(&fixture, &leaf.pem(), &[algorithm]).await;
            }
        }
    }
}

#[tokio::test]
async fn d52_a_certificate_by_openssl_req_x509_is_read() {
    let fixture = Fixture::new();
    for (algorithm, pem) in [
        (
            Algorithm::Rs256,
            include_str!("certificates/openssl-rsa2048.pem"),
        ),
        (
            Algorithm::Es256,
            include_str!("certificates/openssl-p256.pem"),
        ),
        (
            Algorithm::Ed25519,
            include_str!("certificates/openssl-ed25519.pem"),
        ),
    ] {
        serves(&fixture, pem, &[algorithm]).await;
        let keys = KeySet::new([VerifyingKey::from_pem(pem).unwrap()]).unwrap();
        let token = issuer(&fixture, algorithm).token(|_| ());
        verdict(&fixture, &keys, &token).await.passes("one key");
        // What `openssl x509 -text` writes before, lines of Windows, and a byte order mark.
        let text = format!("\u{FEFF}Certificate:\r\n    Data:\r\n{pem}").replace('\n', "\r\n");
        serves(&fixture, &text, &[algorithm]).await;
        // Broken inside.
        let cut = pem.replacen("MI", "MJ", 1);
        assert!(matches!(KeySet::from_pem(cut), Err(ConfigError::Key(_))));
    }
}

#[tokio::test]
async fn d51_of_a_certificate_chain_the_first_counts() {
    let fixture = Fixture::new();
    let [leaf, own] = issued(Algorithm::Es256, Algorithm::Rs256, Some("signer"));
    let chain = format!("{}{}", leaf.pem(), own.pem());
    serves(&fixture, &chain, &[Algorithm::Es256]).await;
    assert!(VerifyingKey::from_pem(&chain).is_ok());
    // Two certificates that are no chain.
    for pem in [
        format!("{}{}", own.pem(), leaf.pem()),
        format!(
            "{}{}",
            leaf.pem(),
            params(Some("else"))
                .self_signed(&pair(Algorithm::Ed25519))
                .unwrap()
                .pem()
        ),
    ] {
        let refused = KeySet::from_pem(pem).unwrap_err().to_string();
        assert!(refused.contains("did not issue the first"), "{refused}");
    }
}

#[tokio::test]
async fn d51_two_certificates_of_one_name_that_issued_themselves_are_two_keys() {
    let fixture = Fixture::new();
    let own = |algorithm| {
        let own = params(Some("service")).self_signed(&pair(algorithm));
        own.unwrap().pem()
    };
    let two = [Algorithm::Es256, Algorithm::Ed25519];
    let pem = two.map(own).concat();
    serves(&fixture, &pem, &two).await;
    let refused = VerifyingKey::from_pem(&pem).unwrap_err().to_string();
    assert!(refused.contains("more than one public key"), "{refused}");
    // The same one again, or renewed for the same key.
    serves(&fixture, &own(Algorithm::Es256).repeat(2), &two[..1]).await;
    // Two authorities of one name above a certificate are its chain.
    let [leaf, authority] = issued(Algorithm::Es256, Algorithm::Rs256, Some("signer"));
    let chain = [leaf.pem(), authority.pem().repeat(2)].concat();
    serves(&fixture, &chain, &two[..1]).await;
}

#[tokio::test]
async fn d51_every_public_key_of_a_pem_verifies() {
    let fixture = Fixture::new();
    let keys = TestKeys::new();
    let two = [Algorithm::Rs256, Algorithm::Es256];
    let pem = two.map(|algorithm| keys.public_pem(algorithm)).concat();
    serves(&fixture, &pem, &two).await;
    // A certificate beside a bare key, in either order.
    let [leaf, own] = issued(Algorithm::Ed25519, Algorithm::Rs256, None);
    let chain = format!("{}{}", leaf.pem(), own.pem());
    let bare = keys.public_pem(Algorithm::Es256);
    for pem in [format!("{chain}{bare}"), format!("{bare}{chain}")] {
        serves(&fixture, &pem, &[Algorithm::Es256, Algorithm::Ed25519]).await;
    }
    // Two of one kind, with any kid and without.
    let both = [TestKeys::new(), TestKeys::other()];
    let pem = both.map(|keys| keys.public_pem(Algorithm::Rs256)).concat();
    let set = KeySet::from_pem(&pem).unwrap();
    for keys in both {
        for kid in [None, Some("any")] {
            let issuer = TestIssuer::with_keys(Algorithm::Rs256, keys)
                .clock(fixture.clock.clone())
                .kid(kid);
            let token = issuer.token(|_| ());
            verdict(&fixture, &set, &token).await.passes("of two");
            let builder = || fixture.any_algorithm(Verifier::pem(&pem));
            judge(builder, bearer(&token)).await.passes("builder");
        }
    }
    // One key is asked for.
    let refused = VerifyingKey::from_pem(&pem).unwrap_err().to_string();
    assert!(refused.contains("more than one public key"), "{refused}");
    let twice = keys.public_pem(Algorithm::Rs256).repeat(2);
    assert!(VerifyingKey::from_pem(&twice).is_ok());
    assert_eq!(KeySet::from_pem(&twice).unwrap().len(), 1);
}

#[test]
fn d51_nothing_in_a_pem_is_left_out_in_silence() {
    let key = TestKeys::new().public_pem(Algorithm::Rs256);
    let other = TestKeys::other().public_pem(Algorithm::Rs256);
    let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    for (more, problem) in [
        (other.replace("-----END PUBLIC KEY-----", ""), "malformed"),
        (other.replace("-----END PUBLIC", "-----END"), "not a PEM"),
        (block("PRIVATE KEY"), "private key"),
        (block("X509 CRL"), "not a PEM"),
        (block("PUBLIC KEY"), "not an RSA"),
        (block("CERTIFICATE"), "certificate in the PEM is malformed"),
    ] {
        for pem in [format!("{key}{more}"), format!("{more}{key}")] {
            let refused = KeySet::from_pem(pem);
            assert!(matches!(refused, Err(ConfigError::Key(_))), "{more}");
        }
        let refused = KeySet::from_pem(format!("{key}{more}")).unwrap_err();
        assert!(refused.to_string().contains(problem), "{refused}");
    }
    // `openssl ecparam` writes the curve before the key.
    let parameters = block("EC PARAMETERS");
    assert!(KeySet::from_pem(format!("{parameters}{key}")).is_ok());
}

#[tokio::test]
async fn d39_the_certificate_of_a_pem_names_its_key() {
    let fixture = Fixture::new();
    let [leaf, _] = issued(Algorithm::Es256, Algorithm::Rs256, Some("signer"));
    let certified = VerifyingKey::from_pem(leaf.pem()).unwrap().with_kid("a");
    let other = VerifyingKey::from_pem(TestKeys::other().public_pem(Algorithm::Es256));
    let keys = KeySet::new([other.unwrap().with_kid("b"), certified]).unwrap();
    for (value, passes) in [
        (encode(Sha256::digest(leaf.der())), true),
        (encode("else"), false),
    ] {
        let header = json!({"alg": "ES256", "x5t#S256": value}).to_string();
        let token = fixture.with_header(&header);
        let answer = verdict(&fixture, &keys, &token).await;
        if passes {
            answer.passes("named");
        } else {
            answer
                .invalid_token("another")
                .because(AuthErrorKind::UnknownKey);
        }
    }
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = u16::try_from(contents.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..=0x7F => vec![tag, low],
        0x80..=0xFF => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, contents].concat()
}

/// The RSA key of the test issuer, limited to RSASSA-PSS with these parameters.
fn limited(parameters: &[u8]) -> Vec<u8> {
    let pem = TestKeys::new().public_pem(Algorithm::Rs256);
    let lines = pem.lines().filter(|line| !line.starts_with("---"));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    // The outer head, and the algorithm with its NULL.
    let key = &der[4 + 15..];
    let oid = tlv(
        0x06,
        &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A]],
    );
    tlv(0x30, &[&tlv(0x30, &[&oid, parameters]), key])
}

/// RFC 8017 appendix A.2.3; the SHA-2 hashes differ in the last byte of their identifiers.
fn parameters(hash: u8, mask: u8, salt: u8) -> Vec<u8> {
    let sha2 = |last: u8| {
        let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last];
        tlv(0x30, &[&tlv(0x06, &[&oid]), &[0x05, 0x00]])
    };
    let mgf1 = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x08];
    let generator = tlv(0x30, &[&tlv(0x06, &[&mgf1]), &sha2(mask)]);
    let parts = [
        tlv(0xA0, &[&sha2(hash)]),
        tlv(0xA1, &[&generator]),
        tlv(0xA2, &[&[0x02, 0x01, salt]]),
    ];
    tlv(0x30, &[&parts.concat()])
}

const SHA_256: u8 = 1;
const SHA_384: u8 = 2;
const SHA_512: u8 = 3;

#[tokio::test]
async fn d52_a_key_limited_to_rsassa_pss_serves_ps_algorithms_alone() {
    use Algorithm::{Ps256, Ps384, Ps512, Rs256};

    let fixture = Fixture::new();
    for (parameters, served) in [
        (Vec::new(), &[Ps256, Ps384, Ps512][..]),
        (parameters(SHA_256, SHA_256, 32), &[Ps256]),
        (parameters(SHA_384, SHA_384, 20), &[Ps384]),
        (parameters(SHA_512, SHA_512, 64), &[Ps512]),
    ] {
        let der = limited(&parameters);
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(&der)
        );
        let keys = [VerifyingKey::from_der(&der), VerifyingKey::from_pem(pem)];
        for key in keys.map(Result::unwrap) {
            let listed = || {
                let builder = fixture.any_algorithm(Verifier::key(key.clone()));
                builder.algorithms([Rs256, Ps256, Ps384, Ps512])
            };
            for algorithm in [Rs256, Ps256, Ps384, Ps512] {
                let token = fixture.issuer(algorithm).token(|_| ());
                let answer = judge(listed, bearer(&token)).await;
                if served.contains(&algorithm) {
                    answer.passes(algorithm.as_str());
                } else {
                    answer.invalid_token(algorithm.as_str());
                }
            }
            // Without a list, the first that it serves.
            let token = fixture.issuer(served[0]).token(|_| ());
            let builder = || fixture.any_algorithm(Verifier::key(key.clone()));
            judge(builder, bearer(&token)).await.passes("default");
            let token = fixture.rs.token(|_| ());
            judge(builder, bearer(&token))
                .await
                .invalid_token("RS256")
                .because(AuthErrorKind::AlgorithmNotAllowed);
            assert!(key.clone().with_algorithm(Rs256).is_err());
        }
    }
    // Another hash for the mask, a salt longer than the hash, the defaults of SHA-1.
    for parameters in [
        parameters(SHA_256, SHA_384, 32),
        parameters(SHA_256, SHA_256, 33),
        tlv(0x30, &[]),
        vec![0x05, 0x00],
    ] {
        let refused = VerifyingKey::from_der(limited(&parameters));
        assert!(matches!(refused, Err(ConfigError::Key(_))));
    }
}
