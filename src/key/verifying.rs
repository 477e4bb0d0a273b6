//! A single verifying key.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{
    Algorithm,
    algorithm::{Curve, Family},
    der,
    hash::sha256,
    jwk,
    provider::{Material, PreparedKey},
    thumbprint::Thumbprints,
    without_byte_order_mark,
};
use crate::error::ConfigError;

/// A key that verifies signatures. It is prepared once, when it is loaded. `from_pem` and `from_der`
/// need the feature `pem`, which is on by default.
///
/// Each key verifies one algorithm (RFC 8725 §3.1). A secret, a JWK with `alg` and a key with
/// [`with_algorithm`](Self::with_algorithm) are bound to that algorithm. Other keys verify those
/// algorithms of their kind that the verifier lists. Without a list, an RSA key verifies RS256, and
/// an EC or Ed25519 key the algorithm of its curve.
///
/// # Security
///
/// Keys are typed: a public key never verifies a MAC, whatever the token's header contains.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Kid,
    family: Family,
    declared: Option<Algorithm>,
    prepared: Arc<[(Algorithm, PreparedKey)]>,
    /// A digest of the key material, to detect duplicate keys.
    material: [u8; 32],
    thumbprints: Thumbprints,
}

/// The rule for the `kid` of the tokens that a key verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kid {
    /// Tokens with any `kid`, for a key loaded without one from a secret or a file.
    Any,
    /// Tokens without `kid`, for a JWK without `kid`.
    Nameless,
    /// Tokens with exactly this `kid`.
    Named(Box<str>),
}

impl VerifyingKey {
    /// Creates an HMAC key from a secret of random bytes.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::SecretTooShort`] if the secret is shorter than the hash (RFC 7518 §3.2): 32
    ///   bytes for HS256, 48 for HS384, 64 for HS512.
    /// - [`ConfigError::SecretIsAKey`] if the bytes are a PEM, JWK, DER or SSH key. With a *public*
    ///   key as the secret, anyone who has that key could sign tokens.
    /// - [`ConfigError::Algorithm`] if the algorithm is not an HMAC.
    pub fn from_secret(
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        if !algorithm.is_hmac() {
            return Err(ConfigError::Algorithm(
                format!("{algorithm} does not work with a secret").into(),
            ));
        }
        Self::secret(Kid::Any, Some(algorithm), secret.as_ref())
    }

    pub(crate) fn secret(
        kid: Kid,
        declared: Option<Algorithm>,
        secret: &[u8],
    ) -> Result<Self, ConfigError> {
        if let Some(kind) = kind_of_key(secret) {
            return Err(ConfigError::SecretIsAKey(kind));
        }
        let algorithm = declared.unwrap_or(Algorithm::Hs256);
        if secret.len() < algorithm.secret_bytes() {
            return Err(ConfigError::SecretTooShort {
                algorithm: algorithm.as_str(),
                required: algorithm.secret_bytes(),
                actual: secret.len(),
            });
        }
        Self::prepare(kid, declared, &Material::Secret(secret))
    }

