//! A private key or a secret, ready to sign with one algorithm.

use std::fmt;

use crate::{
    error::ConfigError,
    key::{Algorithm, der},
};

#[cfg(feature = "aws-lc-rs")]
use self::aws_lc::Signer;
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
use self::missing::Signer;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
use self::rust_crypto::Signer;

/// A key that signs with one algorithm (RFC 8725 §3.1: one key, one algorithm).
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    kid: Option<String>,
    signer: Signer,
}

impl SigningKey {
    /// A private key in unencrypted PKCS#8 (RFC 5208 §5), DER.
    pub(crate) fn from_pkcs8_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, ConfigError> {
        if algorithm.is_hmac() {
            return Err(misfit(algorithm));
        }
        // Not every library looks at what follows the key.
        if !der::looks_like_a_key(der) {
            return Err(rejected(algorithm));
        }
        Ok(Self {
            algorithm,
            kid: None,
            signer: Signer::from_pkcs8_der(algorithm, der)?,
        })
    }

    /// An HMAC secret.
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
        Ok(Self {
            algorithm,
            kid: None,
            signer: Signer::hmac(algorithm, secret)?,
        })
    }

    /// The name under which verifiers find the key.
    #[must_use]
    pub(crate) fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
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
            .field("kid", &self.kid)
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

