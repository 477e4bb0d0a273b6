//! Published keys that sign test tokens.

use serde_json::{Map, Value, json};

use crate::{
    error::ConfigError,
    key::{Algorithm, SigningKey, VerifyingKey},
};

/// A fixed key for every algorithm, published with this crate.
///
/// There are two sets, [`new`](Self::new) and [`other`](Self::other). A token of one never verifies
/// with the other. RSA and Ed25519 algorithms share their key, but each has a separate `kid`, so that a
/// key set can bind one key to one algorithm (RFC 8725 §3.1).
///
/// # Security
///
/// **Never for production**: the private keys are in the crate's source.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{key::{Algorithm, KeySet}, test_util::TestKeys};
///
/// let keys = TestKeys::new();
/// assert_eq!(keys.kid(Algorithm::Rs256), "first-rs256");
/// # #[cfg(feature = "aws-lc-rs")]
/// assert_eq!(KeySet::from_jwks(keys.jwks())?.len(), 10);
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TestKeys {
    set: &'static Set,
}

impl TestKeys {
    /// Returns the set with which a [`TestIssuer`](super::TestIssuer) signs.
    #[must_use]
    pub fn new() -> Self {
        Self { set: &FIRST }
    }

    /// Returns another set, for rotation and for keys that must not verify.
    #[must_use]
    pub fn other() -> Self {
        Self { set: &OTHER }
    }

    /// Returns the algorithm's `kid`: `first-rs256`, `other-eddsa`. `EdDSA` and `Ed25519` share one.
    #[must_use]
    pub fn kid(&self, algorithm: Algorithm) -> String {
        let name = match algorithm {
            Algorithm::Ed25519 => Algorithm::EdDsa,
            other => other,
        };
        format!("{}-{}", self.set.name, name.as_str().to_lowercase())
    }

    /// Returns a JWK Set (RFC 7517 §5) of the public keys: one per algorithm, bound to it by `alg`.
    ///
    /// Ed25519 occurs once, as `EdDSA`. Secrets are left out, because a published set never contains
    /// one.
    ///
    /// # Panics
    ///
    /// Never, because the keys are part of the crate.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| !algorithm.is_hmac() && *algorithm != Algorithm::Ed25519)
            .map(|algorithm| self.jwk_members(algorithm))
            .collect();
        json!({ "keys": keys }).to_string()
    }

    /// Returns the public key as a JWK (RFC 7517 §4) with `kid`, `alg` and `use`.
    ///
    /// # Panics
    ///
    /// For an HMAC algorithm, which has no public key.
    #[must_use]
    pub fn jwk(&self, algorithm: Algorithm) -> String {
        Value::Object(self.jwk_members(algorithm)).to_string()
    }

    /// Returns the public key as PEM, `SubjectPublicKeyInfo`.
    ///
    /// # Panics
    ///
    /// For an HMAC algorithm, which has no public key.
    #[must_use]
    pub fn public_pem(&self, algorithm: Algorithm) -> &'static str {
        self.pair(algorithm).public_pem
    }

    /// Returns the HMAC secret. It is as long as the algorithm's hash: 32, 48 or 64 bytes.
    ///
    /// # Panics
    ///
    /// If the algorithm is not an HMAC.
    #[must_use]
    pub fn secret(&self, algorithm: Algorithm) -> &'static [u8] {
        match algorithm {
            Algorithm::Hs256 => self.set.secrets.0,
            Algorithm::Hs384 => self.set.secrets.1,
            Algorithm::Hs512 => self.set.secrets.2,
            other => panic!("{other} has no secret"),
        }
    }

    /// Returns the key that verifies the algorithm's tokens. It is bound to the algorithm and, unless
    /// it is a secret, to tokens with its [`kid`](Self::kid).
    ///
    /// # Panics
    ///
    /// If the build lacks the cryptography for it.
    #[must_use]
    pub fn verifying_key(&self, algorithm: Algorithm) -> VerifyingKey {
        let key = if algorithm.is_hmac() {
            VerifyingKey::from_secret(algorithm, self.secret(algorithm))
        } else {
            // PEM needs a separate feature.
            VerifyingKey::from_jwk(self.jwk(algorithm))
        };
        key.expect("this build verifies with the algorithm")
    }

    pub(crate) fn signing_key(&self, algorithm: Algorithm) -> Result<SigningKey, ConfigError> {
        let key = if algorithm.is_hmac() {
            SigningKey::hmac(algorithm, self.secret(algorithm))
        } else {
            SigningKey::from_pkcs8_der(self.private_pkcs8_der(algorithm))
                .and_then(|key| key.with_algorithm(algorithm))
        };
        Ok(key?.with_kid(self.kid(algorithm)))
    }

    pub(crate) fn private_pkcs8_der(&self, algorithm: Algorithm) -> &'static [u8] {
        self.pair(algorithm).private_der
    }

    fn jwk_members(&self, algorithm: Algorithm) -> Map<String, Value> {
        let mut members: Map<String, Value> =
            serde_json::from_str(self.pair(algorithm).jwk).expect("the committed JWK is JSON");
        members.insert("kid".into(), self.kid(algorithm).into());
        members.insert("alg".into(), algorithm.as_str().into());
        members.insert("use".into(), "sig".into());
        members
    }

    fn pair(&self, algorithm: Algorithm) -> &'static Pair {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => &self.set.rsa,
            Algorithm::Es256 => &self.set.p256,
            Algorithm::Es384 => &self.set.p384,
            Algorithm::Es512 => &self.set.p521,
            Algorithm::EdDsa | Algorithm::Ed25519 => &self.set.ed25519,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                panic!("{algorithm} has no public key")
            }
        }
    }
}

impl Default for TestKeys {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Set {
    name: &'static str,
    rsa: Pair,
    p256: Pair,
    p384: Pair,
    p521: Pair,
    ed25519: Pair,
    secrets: (&'static [u8], &'static [u8], &'static [u8]),
}

struct Pair {
    private_der: &'static [u8],
    public_pem: &'static str,
    jwk: &'static str,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

macro_rules! pair {
    ($name:literal) => {
        Pair {
            private_der: include_bytes!(concat!("keys/", $name, ".test-only.pkcs8.der")),
            public_pem: include_str!(concat!("keys/", $name, ".test-only.public.pem")),
            jwk: include_str!(concat!("keys/", $name, ".test-only.public.jwk.json")),
        }
    };
}

static FIRST: Set = Set {
    name: "first",
    rsa: pair!("first/rsa2048"),
    p256: pair!("first/p256"),
    p384: pair!("first/p384"),
    p521: pair!("first/p521"),
    ed25519: pair!("first/ed25519"),
    secrets: (
        b"first test secret, never in use.",
        b"first test secret, never to be used in a server.",
        b"first test secret, known to everybody, never to be put to use...",
    ),
};

static OTHER: Set = Set {
    name: "other",
    rsa: pair!("other/rsa2048"),
    p256: pair!("other/p256"),
    p384: pair!("other/p384"),
    p521: pair!("other/p521"),
    ed25519: pair!("other/ed25519"),
    secrets: (
        b"other test secret, never in use.",
        b"other test secret, never to be used in a server.",
        b"other test secret, known to everybody, never to be put to use...",
    ),
};