    /// Parses a PEM with a single public key: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// Only the key and the thumbprint of a certificate are used. Its dates and its signature are
    /// not checked. A chain of issuers may follow the certificate.
    ///
    /// An RSA key that its certificate or PEM limits to RSASSA-PSS verifies only PS256, PS384 and
    /// PS512, or the one of them that its parameters name (RFC 4055 §3.1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] for a private key, an unknown kind of key, an RSA key with fewer than
    /// 2048 or more than 8192 bits, or a point that is not on its curve. The same error for more
    /// than one key; use [`KeySet::from_pem`](super::KeySet::from_pem) for several.
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let mut keys = super::pem::read(pem.as_ref())?.into_iter();
        match keys.next() {
            Some(first) if keys.all(|other| other.is_same(&first)) => Ok(first),
            _ => Err(ConfigError::Key(
                "more than one public key in the PEM; use `KeySet::from_pem`".into(),
            )),
        }
    }

    /// Parses a public key in DER: `SubjectPublicKeyInfo` (RFC 5280 §4.1) or `RSAPublicKey` (RFC
    /// 8017 appendix A.1.1).
    ///
    /// # Errors
    ///
    /// The errors of [`from_pem`](Self::from_pem).
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        super::pem::read_der(der.as_ref())
    }

    /// Parses a JWK (RFC 7517 §4) in JSON.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`] if the key is not for verifying (`use`, `key_ops`), has an unknown or
    ///   mismatched `alg`, `kty` or `crv`, has an invalid coordinate, or is an RSA key with fewer
    ///   than 2048 or more than 8192 bits.
    /// - [`ConfigError::SecretTooShort`] for a short `oct` key.
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        jwk::Jwk::parse(json.as_ref())?.into_key()
    }

    /// Binds the key to an algorithm.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the key is not for this algorithm, or is already bound to another
    /// one.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let algorithm = algorithm.canonical();
        if !self.algorithms().any(|own| own == algorithm) {
            return Err(ConfigError::Key(
                format!("the key cannot be used with {algorithm}").into(),
            ));
        }
        self.declared = Some(algorithm);
        Ok(self)
    }

    /// Binds the key to tokens with exactly this `kid`.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<Box<str>>) -> Self {
        self.kid = Kid::Named(kid.into());
        self
    }

    /// Returns the `kid` to which the key is bound.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        match &self.kid {
            Kid::Named(kid) => Some(kid),
            Kid::Any | Kid::Nameless => None,
        }
    }

    pub(crate) fn kid_rule(&self) -> &Kid {
        &self.kid
    }

    pub(crate) fn thumbprints(&self) -> &Thumbprints {
        &self.thumbprints
    }

    pub(crate) fn with_thumbprints(mut self, thumbprints: Thumbprints) -> Self {
        self.thumbprints.add(thumbprints);
        self
    }

    /// Returns `true` if both have the same key material, whatever their other members are.
    pub(crate) fn has_material_of(&self, other: &Self) -> bool {
        self.family == other.family && self.material == other.material
    }

    /// Returns `true` if both entries of a set are the same key for the same tokens.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let one_algorithm = match (self.declared, other.declared) {
            (Some(one), Some(other)) => one == other,
            (Some(one), None) => other.algorithms().any(|own| own == one),
            (None, Some(one)) => self.algorithms().any(|own| own == one),
            (None, None) => self.algorithms().eq(other.algorithms()),
        };
        self.kid == other.kid && one_algorithm && self.has_material_of(other)
    }

    /// Merges another entry for the same key into this one. A stated algorithm binds the key.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.declared.is_none() && other.declared.is_some() {
            self.declared = other.declared;
            self.prepared = other.prepared;
        }
        self.thumbprints.add(other.thumbprints);
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.family == Family::Hmac
    }

    /// Returns the algorithms that the key can verify, independent of the verifier's list.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.prepared
            .iter()
            .map(|(algorithm, _)| *algorithm)
            .filter(|algorithm| self.declared.is_none_or(|declared| declared == *algorithm))
    }

    /// Returns `true` if the key may verify a token with this algorithm. `listed` means that the
    /// verifier lists algorithms.
    pub(crate) fn serves(&self, algorithm: Algorithm, listed: bool) -> bool {
        let algorithm = algorithm.canonical();
        match self.declared {
            Some(declared) => declared == algorithm,
            None if listed => self.algorithms().any(|own| own == algorithm),
            None => self.usual_algorithm() == algorithm,
        }
    }

    /// Returns the algorithm that the key verifies with a verifier that does not list algorithms.
    pub(crate) fn default_algorithm(&self) -> Algorithm {
        self.declared.unwrap_or_else(|| self.usual_algorithm())
    }

    /// Returns the default algorithm of the family, unless the key is limited to others.
    fn usual_algorithm(&self) -> Algorithm {
        let usual = self.family.default_algorithm();
        let mut own = self.prepared.iter().map(|(algorithm, _)| *algorithm);
        match own.next() {
            Some(first) if first != usual && own.all(|other| other != usual) => first,
            _ => usual,
        }
    }

    #[cfg(feature = "pem")]
    pub(crate) fn of_family(self, family: Family) -> Result<Self, ConfigError> {
        if self.family != family {
            return Err(ConfigError::Key("the key is not on its curve".into()));
        }
        Ok(self)
    }

    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = algorithm.canonical();
        self.prepared
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, key)| key.verifies(message, signature))
    }

    pub(crate) fn prepare(
        kid: Kid,
        declared: Option<Algorithm>,
        material: &Material<'_>,
    ) -> Result<Self, ConfigError> {
        Self::prepare_for(kid, declared, material, |_| true)
    }

    /// Prepares a key for the algorithms for which `fits` returns `true`.
    pub(crate) fn prepare_for(
        kid: Kid,
        declared: Option<Algorithm>,
        material: &Material<'_>,
        fits: impl Fn(Algorithm) -> bool,
    ) -> Result<Self, ConfigError> {
        let family = check(material)?;
        let declared = declared.map(Algorithm::canonical);
        if declared.is_some_and(|algorithm| algorithm.family() != family) {
            return Err(ConfigError::Key(
                "`alg` does not match the kind of key".into(),
            ));
        }
        let prepared = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| algorithm.canonical() == *algorithm)
            .filter(|algorithm| algorithm.family() == family && fits(*algorithm))
            .filter(|algorithm| declared.is_none_or(|declared| declared == *algorithm))
            .filter(|algorithm| match *material {
                Material::Secret(secret) => secret.len() >= algorithm.secret_bytes(),
                _ => true,
            })
            .map(|algorithm| Ok((algorithm, PreparedKey::new(algorithm, material)?)))
            .collect::<Result<Arc<[_]>, ConfigError>>()?;
        Ok(Self {
            kid,
            family,
            declared,
            prepared,
            material: digest(material)?,
            thumbprints: Thumbprints::default(),
        })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Family {
    fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Hmac => Algorithm::Hs256,
            Self::Rsa => Algorithm::Rs256,
            Self::Ec(Curve::P256) => Algorithm::Es256,
            Self::Ec(Curve::P384) => Algorithm::Es384,
            Self::Ec(Curve::P521) => Algorithm::Es512,
            Self::Ed25519 => Algorithm::Ed25519,
        }
    }
}

