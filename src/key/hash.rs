//! Hash functions of the cryptographic library, for names of keys. They protect no secret.
//!
//! Without cryptography, both functions return [`ConfigError::NoCrypto`], and no key exists that
//! could have a name.

#[cfg(feature = "aws-lc-rs")]
pub(super) use self::aws_lc::{is_equal, sha1, sha256};
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
pub(super) use self::missing::{is_equal, sha1, sha256};
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub(super) use self::rust_crypto::{is_equal, sha1, sha256};

/// The lengths of the hashes, in bytes.
const SHA_1: usize = 20;
const SHA_256: usize = 32;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::{
        constant_time::verify_slices_are_equal,
        digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256},
    };

    use super::{SHA_1, SHA_256};
    use crate::error::ConfigError;

    pub(in crate::key) fn sha1(bytes: &[u8]) -> Result<[u8; SHA_1], ConfigError> {
        hash(&SHA1_FOR_LEGACY_USE_ONLY, &[bytes])
    }

    /// Hashes the parts as if they were one message.
    pub(in crate::key) fn sha256(parts: &[&[u8]]) -> Result<[u8; SHA_256], ConfigError> {
        hash(&SHA256, parts)
    }

    /// Compares two hashes in constant time.
    pub(in crate::key) fn is_equal(one: &[u8; SHA_256], other: &[u8; SHA_256]) -> bool {
        verify_slices_are_equal(one, other).is_ok()
    }

    fn hash<const N: usize>(
        algorithm: &'static Algorithm,
        parts: &[&[u8]],
    ) -> Result<[u8; N], ConfigError> {
        let mut context = Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        let hash = context.finish();
        // Both functions above name the length of their algorithm.
        hash.as_ref().try_into().map_err(|_| ConfigError::NoCrypto)
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto {
    use sha1::Sha1;
    use sha2::{Digest as _, Sha256};
    use subtle::ConstantTimeEq as _;

    use super::{SHA_1, SHA_256};
    use crate::error::ConfigError;

    pub(in crate::key) fn sha1(bytes: &[u8]) -> Result<[u8; SHA_1], ConfigError> {
        Ok(Sha1::digest(bytes).into())
    }

    /// Hashes the parts as if they were one message.
    pub(in crate::key) fn sha256(parts: &[&[u8]]) -> Result<[u8; SHA_256], ConfigError> {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        Ok(hash.finalize().into())
    }

    /// Compares two hashes in constant time.
    pub(in crate::key) fn is_equal(one: &[u8; SHA_256], other: &[u8; SHA_256]) -> bool {
        one.ct_eq(other).into()
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::{SHA_1, SHA_256};
    use crate::error::ConfigError;

    pub(in crate::key) fn sha1(_: &[u8]) -> Result<[u8; SHA_1], ConfigError> {
        Err(ConfigError::NoCrypto)
    }

    pub(in crate::key) fn sha256(_: &[&[u8]]) -> Result<[u8; SHA_256], ConfigError> {
        Err(ConfigError::NoCrypto)
    }

    /// No hash exists that could be compared.
    pub(in crate::key) fn is_equal(_: &[u8; SHA_256], _: &[u8; SHA_256]) -> bool {
        false
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    fn hex(hash: &[u8]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_hashes_are_those_of_rfc_6234_section_8_5() {
        assert_eq!(
            hex(&sha1(b"abc").unwrap()),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        let whole = sha256(&[b"abc"]).unwrap();
        assert_eq!(
            hex(&whole),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(sha256(&[b"a", b"", b"bc"]).unwrap(), whole);
    }

    #[test]
    fn h8_hashes_are_equal_if_every_bit_is() {
        let hash = sha256(&[b"abc"]).unwrap();
        assert!(is_equal(&hash, &hash));
        for byte in 0..SHA_256 {
            for bit in 0..8 {
                let mut other = hash;
                other[byte] ^= 1 << bit;
                assert!(!is_equal(&hash, &other));
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::error::ConfigError;

    #[test]
    fn without_cryptography_there_is_no_hash() {
        assert!(matches!(sha1(b"abc"), Err(ConfigError::NoCrypto)));
        assert!(matches!(sha256(&[b"abc"]), Err(ConfigError::NoCrypto)));
    }
}
