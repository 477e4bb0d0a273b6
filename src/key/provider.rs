//! The cryptographic libraries: aws-lc-rs if it is enabled, otherwise jsonwebtoken's pure-Rust
//! provider, which is selected explicitly. The process-global provider is not used, because it
//! panics in the application if both features of jsonwebtoken are enabled.

#[cfg(feature = "aws-lc-rs")]
pub(crate) use self::aws_lc::PreparedKey;
#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
pub(crate) use self::missing::PreparedKey;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub(crate) use self::rust_crypto::PreparedKey;

/// The parts of a key, before it is prepared for an algorithm.
pub(crate) enum Material<'a> {
    Secret(&'a [u8]),
    /// Modulus and exponent, big endian, without leading zeros.
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
    /// An uncompressed point (SEC 1 §2.3.3): `04 || x || y`.
    Ec(&'a [u8]),
    /// 32 bytes (RFC 8032 §5.1.5).
    Ed25519(&'a [u8]),
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::{
        hmac,
        rsa::PublicKeyComponents,
        signature::{
            ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
            ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
            RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
            RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
        },
    };

    use super::Material;
    use crate::{error::ConfigError, key::Algorithm};

    /// A key prepared for one algorithm.
    pub(crate) enum PreparedKey {
        Secret(Box<hmac::Key>),
        Public(ParsedPublicKey),
    }

    impl PreparedKey {
        pub(crate) fn new(
            algorithm: Algorithm,
            material: &Material<'_>,
        ) -> Result<Self, ConfigError> {
            let rejected = |_| ConfigError::Key("the public key is not valid".into());
            Ok(match *material {
                Material::Secret(secret) => {
                    Self::Secret(Box::new(hmac::Key::new(mac(algorithm)?, secret)))
                }
                Material::Rsa { n, e } => Self::Public(
                    PublicKeyComponents { n, e }
                        .to_parsed_public_key(rsa(algorithm)?)
                        .map_err(rejected)?,
                ),
                Material::Ec(point) => {
                    Self::Public(ParsedPublicKey::new(curve(algorithm)?, point).map_err(rejected)?)
                }
                Material::Ed25519(bytes) => {
                    Self::Public(ParsedPublicKey::new(&ED25519, bytes).map_err(rejected)?)
                }
            })
        }

        /// Returns `true` if `signature` is a signature of `message` by this key. MACs are compared
        /// in constant time.
        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            match self {
                Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
                Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            }
        }
    }

    fn mac(algorithm: Algorithm) -> Result<hmac::Algorithm, ConfigError> {
        Ok(match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            other => return Err(misfit(other)),
        })
    }

    fn rsa(algorithm: Algorithm) -> Result<&'static RsaParameters, ConfigError> {
        Ok(match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            other => return Err(misfit(other)),
        })
    }

    fn curve(algorithm: Algorithm) -> Result<&'static dyn VerificationAlgorithm, ConfigError> {
        Ok(match algorithm {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED,
            other => return Err(misfit(other)),
        })
    }

    fn misfit(algorithm: Algorithm) -> ConfigError {
        ConfigError::Key(format!("the key cannot be used with {algorithm}").into())
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto {
    use jsonwebtoken::{
        Algorithm as Name, DecodingKey,
        crypto::{JwtVerifier, rust_crypto::DEFAULT_PROVIDER},
    };

    use super::Material;
    use crate::{error::ConfigError, key::Algorithm};

    /// A key prepared for one algorithm.
    pub(crate) struct PreparedKey {
        // The verifiers of jsonwebtoken are trait objects without `Sync`, so each call creates one
        // from the prepared key.
        key: DecodingKey,
        algorithm: Name,
    }

    impl PreparedKey {
        pub(crate) fn new(
            algorithm: Algorithm,
            material: &Material<'_>,
        ) -> Result<Self, ConfigError> {
            let key = match *material {
                Material::Secret(secret) => DecodingKey::from_secret(secret),
                Material::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
                Material::Ec(point) => DecodingKey::from_ec_der(point),
                Material::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
            };
            let prepared = Self {
                key,
                algorithm: name(algorithm)?,
            };
            // Some verifiers parse the key when they are created, others at the first signature.
            prepared
                .verifier()
                .ok_or_else(|| ConfigError::Key("the public key is not valid".into()))?;
            Ok(prepared)
        }

        fn verifier(&self) -> Option<Box<dyn JwtVerifier>> {
            (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key).ok()
        }

        /// Returns `true` if `signature` is a signature of `message` by this key. MACs are compared
        /// in constant time.
        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            self.verifier()
                .is_some_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
        }
    }

    pub(crate) fn name(algorithm: Algorithm) -> Result<Name, ConfigError> {
        Ok(match algorithm {
            Algorithm::Hs256 => Name::HS256,
            Algorithm::Hs384 => Name::HS384,
            Algorithm::Hs512 => Name::HS512,
            Algorithm::Rs256 => Name::RS256,
            Algorithm::Rs384 => Name::RS384,
            Algorithm::Rs512 => Name::RS512,
            Algorithm::Ps256 => Name::PS256,
            Algorithm::Ps384 => Name::PS384,
            Algorithm::Ps512 => Name::PS512,
            Algorithm::Es256 => Name::ES256,
            Algorithm::Es384 => Name::ES384,
            Algorithm::Es512 => {
                return Err(ConfigError::Algorithm(
                    "ES512 needs the feature `aws-lc-rs`".into(),
                ));
            }
            Algorithm::EdDsa | Algorithm::Ed25519 => Name::EdDSA,
        })
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod missing {
    use super::Material;
    use crate::{error::ConfigError, key::Algorithm};

    /// A build without cryptography cannot prepare keys.
    pub(crate) enum PreparedKey {}

    impl PreparedKey {
        pub(crate) fn new(_: Algorithm, _: &Material<'_>) -> Result<Self, ConfigError> {
            Err(ConfigError::NoCrypto)
        }

        pub(crate) fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}
