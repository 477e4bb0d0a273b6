//! Public keys that a message contains, such as the proof of RFC 9449 §4.2. Any client can write one, so
//! the rules are stricter than for configured keys.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, VerifyingKey,
    algorithm::Family,
    hash::{is_equal, sha256},
    provider::Material,
    verifying::Kid,
};
use crate::{
    error::ConfigError,
    key::algorithm::Curve::{P256, P384, P521},
};

/// The members that define a public key (RFC 7518 §6, RFC 8037 §2), as the message contains them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicMembers<'a> {
    pub(crate) kty: Option<Cow<'a, str>>,
    pub(crate) crv: Option<Cow<'a, str>>,
    pub(crate) n: Option<Cow<'a, str>>,
    pub(crate) e: Option<Cow<'a, str>>,
    pub(crate) x: Option<Cow<'a, str>>,
    pub(crate) y: Option<Cow<'a, str>>,
}

/// A public key whose members have the right form. No point and no number is computed yet.
#[derive(Debug)]
pub(crate) struct PresentedKey<'a> {
    family: Family,
    /// The members in the order of RFC 7638 §3.2, for the thumbprint.
    members: Members<'a>,
}

#[derive(Debug)]
enum Members<'a> {
    Rsa { e: Cow<'a, str>, n: Cow<'a, str> },
    Ec { x: Cow<'a, str>, y: Cow<'a, str> },
    Okp { x: Cow<'a, str> },
}

/// The SHA-256 thumbprint of a public key (RFC 7638).
pub(crate) type Thumbprint = [u8; 32];

impl<'a> PublicMembers<'a> {
    /// Returns the key, or `None` if its kind is unknown or a member is missing or has the wrong form.
    pub(crate) fn into_key(self) -> Option<PresentedKey<'a>> {
        let sized = |member: Option<Cow<'a, str>>, characters: usize| {
            member.filter(|text| text.len() == characters && is_base64url(text))
        };
        let (family, members) = match (self.kty.as_deref()?, self.crv.as_deref()) {
            ("RSA", _) => {
                let n = self
                    .n
                    .filter(|n| MODULUS.contains(&n.len()) && is_base64url(n))?;
                let e = self.e.filter(|e| EXPONENTS.contains(&e.as_ref()))?;
                (Family::Rsa, Members::Rsa { e, n })
            }
            // RFC 7518 §6.2.1.2: a coordinate has the full size, including leading zeros.
            ("EC", Some(curve)) => {
                let (curve, characters) = match curve {
                    "P-256" => (P256, 43),
                    "P-384" => (P384, 64),
                    "P-521" => (P521, 88),
                    _ => return None,
                };
                let x = sized(self.x, characters)?;
                let y = sized(self.y, characters)?;
                (Family::Ec(curve), Members::Ec { x, y })
            }
            ("OKP", Some("Ed25519")) => {
                let x = sized(self.x, 43)?;
                (Family::Ed25519, Members::Okp { x })
            }
            _ => return None,
        };
        Some(PresentedKey { family, members })
    }
}

impl PresentedKey<'_> {
    /// Returns `true` if the algorithm is for this kind of key.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.family() == self.family
    }

    /// Returns the thumbprint: the hash of exactly the members that define the key, in the order of
    /// RFC 7638 §3.2. Other members of the JWK do not change it.
    pub(crate) fn thumbprint(&self) -> Result<Thumbprint, ConfigError> {
        match &self.members {
            // All values are base64url, so that JSON escapes nothing.
            Members::Rsa { e, n } => sha256(&[
                br#"{"e":""#,
                e.as_bytes(),
                br#"","kty":"RSA","n":""#,
                n.as_bytes(),
                br#""}"#,
            ]),
            Members::Ec { x, y } => sha256(&[
                br#"{"crv":""#,
                match self.family {
                    Family::Ec(P384) => b"P-384",
                    Family::Ec(P521) => b"P-521",
                    _ => b"P-256",
                },
                br#"","kty":"EC","x":""#,
                x.as_bytes(),
                br#"","y":""#,
                y.as_bytes(),
                br#""}"#,
            ]),
            Members::Okp { x } => sha256(&[
                br#"{"crv":"Ed25519","kty":"OKP","x":""#,
                x.as_bytes(),
                br#""}"#,
            ]),
        }
    }

    /// Prepares the key for an algorithm. A point that is not on its curve is refused here.
    pub(crate) fn prepare(&self, algorithm: Algorithm) -> Result<VerifyingKey, ConfigError> {
        let decoded = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text);
            bytes.map_err(|_| ConfigError::Key("a member is not base64url".into()))
        };
        let prepare =
            |material: &Material<'_>| VerifyingKey::prepare(Kid::Any, Some(algorithm), material);
        match &self.members {
            Members::Rsa { e, n } => {
                let (e, n) = (decoded(e)?, decoded(n)?);
                // RFC 7518 §6.3.1.1: no leading zeros. Two spellings of one key would have two
                // thumbprints.
                if n.first() == Some(&0) || n.len() > MAX_RSA_BYTES {
                    return Err(ConfigError::Key("the RSA modulus has another size".into()));
                }
                prepare(&Material::Rsa { n: &n, e: &e })
            }
            Members::Ec { x, y } => {
                let point = [&[4], decoded(x)?.as_slice(), decoded(y)?.as_slice()].concat();
                prepare(&Material::Ec(&point))
            }
            Members::Okp { x } => prepare(&Material::Ed25519(&decoded(x)?)),
        }
    }
}

