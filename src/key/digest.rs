//! Digests under a secret random key, for values that must not be stored themselves.

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
use self::blake3::Mac;
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
use self::missing::Mac;
use crate::{error::ConfigError, secret::random};

/// Computes BLAKE3 digests in its keyed mode, under a random key that is generated with this value.
///
/// A digest reveals nothing about its message. Without the key, a guess cannot be tested against
/// it.
pub(crate) struct Digester(Mac);

impl Digester {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        Mac::new(random()).map(Self)
    }

    /// Creates a digester with a key that other processes have too. It must have 32 random bytes.
    pub(crate) fn with_key(key: &[u8]) -> Result<Self, ConfigError> {
        Mac::derived(key).map(Self)
    }

    /// Returns `true` if this is the digest of the message. Compares in constant time.
    pub(crate) fn verifies(&self, message: &[u8], digest: &[u8]) -> bool {
        self.0.verifies(message, digest)
    }

    pub(crate) fn digest(&self, message: &[u8]) -> [u8; DIGEST] {
        self.0.digest(message)
    }
}

/// The length of a digest and of its key, in bytes.
pub(crate) const DIGEST: usize = 32;

// HMAC-SHA-256 of a short token took as long as half of a cached request.
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod blake3 {
    use blake3::{Hash, derive_key, keyed_hash};

    use super::DIGEST;
    use crate::{error::ConfigError, secret::Secret};

    pub(super) struct Mac(Secret<[u8; DIGEST]>);

    impl Mac {
        pub(super) fn new(key: [u8; DIGEST]) -> Result<Self, ConfigError> {
            Ok(Self(Secret::new(key)))
        }

        /// Derives the key from one of any length.
        pub(super) fn derived(key: &[u8]) -> Result<Self, ConfigError> {
            Self::new(derive_key(CONTEXT, key))
        }

        pub(super) fn digest(&self, message: &[u8]) -> [u8; DIGEST] {
            self.of(message).into()
        }

        pub(super) fn verifies(&self, message: &[u8], digest: &[u8]) -> bool {
            // A `Hash` is compared in constant time.
            Hash::from_slice(digest).is_ok_and(|digest| self.of(message) == digest)
        }

        fn of(&self, message: &[u8]) -> Hash {
            keyed_hash(self.0.expose(), message)
        }
    }

    const CONTEXT: &str = "tower-jwt-auth 2026-11-29 digests under a shared key";
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::DIGEST;
    use crate::error::ConfigError;

    /// A build without cryptography cannot compute digests.
    pub(super) enum Mac {}

    impl Mac {
        pub(super) fn new(_: [u8; DIGEST]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn derived(_: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn digest(&self, _: &[u8]) -> [u8; DIGEST] {
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
        assert_ne!(one.digest(b"token"), [0; DIGEST]);
    }

    #[test]
    fn a_digest_verifies_its_message_and_no_other() {
        let digester = Digester::with_key(&[7; 32]).unwrap();
        let digest = digester.digest(b"token");
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
    fn a_digest_is_blake3_in_its_keyed_mode() {
        // The test vectors of its authors, for no input and for one zero byte.
        let digester = Digester(Mac::new(*b"whats the Elvish word for friend").unwrap());
        let hex = |message: &[u8]| -> String {
            let digest = digester.digest(message);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(
            hex(b""),
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"
        );
        assert_eq!(
            hex(b"\0"),
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b"
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
