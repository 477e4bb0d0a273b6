//! Digests under a secret random key, for values that must not be stored themselves.

#[cfg(feature = "aws-lc-rs")]
use self::aws_lc::Mac;
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
use self::missing::Mac;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
use self::rust_crypto::Mac;
use crate::{
    error::ConfigError,
    secret::{Secret, random},
};

/// Computes HMAC-SHA-256 digests (RFC 2104) under a random key, which is generated with this value.
///
/// A digest reveals nothing about its message. Without the key, a guess cannot be tested against
/// it.
pub(crate) struct Digester(Mac);

impl Digester {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        Mac::new(Secret::new(random::<DIGEST>()).expose()).map(Self)
    }

    /// Creates a digester with a key that other processes have too. It must have 32 random bytes.
    pub(crate) fn with_key(key: &[u8]) -> Result<Self, ConfigError> {
        Mac::new(key).map(Self)
    }

    /// Returns `true` if this is the digest of the message. Compares in constant time.
    pub(crate) fn verifies(&self, message: &[u8], digest: &[u8]) -> bool {
        self.0.verifies(message, digest)
    }

    /// Returns the digest, or `None` if the cryptographic library fails.
    pub(crate) fn digest(&self, message: &[u8]) -> Option<[u8; DIGEST]> {
        self.0.digest(message)
    }
}

/// The length of a digest and of its key, in bytes.
pub(crate) const DIGEST: usize = 32;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::hmac;

    use super::DIGEST;
    use crate::error::ConfigError;

    // Boxed: its two prepared hash states take more than 1 KiB.
    pub(super) struct Mac(Box<hmac::Key>);

    impl Mac {
        pub(super) fn new(key: &[u8]) -> Result<Self, ConfigError> {
            Ok(Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key))))
        }

        pub(super) fn digest(&self, message: &[u8]) -> Option<[u8; DIGEST]> {
            hmac::sign(&self.0, message).as_ref().try_into().ok()
        }

        pub(super) fn verifies(&self, message: &[u8], digest: &[u8]) -> bool {
            hmac::verify(&self.0, message, digest).is_ok()
        }
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto {
    use jsonwebtoken::{
        Algorithm, DecodingKey, EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER,
    };

    use super::DIGEST;
    use crate::error::ConfigError;

    // The signers of jsonwebtoken are not `Sync`, so each digest creates one.
    pub(super) struct Mac(EncodingKey, DecodingKey);

    impl Mac {
        pub(super) fn new(key: &[u8]) -> Result<Self, ConfigError> {
            Ok(Self(
                EncodingKey::from_secret(key),
                DecodingKey::from_secret(key),
            ))
        }

        pub(super) fn digest(&self, message: &[u8]) -> Option<[u8; DIGEST]> {
            let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &self.0).ok()?;
            signer.try_sign(message).ok()?.try_into().ok()
        }

        pub(super) fn verifies(&self, message: &[u8], digest: &[u8]) -> bool {
            let verifier = (DEFAULT_PROVIDER.verifier_factory)(&Algorithm::HS256, &self.1);
            verifier.is_ok_and(|verifier| verifier.verify(message, &digest.to_vec()).is_ok())
        }
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::DIGEST;
    use crate::error::ConfigError;

    /// A build without cryptography cannot compute digests.
    pub(super) enum Mac {}

    impl Mac {
        pub(super) fn new(_: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn digest(&self, _: &[u8]) -> Option<[u8; DIGEST]> {
            match *self {}
        }

        pub(super) fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_by_message_and_by_key() {
        let (one, other) = (Digester::new().unwrap(), Digester::new().unwrap());
        assert_eq!(one.digest(b"token"), one.digest(b"token"));
        assert_ne!(one.digest(b"token"), one.digest(b"tokem"));
        assert_ne!(one.digest(b"token"), other.digest(b"token"));
        assert_ne!(one.digest(b"token").unwrap(), [0; DIGEST]);
    }

    #[test]
    fn a_digest_verifies_its_message_and_no_other() {
        let digester = Digester::with_key(&[7; 32]).unwrap();
        let digest = digester.digest(b"token").unwrap();
        assert!(
            Digester::with_key(&[7; 32])
                .unwrap()
                .verifies(b"token", &digest)
        );
        assert!(!digester.verifies(b"tokem", &digest));
        assert!(!digester.verifies(b"token", &digest[..16]));
        assert!(
            !Digester::with_key(&[8; 32])
                .unwrap()
                .verifies(b"token", &digest)
        );
    }

    #[test]
    fn a_digest_is_hmac_sha_256() {
        // RFC 4231 §4.3.
        let digest = Digester(Mac::new(b"Jefe").unwrap()).digest(b"what do ya want for nothing?");
        let hex: String = digest
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}

#[cfg(test)]
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;

    #[test]
    fn without_cryptography_there_is_no_digest() {
        assert!(matches!(Digester::new(), Err(ConfigError::NoCrypto)));
    }
}