fn rejected(algorithm: Algorithm) -> ConfigError {
    ConfigError::Key(format!("not a PKCS#8 private key for {algorithm}").into())
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::{
        hmac,
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
            ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
            RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
            RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
        },
    };

    use super::{SigningFailed, misfit, rejected};
    use crate::{error::ConfigError, key::Algorithm};

    pub(super) enum Signer {
        // Boxed: its two prepared hash states take over a kilobyte.
        Hmac(Box<hmac::Key>),
        Rsa(RsaKeyPair, &'static dyn RsaEncoding),
        Ec(EcdsaKeyPair),
        Ed25519(Ed25519KeyPair),
    }

    impl Signer {
        pub(super) fn from_pkcs8_der(
            algorithm: Algorithm,
            der: &[u8],
        ) -> Result<Self, ConfigError> {
            Ok(match algorithm {
                Algorithm::Rs256 => rsa(algorithm, der, &RSA_PKCS1_SHA256)?,
                Algorithm::Rs384 => rsa(algorithm, der, &RSA_PKCS1_SHA384)?,
                Algorithm::Rs512 => rsa(algorithm, der, &RSA_PKCS1_SHA512)?,
                Algorithm::Ps256 => rsa(algorithm, der, &RSA_PSS_SHA256)?,
                Algorithm::Ps384 => rsa(algorithm, der, &RSA_PSS_SHA384)?,
                Algorithm::Ps512 => rsa(algorithm, der, &RSA_PSS_SHA512)?,
                Algorithm::Es256 => ec(algorithm, der, &ECDSA_P256_SHA256_FIXED_SIGNING)?,
                Algorithm::Es384 => ec(algorithm, der, &ECDSA_P384_SHA384_FIXED_SIGNING)?,
                Algorithm::Es512 => ec(algorithm, der, &ECDSA_P521_SHA512_FIXED_SIGNING)?,
                Algorithm::EdDsa | Algorithm::Ed25519 => {
                    Self::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(|_| rejected(algorithm))?)
                }
                Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                    return Err(misfit(algorithm));
                }
            })
        }

        pub(super) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
            let hash = match algorithm {
                Algorithm::Hs256 => hmac::HMAC_SHA256,
                Algorithm::Hs384 => hmac::HMAC_SHA384,
                Algorithm::Hs512 => hmac::HMAC_SHA512,
                other => return Err(misfit(other)),
            };
            Ok(Self::Hmac(Box::new(hmac::Key::new(hash, secret))))
        }

        pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            let random = SystemRandom::new();
            let failed = |_| SigningFailed;
            match self {
                Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
                Self::Rsa(key, encoding) => {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(*encoding, &random, message, &mut signature)
                        .map_err(failed)?;
                    Ok(signature)
                }
                Self::Ec(key) => {
                    let signature = key.sign(&random, message).map_err(failed)?;
                    Ok(signature.as_ref().to_vec())
                }
                Self::Ed25519(key) => {
                    let signature = key.try_sign(message).map_err(failed)?;
                    Ok(signature.as_ref().to_vec())
                }
            }
        }
    }

    fn rsa(
        algorithm: Algorithm,
        der: &[u8],
        encoding: &'static dyn RsaEncoding,
    ) -> Result<Signer, ConfigError> {
        let key = RsaKeyPair::from_pkcs8(der).map_err(|_| rejected(algorithm))?;
        Ok(Signer::Rsa(key, encoding))
    }

    fn ec(
        algorithm: Algorithm,
        der: &[u8],
        curve: &'static EcdsaSigningAlgorithm,
    ) -> Result<Signer, ConfigError> {
        let key = EcdsaKeyPair::from_pkcs8(curve, der).map_err(|_| rejected(algorithm))?;
        Ok(Signer::Ec(key))
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto {
    use jsonwebtoken::{
        Algorithm as Name, EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER, errors::Error,
    };

    use super::{SigningFailed, rejected};
    use crate::{
        error::ConfigError,
        key::{Algorithm, algorithm::Family, der},
    };

    pub(super) struct Signer {
        // jsonwebtoken's signers are not `Sync`, so each signature makes its own.
        key: EncodingKey,
        name: Name,
    }

    impl Signer {
        pub(super) fn from_pkcs8_der(
            algorithm: Algorithm,
            der: &[u8],
        ) -> Result<Self, ConfigError> {
            let name = name(algorithm)?;
            let rejected = || rejected(algorithm);
            let key = match algorithm.family() {
                Family::Rsa => {
                    EncodingKey::from_rsa_der(der::rsa_private_key(der).ok_or_else(rejected)?)
                }
                Family::Ed25519 => EncodingKey::from_ed_der(der),
                Family::Hmac | Family::Ec(_) => EncodingKey::from_ec_der(der),
            };
            let signer = Self { key, name };
            // An RSA key is parsed when it signs; an unusable one must be refused here.
            let probe = signer.sign(b"").map_err(|_| rejected())?;
            // RFC 7518 §3.3: 2048 bits or larger. A signature is as long as the modulus.
            if algorithm.family() == Family::Rsa && probe.len() < 256 {
                return Err(rejected());
            }
            Ok(signer)
        }

        pub(super) fn hmac(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
            Ok(Self {
                key: EncodingKey::from_secret(secret),
                name: name(algorithm)?,
            })
        }

        pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            (DEFAULT_PROVIDER.signer_factory)(&self.name, &self.key)
                .map_err(|_| SigningFailed)?
                .try_sign(message)
                .map_err(|_| SigningFailed)
        }
    }

    fn name(algorithm: Algorithm) -> Result<Name, ConfigError> {
        match algorithm {
            Algorithm::EdDsa | Algorithm::Ed25519 => Ok(Name::EdDSA),
            other => other.as_str().parse().map_err(|_: Error| {
                ConfigError::Algorithm(format!("{other} needs the feature `aws-lc-rs`").into())
            }),
        }
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::SigningFailed;
    use crate::{error::ConfigError, key::Algorithm};

    /// Nothing can sign in a build without cryptography.
    pub(super) enum Signer {}

    impl Signer {
        pub(super) fn from_pkcs8_der(_: Algorithm, _: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn hmac(_: Algorithm, _: &[u8]) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(super) fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> {
            match *self {}
        }
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;
    use crate::test_util::TestKeys;

    fn supported() -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| cfg!(feature = "aws-lc-rs") || *algorithm != Algorithm::Es512)
    }

    #[test]
    fn every_algorithm_signs_what_its_own_public_key_verifies() {
        for algorithm in supported() {
            let keys = TestKeys::new();
            let key = keys.signing_key(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(
                keys.verifying_key(algorithm)
                    .verifies(algorithm, b"message", &signature),
                "{algorithm}"
            );
            assert!(
                !TestKeys::other()
                    .verifying_key(algorithm)
                    .verifies(algorithm, b"message", &signature),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn d8_ecdsa_signatures_have_the_width_of_their_curve() {
        for (algorithm, width) in [
            (Algorithm::Es256, 64),
            (Algorithm::Es384, 96),
            (Algorithm::Es512, 132),
        ] {
            if supported().any(|supported| supported == algorithm) {
                let key = TestKeys::new().signing_key(algorithm).unwrap();
                assert_eq!(key.sign(b"message").unwrap().len(), width, "{algorithm}");
            }
        }
    }

    #[test]
    fn d6_a_key_of_another_family_is_refused() {
        let keys = TestKeys::new();
        for own in supported().filter(|algorithm| !algorithm.is_hmac()) {
            for other in supported().filter(|other| other.family() != own.family()) {
                assert!(
                    SigningKey::from_pkcs8_der(other, keys.private_pkcs8_der(own)).is_err(),
                    "a key for {own} was taken for {other}"
                );
            }
        }
        assert!(SigningKey::hmac(Algorithm::Rs256, &[7; 64]).is_err());
    }

    #[test]
    fn garbage_is_no_private_key() {
        let der = TestKeys::new().private_pkcs8_der(Algorithm::Rs256);
        for bad in [
            &b""[..],
            b"\x30",
            b"\x30\x83\xff\xff\xff\x02",
            &der[..der.len() - 1],
            &[der, b"\0"].concat(),
        ] {
            assert!(SigningKey::from_pkcs8_der(Algorithm::Rs256, bad).is_err());
        }
    }

    #[test]
    fn d12_a_short_secret_is_refused() {
        for (algorithm, bytes) in [
            (Algorithm::Hs256, 32),
            (Algorithm::Hs384, 48),
            (Algorithm::Hs512, 64),
        ] {
            assert!(SigningKey::hmac(algorithm, &vec![7; bytes]).is_ok());
            assert!(matches!(
                SigningKey::hmac(algorithm, &vec![7; bytes - 1]),
                Err(ConfigError::SecretTooShort { required, .. }) if required == bytes
            ));
        }
    }

    #[test]
    fn q3_debug_prints_no_key() {
        let key = SigningKey::hmac(Algorithm::Hs256, &[b'k'; 32])
            .unwrap()
            .with_kid("one");
        let text = format!("{key:?}");
        assert_eq!(
            text,
            r#"SigningKey { algorithm: Hs256, kid: Some("one"), .. }"#
        );
    }

    #[test]
    #[cfg(not(feature = "aws-lc-rs"))]
    fn es512_needs_aws_lc_rs() {
        let der = TestKeys::new().private_pkcs8_der(Algorithm::Es512);
        assert!(matches!(
            SigningKey::from_pkcs8_der(Algorithm::Es512, der),
            Err(ConfigError::Algorithm(_))
        ));
    }
}
