//! The signature algorithms: [RFC 7518 §3.1](https://www.rfc-editor.org/rfc/rfc7518#section-3.1),
//! RFC 8037 and RFC 9864.

use std::{fmt, str::FromStr};

use crate::error::ConfigError;

/// A JWS signature algorithm.
///
/// `none` does not exist here. Names are case-sensitive (RFC 7515 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512. Requires the feature `aws-lc-rs`.
    Es512,
    /// EdDSA (RFC 8037). Only Ed25519 keys are supported, so this is the same as
    /// [`Ed25519`](Self::Ed25519).
    EdDsa,
    /// EdDSA on Ed25519, by its fully specified name (RFC 9864).
    Ed25519,
}

/// The kinds of key, each of which serves one or more algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Hmac,
    Rsa,
    Ec(Curve),
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 14] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// Returns the name that a token's header contains.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Returns `true` if the algorithm is a MAC, so that the verifier and the issuer share a
    /// secret.
    #[must_use]
    pub fn is_hmac(self) -> bool {
        self.family() == Family::Hmac
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name.as_bytes() {
            b"HS256" => Self::Hs256,
            b"HS384" => Self::Hs384,
            b"HS512" => Self::Hs512,
            b"RS256" => Self::Rs256,
            b"RS384" => Self::Rs384,
            b"RS512" => Self::Rs512,
            b"PS256" => Self::Ps256,
            b"PS384" => Self::Ps384,
            b"PS512" => Self::Ps512,
            b"ES256" => Self::Es256,
            b"ES384" => Self::Es384,
            b"ES512" => Self::Es512,
            b"EdDSA" => Self::EdDsa,
            b"Ed25519" => Self::Ed25519,
            _ => return None,
        })
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hmac,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Family::Rsa
            }
            Self::Es256 => Family::Ec(Curve::P256),
            Self::Es384 => Family::Ec(Curve::P384),
            Self::Es512 => Family::Ec(Curve::P521),
            Self::EdDsa | Self::Ed25519 => Family::Ed25519,
        }
    }

    /// Returns one name for equivalent algorithms: RFC 9864 renames `EdDSA` on Ed25519.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::EdDsa => Self::Ed25519,
            other => other,
        }
    }

    /// Returns the minimum length of a secret, which is the size of the hash (RFC 7518 §3.2).
    pub(crate) fn secret_bytes(self) -> usize {
        match self {
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 32,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = ConfigError;

    /// Parses the name of an algorithm, as in a token's header.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Algorithm`] if the name is unknown, or is `none` in upper or lower case (RFC
    /// 8725 §3.2).
    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Self::from_name(name).ok_or_else(|| {
            ConfigError::Algorithm(if name.eq_ignore_ascii_case("none") {
                "`none` is never accepted: it is not a signature algorithm".into()
            } else {
                format!("`{}`", name.escape_default()).into()
            })
        })
    }
}
