//! Keys that aws-lc-rs parses once and signs with.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
        KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};

#[cfg(feature = "server")]
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
#[cfg(feature = "server")]
use zeroize::Zeroizing;

use super::{PublicKey, SigningFailed, misfit, not_generated, rejected};
use crate::{
    error::ConfigError,
    key::{Algorithm, der},
};

pub(super) enum Signer {
    // Boxed: its two prepared hash states take more than 1 KiB.
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let failed = |_| not_generated(algorithm);
        Ok(match kind(algorithm)? {
            Kind::Rsa(encoding) => Self::Rsa(
                RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?,
                encoding,
            ),
            Kind::Ec(curve) => Self::Ec(EcdsaKeyPair::generate(curve).map_err(failed)?),
            Kind::Ed25519 => Self::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        })
    }

    pub(super) fn from_pkcs8_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, ConfigError> {
        let failed = |_| rejected(algorithm);
        Ok(match kind(algorithm)? {
            Kind::Rsa(encoding) => {
                Self::Rsa(RsaKeyPair::from_pkcs8(der).map_err(failed)?, encoding)
            }
            Kind::Ec(curve) => Self::Ec(EcdsaKeyPair::from_pkcs8(curve, der).map_err(failed)?),
            Kind::Ed25519 => Self::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(failed)?),
        })
    }

    /// Returns the same key for another algorithm of its family.
    pub(super) fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        Ok(match (self, kind(algorithm)?) {
            (Self::Rsa(key, _), Kind::Rsa(encoding)) => Self::Rsa(key, encoding),
            (Self::Ed25519(key), Kind::Ed25519) => Self::Ed25519(key),
            _ => return Err(misfit(algorithm)),
        })
    }

    pub(super) fn public(&self, algorithm: Algorithm) -> Result<PublicKey, ConfigError> {
        Ok(match self {
            Self::Hmac(_) => return Err(misfit(algorithm)),
            Self::Rsa(key, _) => {
                let (n, e) = der::rsa_public_key(key.public_key().as_ref())
                    .ok_or_else(|| rejected(algorithm))?;
                PublicKey::Rsa {
                    n: n.to_vec(),
                    e: e.to_vec(),
                }
            }
            Self::Ec(key) => PublicKey::Ec(key.public_key().as_ref().to_vec()),
            Self::Ed25519(key) => PublicKey::Ed25519(key.public_key().as_ref().to_vec()),
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

    /// Returns the private key in PKCS#8 DER; `None` for a secret.
    #[cfg(feature = "server")]
    pub(super) fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let copy = |der: &[u8]| Zeroizing::new(der.to_vec());
        Some(match self {
            Self::Hmac(_) => return None,
            Self::Rsa(key, _) => {
                let der: Pkcs8V1Der<'_> = key.as_der().ok()?;
                copy(der.as_ref())
            }
            Self::Ec(key) => copy(key.to_pkcs8v1().ok()?.as_ref()),
            Self::Ed25519(key) => copy(key.to_pkcs8v1().ok()?.as_ref()),
        })
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

enum Kind {
    Rsa(&'static dyn RsaEncoding),
    Ec(&'static EcdsaSigningAlgorithm),
    Ed25519,
}

fn kind(algorithm: Algorithm) -> Result<Kind, ConfigError> {
    Ok(match algorithm {
        Algorithm::Rs256 => Kind::Rsa(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Kind::Rsa(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Kind::Rsa(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Kind::Rsa(&RSA_PSS_SHA256),
        Algorithm::Ps384 => Kind::Rsa(&RSA_PSS_SHA384),
        Algorithm::Ps512 => Kind::Rsa(&RSA_PSS_SHA512),
        Algorithm::Es256 => Kind::Ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Kind::Ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => Kind::Ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
        Algorithm::EdDsa | Algorithm::Ed25519 => Kind::Ed25519,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return Err(misfit(algorithm)),
    })
}
