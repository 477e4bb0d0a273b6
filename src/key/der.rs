//! The little DER that key loading needs: the integers of an RSA public key, the inside of PKCS#8.

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 appendix A.1.1), without leading zeros.
#[cfg(feature = "pem")]
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, rest) = element(der, SEQUENCE)?;
    let (n, body) = element(body, INTEGER)?;
    let (e, body) = element(body, INTEGER)?;
    (rest.is_empty() && body.is_empty()).then(|| (unsigned(n), unsigned(e)))
}

/// Whether the bytes have the outline of an encoded key: one `SEQUENCE` that begins with a
/// `SEQUENCE` (`SubjectPublicKeyInfo`, a certificate) or an `INTEGER` (PKCS#1, PKCS#8, SEC 1).
///
/// Two levels are looked at, because random secrets often begin like one.
pub(crate) fn looks_like_a_key(der: &[u8]) -> bool {
    element(der, SEQUENCE).is_some_and(|(body, rest)| {
        let first = element(body, SEQUENCE).or_else(|| element(body, INTEGER));
        rest.is_empty()
            && first.is_some_and(|(first, others)| !first.is_empty() && !others.is_empty())
    })
}

/// The `RSAPrivateKey` (RFC 8017 appendix A.1.2) inside a PKCS#8 `PrivateKeyInfo` (RFC 5208 §5).
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn rsa_private_key(der: &[u8]) -> Option<&[u8]> {
    const OCTET_STRING: u8 = 0x04;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    /// 1.2.840.113549.1.1.1 (RFC 8017 appendix A.1).
    const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

    let (body, rest) = element(der, SEQUENCE)?;
    let (_version, body) = element(body, INTEGER)?;
    let (algorithm, body) = element(body, SEQUENCE)?;
    let (oid, _parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (key, _attributes) = element(body, OCTET_STRING)?;
    (rest.is_empty() && oid == RSA_ENCRYPTION).then_some(key)
}

/// Big-endian bytes without leading zeros.
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

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