/// Checks the properties that no cryptographic library checks when it loads a key.
fn check(material: &Material<'_>) -> Result<Family, ConfigError> {
    let refuse = |why: &'static str| Err(ConfigError::Key(why.into()));
    match *material {
        Material::Secret(_) => Ok(Family::Hmac),
        Material::Rsa { n, e } => {
            // RFC 7518 §3.3: 2048 bits or more. The upper bound limits the cost of a verification.
            match bits(n) {
                2048..=8192 => {}
                0..2048 => return refuse("the RSA key has fewer than 2048 bits (RFC 7518 §3.3)"),
                _ => return refuse("the RSA key has more than 8192 bits"),
            }
            let odd = e.last().is_some_and(|last| last & 1 == 1);
            if !odd || bits(e) < 2 || bits(e) > 33 {
                return refuse("the RSA exponent is not an odd number between 3 and 2^33");
            }
            Ok(Family::Rsa)
        }
        Material::Ec(point) => match (point.first(), point.len()) {
            (Some(4), 65) => Ok(Family::Ec(Curve::P256)),
            (Some(4), 97) => Ok(Family::Ec(Curve::P384)),
            (Some(4), 133) => Ok(Family::Ec(Curve::P521)),
            _ => refuse("not an uncompressed point on P-256, P-384 or P-521"),
        },
        Material::Ed25519(bytes) => match <[u8; 32]>::try_from(bytes) {
            Ok(key) if has_small_order(key) => refuse("the Ed25519 key is a point of small order"),
            Ok(_) => Ok(Family::Ed25519),
            Err(_) => refuse("an Ed25519 public key has 32 bytes"),
        },
    }
}

/// Returns a digest of the key material, including the kind of key.
fn digest(material: &Material<'_>) -> Result<[u8; 32], ConfigError> {
    match *material {
        Material::Rsa { n, e } => sha256(&[&n.len().to_be_bytes(), n, e]),
        Material::Secret(bytes) | Material::Ec(bytes) | Material::Ed25519(bytes) => {
            sha256(&[bytes])
        }
    }
}

fn bits(number: &[u8]) -> usize {
    let leading = number
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - leading
}

/// Returns `true` for a key of small order, with which one signature verifies for many messages.
fn has_small_order(mut key: [u8; 32]) -> bool {
    // The sign of x does not change the order.
    key[31] &= 0x7F;
    let edge = |first: u8, middle: u8, last: u8| {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    };
    [
        edge(0x00, 0x00, 0x00),
        edge(0x01, 0x00, 0x00),
        edge(0xEC, 0xFF, 0x7F),
        edge(0xED, 0xFF, 0x7F),
        edge(0xEE, 0xFF, 0x7F),
        ORDER_8_A,
        ORDER_8_B,
    ]
    .contains(&key)
}

/// The y coordinates of the points of order 8 on edwards25519, little endian.
const ORDER_8_A: [u8; 32] = [
    0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0,
    0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
];
const ORDER_8_B: [u8; 32] = [
    0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F,
    0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
];

/// Returns the kind of key that was passed as a "secret". A public key is not secret, so anyone
/// could forge a MAC with it.
fn kind_of_key(secret: &[u8]) -> Option<&'static str> {
    let text = without_byte_order_mark(secret).trim_ascii();
    if memchr::memmem::find(text, b"-----BEGIN ").is_some() {
        return Some("PEM");
    }
    if text.starts_with(b"{") && jwk::is_key_document(text) {
        return Some("JWK");
    }
    if [&b"ssh-"[..], b"ecdsa-sha2-"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
    {
        return Some("key in SSH format");
    }
    if der::looks_like_a_key(secret) || der::looks_like_a_key(&decoded(text)) {
        return Some("key in DER format");
    }
    None
}

/// Decodes base64 in either alphabet, padded or not, in one or several lines. Returns nothing if
/// the text is not base64.
fn decoded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let plain = text.iter().filter_map(|byte| match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        b'=' => None,
        byte if byte.is_ascii_whitespace() => None,
        byte => Some(*byte),
    });
    // Allocated at full size, so that no reallocation leaves a copy behind.
    let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
    compact.extend(plain);
    Zeroizing::new(URL_SAFE_NO_PAD.decode(&*compact).unwrap_or_default())
}