/// Returns the SHA-256 hash of a token, of a certificate or of an identifier.
pub(crate) fn sha256_of(parts: &[&[u8]]) -> Result<[u8; 32], ConfigError> {
    sha256(parts)
}

/// Compares two SHA-256 hashes in constant time.
pub(crate) fn is_same_hash(one: &[u8; 32], other: &[u8; 32]) -> bool {
    is_equal(one, other)
}

fn is_base64url(text: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_');
    text.bytes().fold(true, |all, byte| all & in_alphabet(byte))
}

/// The exponents 65537 and 3. Others only make a verification slower.
const EXPONENTS: [&str; 2] = ["AQAB", "Aw"];
/// The characters of a modulus of 2048 to 4096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 342..=683;
const MAX_RSA_BYTES: usize = 512;

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    fn key(members: &'static [(&'static str, &'static str)]) -> Option<PresentedKey<'static>> {
        let of = |name| {
            let found = members.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| Cow::Borrowed(*value))
        };
        let members = PublicMembers {
            kty: of("kty"),
            crv: of("crv"),
            n: of("n"),
            e: of("e"),
            x: of("x"),
            y: of("y"),
        };
        members.into_key()
    }

    fn thumbprint(members: &'static [(&'static str, &'static str)]) -> String {
        URL_SAFE_NO_PAD.encode(key(members).unwrap().thumbprint().unwrap())
    }

    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    #[test]
    fn g29_the_thumbprint_is_that_of_rfc_7638_and_rfc_8037() {
        assert_eq!(
            thumbprint(&[("kty", "RSA"), ("n", N), ("e", "AQAB")]),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(
            thumbprint(&[
                ("kty", "OKP"),
                ("crv", "Ed25519"),
                ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            ]),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        // RFC 9449 §4.1 and §6.1.
        assert_eq!(
            thumbprint(&[
                ("kty", "EC"),
                ("crv", "P-256"),
                ("x", "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
                ("y", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
            ]),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
    }

    #[test]
    fn g35_keys_of_another_size_or_exponent_are_no_keys() {
        assert!(key(&[("kty", "RSA"), ("n", N), ("e", "Aw")]).is_some());
        for members in [
            &[("kty", "RSA"), ("n", N), ("e", "AQ")][..],
            &[("kty", "RSA"), ("n", N), ("e", "AAEAAQ")],
            &[("kty", "RSA"), ("n", "0vx7"), ("e", "AQAB")],
            &[("kty", "RSA"), ("n", N)],
            &[("kty", "oct"), ("x", N)],
            &[("kty", "EC"), ("crv", "P-256"), ("x", "AA"), ("y", "AA")],
            &[("kty", "EC"), ("crv", "secp256k1")],
            &[("kty", "OKP"), ("crv", "Ed448"), ("x", "AA")],
            &[("crv", "Ed25519")],
        ] {
            assert!(key(members).is_none(), "{members:?}");
        }
    }

    #[test]
    fn g7_a_point_that_is_not_on_its_curve_is_refused() {
        let off = key(&[
            ("kty", "EC"),
            ("crv", "P-256"),
            ("x", "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
            ("y", "AVE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
        ]);
        let off = off.unwrap();
        assert!(off.fits(Algorithm::Es256) && !off.fits(Algorithm::Es384));
        // RustCrypto looks at the point with the first signature.
        #[cfg(feature = "aws-lc-rs")]
        assert!(off.prepare(Algorithm::Es256).is_err());
        // A coordinate with bits after its end has two spellings.
        let stray = key(&[
            ("kty", "OKP"),
            ("crv", "Ed25519"),
            ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"),
        ]);
        assert!(stray.unwrap().prepare(Algorithm::EdDsa).is_err());
    }
}
