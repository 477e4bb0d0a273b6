//! The small part of DER that key loading needs: the integers of an RSA public key, and the outer
//! structure of private keys. The cryptographic library parses the rest.

use super::algorithm::{Curve, Family};

/// Returns the modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1), without leading
/// zeros.
#[cfg(feature = "aws-lc-rs")]
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, rest) = element(der, SEQUENCE)?;
    let (n, body) = element(body, INTEGER)?;
    let (e, body) = element(body, INTEGER)?;
    (rest.is_empty() && body.is_empty()).then(|| (unsigned(n), unsigned(e)))
}

/// Returns `true` if the bytes have the outer structure of an encoded key: a `SEQUENCE` that starts
/// with a `SEQUENCE` (`SubjectPublicKeyInfo`, a certificate) or an `INTEGER` (PKCS#1, PKCS#8, SEC
/// 1).
///
/// Two levels are checked, because random secrets often start like one level.
pub(crate) fn looks_like_a_key(der: &[u8]) -> bool {
    element(der, SEQUENCE).is_some_and(|(body, rest)| {
        let first = element(body, SEQUENCE).or_else(|| element(body, INTEGER));
        rest.is_empty()
            && first.is_some_and(|(first, others)| !first.is_empty() && !others.is_empty())
    })
}

/// Returns the kind of key that a PKCS#8 `PrivateKeyInfo` (RFC 5208 §5) declares.
pub(crate) fn family_of_private_key(der: &[u8]) -> Option<Family> {
    let info = PrivateKeyInfo::read(der)?;
    match info.algorithm {
        RSA_ENCRYPTION => Some(Family::Rsa),
        // RFC 8410 §3
        ED25519 => Some(Family::Ed25519),
        EC_PUBLIC_KEY => {
            let (oid, rest) = element(info.parameters, OBJECT_IDENTIFIER)?;
            curve(oid).filter(|_| rest.is_empty()).map(Family::Ec)
        }
        _ => None,
    }
}

/// Returns the `RSAPrivateKey` (RFC 8017 appendix A.1.2) of a PKCS#8 `PrivateKeyInfo`.
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub(crate) fn rsa_private_key(der: &[u8]) -> Option<&[u8]> {
    let info = PrivateKeyInfo::read(der)?;
    (info.algorithm == RSA_ENCRYPTION).then_some(info.key)
}

struct PrivateKeyInfo<'a> {
    algorithm: &'a [u8],
    parameters: &'a [u8],
    #[cfg_attr(
        not(all(feature = "rust-crypto", not(feature = "aws-lc-rs"))),
        expect(dead_code, reason = "aws-lc-rs reads the whole structure")
    )]
    key: &'a [u8],
}

impl<'a> PrivateKeyInfo<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let (body, rest) = element(der, SEQUENCE)?;
        let (_version, body) = element(body, INTEGER)?;
        let (identifier, body) = element(body, SEQUENCE)?;
        let (algorithm, parameters) = element(identifier, OBJECT_IDENTIFIER)?;
        let (key, _attributes) = element(body, OCTET_STRING)?;
        // Not every library rejects trailing bytes.
        rest.is_empty().then_some(Self {
            algorithm,
            parameters,
            key,
        })
    }
}

/// Wraps an `RSAPrivateKey` (RFC 8017 appendix A.1.2) in PKCS#8.
#[cfg(feature = "pem")]
pub(crate) fn pkcs8_of_pkcs1(der: &[u8]) -> Option<Vec<u8>> {
    const NULL: &[u8] = &[0x05, 0x00];

    let (_, rest) = element(der, SEQUENCE)?;
    rest.is_empty()
        .then(|| pkcs8(&tagged(OBJECT_IDENTIFIER, RSA_ENCRYPTION), NULL, der))
}

/// Wraps an `ECPrivateKey` (RFC 5915 §3) in PKCS#8. The key must name its curve.
#[cfg(feature = "pem")]
pub(crate) fn pkcs8_of_sec1(der: &[u8]) -> Option<Vec<u8>> {
    const PARAMETERS: u8 = 0xA0;

    let (body, rest) = element(der, SEQUENCE)?;
    let (_version, body) = element(body, INTEGER)?;
    let (_key, body) = element(body, OCTET_STRING)?;
    let (parameters, _public_key) = element(body, PARAMETERS)?;
    let (oid, none) = element(parameters, OBJECT_IDENTIFIER)?;
    curve(oid)?;
    (rest.is_empty() && none.is_empty())
        .then(|| pkcs8(&tagged(OBJECT_IDENTIFIER, EC_PUBLIC_KEY), parameters, der))
}

#[cfg(feature = "pem")]
fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    const VERSION: &[u8] = &[INTEGER, 1, 0];

    let identifier = tagged(SEQUENCE, &[algorithm, parameters].concat());
    let key = zeroize::Zeroizing::new(tagged(OCTET_STRING, key));
    let body = zeroize::Zeroizing::new([VERSION, &identifier, &key].concat());
    tagged(SEQUENCE, &body)
}

#[cfg(feature = "pem")]
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let length = unsigned(&length);
    let mut der = Vec::with_capacity(contents.len() + length.len() + 2);
    der.push(tag);
    match (length, u8::try_from(length.len())) {
        ([], _) => der.push(0),
        ([short @ 0..=0x7F], _) => der.push(*short),
        (long, count) => {
            der.push(0x80 | count.unwrap_or_default());
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(contents);
    der
}

fn curve(oid: &[u8]) -> Option<Curve> {
    match oid {
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07] => Some(Curve::P256),
        [0x2B, 0x81, 0x04, 0x00, 0x22] => Some(Curve::P384),
        [0x2B, 0x81, 0x04, 0x00, 0x23] => Some(Curve::P521),
        _ => None,
    }
}

/// Returns big-endian bytes without leading zeros.
pub(crate) fn unsigned(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// 1.2.840.113549.1.1.1 (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 (RFC 5480 §2.1.1). Its parameters name the curve.
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// 1.3.101.112 (RFC 8410 §3).
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
