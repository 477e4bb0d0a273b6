//! A private key or a secret, ready to sign with one algorithm.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(feature = "pem")]
mod pem;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto;
#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

#[cfg(feature = "aws-lc-rs")]
use self::aws_lc::Signer;
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
use self::missing::Signer;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
use self::rust_crypto::Signer;
use super::{
    Algorithm, VerifyingKey,
    algorithm::{Curve, Family},
    der,
    provider::Material,
    public::PublicKey,
    verifying::Kid,
};
use crate::{error::ConfigError, secret};

/// A private key or a secret that signs with one algorithm (RFC 8725 §3.1: one key, one algorithm).
///
/// A private key is named by its RFC 7638 thumbprint unless [`with_kid`](Self::with_kid) names it
/// otherwise; a secret has no name, because a thumbprint of it would be a hash of the secret
/// (RFC 7638 §7).
///
/// # Security
///
/// The private part is never printed or serialized, and there is no way to get it out again.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::key::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// assert_eq!(key.kid(), key.thumbprint());
/// assert_eq!(key.verifying_key().kid(), key.kid());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
pub struct SigningKey {
    algorithm: Algorithm,
    signer: Signer,
    verifying: VerifyingKey,
    /// What a private key publishes; a secret publishes nothing.
    public: Option<Public>,
}

struct Public {
    key: PublicKey,
    thumbprint: Box<str>,
}

impl SigningKey {
    /// A new key from the cryptographic library: RSA with 2048 bits, for HMAC a secret as long as
    /// the hash.
    ///
    /// It lives as long as the process: nothing can save it. RSA takes some tenths of a second.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoCrypto`].
    /// - [`ConfigError::Algorithm`]: ES512 needs the feature `aws-lc-rs`.
    /// - [`ConfigError::Key`]: the library failed.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        if algorithm.is_hmac() {
            let bytes = Zeroizing::new(secret::random::<LONGEST_HASH>());
            let length = algorithm.secret_bytes();
            return Self::hmac(algorithm, bytes.get(..length).unwrap_or_default());
        }
        Self::of_signer(algorithm, Signer::generate(algorithm)?)
    }

    /// A private key from PEM: PKCS#8 (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`) or PKCS#1
    /// (`RSA PRIVATE KEY`), not encrypted.
    ///
    /// The key decides the algorithm: RS256 for RSA, the curve's own for EC, `EdDSA` for Ed25519.
    /// [`with_algorithm`](Self::with_algorithm) changes that where a key can do more.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`]: a public key or a certificate, an encrypted key, several keys, an
    ///   unknown kind of key, RSA under 2048 or over 8192 bits.
    /// - [`ConfigError::Algorithm`]: P-521 needs the feature `aws-lc-rs`.
    /// - [`ConfigError::NoCrypto`].
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::from_pkcs8_der(pem::pkcs8_der(pem.as_ref())?.as_slice())
    }

    /// A private key from unencrypted PKCS#8 (RFC 5208 §5), DER.
    ///
    /// The key decides the algorithm, as in [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_pkcs8_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let der = der.as_ref();
        let algorithm = match der::family_of_private_key(der) {
            Some(Family::Rsa) => Algorithm::Rs256,
            Some(Family::Ec(Curve::P256)) => Algorithm::Es256,
            Some(Family::Ec(Curve::P384)) => Algorithm::Es384,
            Some(Family::Ec(Curve::P521)) => Algorithm::Es512,
            // The name of RFC 9864 is not understood everywhere yet.
            Some(Family::Ed25519) => Algorithm::EdDsa,
            Some(Family::Hmac) | None => return Err(unknown()),
        };
        Self::of_signer(algorithm, Signer::from_pkcs8_der(algorithm, der)?)
    }

    /// An HMAC secret of random bytes.
    ///
    /// # Errors
    ///
    /// As [`VerifyingKey::from_secret`].
    pub fn from_secret(
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        let secret = secret.as_ref();
        Ok(Self {
            verifying: VerifyingKey::from_secret(algorithm, secret)?,
            algorithm,
            signer: Signer::hmac(algorithm, secret)?,
            public: None,
        })
    }

    /// A secret that may be a key of another kind: generated bytes, and the attacks of `test_util`.
    pub(crate) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        if !algorithm.is_hmac() {
            return Err(misfit(algorithm));
        }
        // RFC 7518 §3.2: a key of the hash's size or larger.
        if secret.len() < algorithm.secret_bytes() {
            return Err(ConfigError::SecretTooShort {
                algorithm: algorithm.as_str(),
                required: algorithm.secret_bytes(),
                actual: secret.len(),
            });
        }
        let material = Material::Secret(secret);
        Ok(Self {
            verifying: VerifyingKey::prepare(Kid::Any, Some(algorithm), &material)?,
            algorithm,
            signer: Signer::hmac(algorithm, secret)?,
            public: None,
        })
    }

    fn of_signer(algorithm: Algorithm, signer: Signer) -> Result<Self, ConfigError> {
        let key = signer.public(algorithm)?;
        let thumbprint = key.thumbprint().into_boxed_str();
        let kid = Kid::Named(thumbprint.clone());
        Ok(Self {
            // Here the sizes and points are checked that no library checks.
            verifying: VerifyingKey::prepare(kid, Some(algorithm), &key.material())?,
            algorithm,
            signer,
            public: Some(Public { key, thumbprint }),
        })
    }

    /// Signs with another algorithm that the key can do: any of `RS…` and `PS…` for RSA, `Ed25519`
    /// or `EdDSA` for Ed25519.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] where the key does not fit it.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        if algorithm == self.algorithm {
            return Ok(self);
        }
        let Some(public) = self.public else {
            return Err(misfit(algorithm));
        };
        if algorithm.family() != self.algorithm.family() {
            return Err(misfit(algorithm));
        }
        let kid = self.verifying.kid_rule().clone();
        Ok(Self {
            verifying: VerifyingKey::prepare(kid, Some(algorithm), &public.key.material())?,
            algorithm,
            signer: self.signer.with_algorithm(algorithm)?,
            public: Some(public),
        })
    }

    /// The name under which verifiers find the key, instead of the thumbprint.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<Box<str>>) -> Self {
        self.verifying = self.verifying.with_kid(kid);
        self
    }

    /// The algorithm that the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name that tokens carry in their header (`kid`); none for a secret that nobody named.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.verifying.kid()
    }

    /// The [RFC 7638] thumbprint of the public half with SHA-256; none for a secret.
    ///
    /// [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638
    #[must_use]
    pub fn thumbprint(&self) -> Option<&str> {
        self.public.as_ref().map(|public| &*public.thumbprint)
    }

    /// The half that verifies: the public key, or the secret itself. It is bound to the algorithm,
    /// and to the `kid` where there is one.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// The public half as a JWK (RFC 7517 §4) with `kid`, `alg` and `use`; none for a secret, which
    /// is never published.
    #[must_use]
    pub fn public_jwk(&self) -> Option<String> {
        self.jwk().map(|jwk| Value::Object(jwk).to_string())
    }

    pub(crate) fn jwk(&self) -> Option<Map<String, Value>> {
        let mut jwk = self.public.as_ref()?.key.members();
        jwk.insert("alg".into(), self.algorithm.as_str().into());
        jwk.insert("use".into(), "sig".into());
        if let Some(kid) = self.kid() {
            jwk.insert("kid".into(), kid.into());
        }
        Some(jwk)
    }

    /// The signature of `message`, in the form of RFC 7518 §3.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        self.signer.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

