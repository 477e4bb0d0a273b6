//! A private key or a secret that signs with a single algorithm.

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

/// A private key or a secret that signs with a single algorithm (RFC 8725 §3.1).
///
/// The `kid` of a private key is its RFC 7638 thumbprint, unless [`with_kid`](Self::with_kid) sets
/// another one. A secret has no `kid` by default, because its thumbprint would be a hash of the
/// secret (RFC 7638 §7).
///
/// # Security
///
/// The private part is never printed or serialized, and there is no method that returns it.
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
    /// The public part of a private key; `None` for a secret.
    public: Option<Public>,
}

struct Public {
    key: PublicKey,
    thumbprint: Box<str>,
}

impl SigningKey {
    /// Generates a key with the cryptographic library: RSA with 2048 bits, or an HMAC secret as
    /// long as the hash.
    ///
    /// The key cannot be saved and is lost when the process ends. Generating an RSA key takes some
    /// tenths of a second.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoCrypto`] in a build without cryptography.
    /// - [`ConfigError::Algorithm`] for ES512 without the feature `aws-lc-rs`.
    /// - [`ConfigError::Key`] if the library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        if algorithm.is_hmac() {
            let bytes = Zeroizing::new(secret::random::<LONGEST_HASH>());
            let length = algorithm.secret_bytes();
            return Self::hmac(algorithm, bytes.get(..length).unwrap_or_default());
        }
        Self::of_signer(algorithm, Signer::generate(algorithm)?)
    }

    /// Parses an unencrypted private key in PEM: PKCS#8 (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`)
    /// or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// The kind of key determines the algorithm: RS256 for RSA, the algorithm of the curve for EC,
    /// and `EdDSA` for Ed25519. If the key supports another one,
    /// [`with_algorithm`](Self::with_algorithm) selects it.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`] for a public key or a certificate, an encrypted key, several keys, an
    ///   unknown kind of key, or an RSA key with fewer than 2048 or more than 8192 bits.
    /// - [`ConfigError::Algorithm`] for P-521 without the feature `aws-lc-rs`.
    /// - [`ConfigError::NoCrypto`] in a build without cryptography.
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::from_pkcs8_der(pem::pkcs8_der(pem.as_ref())?.as_slice())
    }

    /// Parses an unencrypted private key in PKCS#8 DER (RFC 5208 §5).
    ///
    /// The kind of key determines the algorithm, as in [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    ///
    /// The errors of [`from_pem`](Self::from_pem).
    pub fn from_pkcs8_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let der = der.as_ref();
        let algorithm = match der::family_of_private_key(der) {
            Some(Family::Rsa) => Algorithm::Rs256,
            Some(Family::Ec(Curve::P256)) => Algorithm::Es256,
            Some(Family::Ec(Curve::P384)) => Algorithm::Es384,
            Some(Family::Ec(Curve::P521)) => Algorithm::Es512,
            // Not all verifiers support the name of RFC 9864 yet.
            Some(Family::Ed25519) => Algorithm::EdDsa,
            Some(Family::Hmac) | None => return Err(unknown()),
        };
        Self::of_signer(algorithm, Signer::from_pkcs8_der(algorithm, der)?)
    }

    /// Creates an HMAC key from a secret of random bytes.
    ///
    /// # Errors
    ///
    /// The errors of [`VerifyingKey::from_secret`].
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

    /// Creates an HMAC key without checking that the secret is not a key of another kind. For
    /// generated secrets, and for the attacks in `test_util`.
    pub(crate) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        if !algorithm.is_hmac() {
            return Err(misfit(algorithm));
        }
        // RFC 7518 §3.2: the secret is at least as long as the hash.
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
        let thumbprint = key.thumbprint()?.into_boxed_str();
        let kid = Kid::Named(thumbprint.clone());
        Ok(Self {
            // Checks the sizes and points that no library checks.
            verifying: VerifyingKey::prepare(kid, Some(algorithm), &key.material())?,
            algorithm,
            signer,
            public: Some(Public { key, thumbprint }),
        })
    }

    /// Selects another algorithm that the key supports: any `RS…` or `PS…` for RSA, `Ed25519` or
    /// `EdDSA` for Ed25519.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the key does not support the algorithm.
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

    /// Sets the `kid`, instead of the thumbprint.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<Box<str>>) -> Self {
        self.verifying = self.verifying.with_kid(kid);
        self
    }

    /// Returns the algorithm with which the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the `kid` in the header of the tokens; `None` for a secret without one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.verifying.kid()
    }

    /// Returns the [RFC 7638] thumbprint of the public key with SHA-256; `None` for a secret.
    ///
    /// [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638
    #[must_use]
    pub fn thumbprint(&self) -> Option<&str> {
        self.public.as_ref().map(|public| &*public.thumbprint)
    }

    /// Returns the key that verifies the tokens: the public key, or the secret itself. It is bound
    /// to the algorithm, and to the `kid` if there is one.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// Returns the public key as a JWK (RFC 7517 §4) with `kid`, `alg` and `use`. Returns `None`
    /// for a secret, which must not be published.
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

    /// Returns the private key in PKCS#8 DER, for a store that encrypts it. `None` for a secret.
    #[cfg(all(feature = "aws-lc-rs", feature = "server"))]
    pub(crate) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.signer.to_pkcs8()
    }

    /// Returns the signature of `message`, in the form of RFC 7518 §3.
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

/// The failure of the cryptographic library to sign. The library gives no cause.
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

/// The length of a SHA-512 hash, in bytes.
const LONGEST_HASH: usize = 64;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::{PublicKey, SigningFailed};
    use crate::{error::ConfigError, key::Algorithm};

    /// A build without cryptography cannot sign.
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
