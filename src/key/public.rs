//! The public half of a key pair, in the form in which it is published.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{hash::sha256, provider::Material};
use crate::error::ConfigError;

/// The numbers of a public key.
#[cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "rust-crypto")),
    expect(dead_code, reason = "nothing signs in a build without cryptography")
)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point (SEC 1 §2.3.3): `04 || x || y`.
    Ec(Vec<u8>),
    /// 32 bytes (RFC 8032 §5.1.5).
    Ed25519(Vec<u8>),
}

impl PublicKey {
    pub(crate) fn material(&self) -> Material<'_> {
        match self {
            Self::Rsa { n, e } => Material::Rsa { n, e },
            Self::Ec(point) => Material::Ec(point),
            Self::Ed25519(bytes) => Material::Ed25519(bytes),
        }
    }

    /// Returns the members that define the key (RFC 7518 §6, RFC 8037 §2), sorted by name.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut set = |name: &str, value: &str| {
            members.insert(name.to_owned(), value.into());
        };
        match self {
            Self::Rsa { n, e } => {
                set("e", &URL_SAFE_NO_PAD.encode(e));
                set("kty", "RSA");
                set("n", &URL_SAFE_NO_PAD.encode(n));
            }
            Self::Ec(point) => {
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates
                    .split_at_checked(coordinates.len() / 2)
                    .unwrap_or_default();
                set(
                    "crv",
                    match x.len() {
                        48 => "P-384",
                        66 => "P-521",
                        _ => "P-256",
                    },
                );
                set("kty", "EC");
                set("x", &URL_SAFE_NO_PAD.encode(x));
                set("y", &URL_SAFE_NO_PAD.encode(y));
            }
            Self::Ed25519(bytes) => {
                set("crv", "Ed25519");
                set("kty", "OKP");
                set("x", &URL_SAFE_NO_PAD.encode(bytes));
            }
        }
        members
    }

    /// Returns the RFC 7638 §3 thumbprint with SHA-256: the hash of exactly these members, in this
    /// order, without spaces.
    pub(crate) fn thumbprint(&self) -> Result<String, ConfigError> {
        let json = Value::Object(self.members()).to_string();
        Ok(URL_SAFE_NO_PAD.encode(sha256(&[json.as_bytes()])?))
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    #[test]
    fn s4_the_thumbprint_is_that_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::Rsa {
            n: URL_SAFE_NO_PAD.decode(n).unwrap(),
            e: vec![1, 0, 1],
        };
        assert_eq!(
            key.thumbprint().unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn s4_the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = PublicKey::Ed25519(URL_SAFE_NO_PAD.decode(x).unwrap());
        assert_eq!(
            key.thumbprint().unwrap(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }
}