/// The cryptographic library could not sign. It tells no cause.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("signing failed")]
pub(crate) struct SigningFailed;

fn misfit(algorithm: Algorithm) -> ConfigError {
    ConfigError::Key(format!("the key cannot be used with {algorithm}").into())
}

fn unknown() -> ConfigError {
    ConfigError::Key("not a PKCS#8 private key of RSA, P-256, P-384, P-521 or Ed25519".into())
}

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
fn rejected(algorithm: Algorithm) -> ConfigError {
    ConfigError::Key(format!("not a valid private key for {algorithm}").into())
}

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
fn not_generated(algorithm: Algorithm) -> ConfigError {
    ConfigError::Key(format!("no key for {algorithm} could be generated").into())
}

/// SHA-512's, in bytes.
const LONGEST_HASH: usize = 64;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::{PublicKey, SigningFailed};
    use crate::{error::ConfigError, key::Algorithm};

    /// Nothing can sign in a build without cryptography.
    pub(super) enum Signer {}

    impl Signer {
        pub(super) fn generate(_: Algorithm) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn from_pkcs8_der(_: Algorithm, _: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn hmac(_: Algorithm, _: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn with_algorithm(self, _: Algorithm) -> Result<Self, ConfigError> {
            match self {}
        }

        pub(super) fn public(&self, _: Algorithm) -> Result<PublicKey, ConfigError> {
            match *self {}
        }

        pub(super) fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            match *self {}
        }
    }
}
