//! The key itself: made, read, and reduced to what may be kept.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::ConfigError,
    secret::{Secret, random},
    token::base62::{base62, checksum, is_base62, strip_checksum},
};

/// How the keys of one service look: their prefix.
#[derive(Clone, Debug)]
pub struct ApiKeyFormat {
    prefix: Arc<str>,
}

impl ApiKeyFormat {
    /// Keys that start with `prefix` and an underscore.
    ///
    /// By custom the prefix names the application and the environment, as in `acme_live`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: not 2 to 32 of `a`–`z`, `0`–`9` and `_`, or an underscore at
    /// either end.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if !(2..=MAX_PREFIX).contains(&prefix.len())
            || !prefix.bytes().all(allowed)
            || prefix.starts_with('_')
            || prefix.ends_with('_')
        {
            return Err(ConfigError::invalid(
                "the prefix of API keys",
                "2 to 32 of a-z, 0-9 and _ are needed, with no _ at the ends",
            ));
        }
        Ok(Self {
            prefix: prefix.into(),
        })
    }

    /// A new key under a new identifier.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn mint(&self) -> ApiKey {
        self.mint_for(ApiKeyId::random())
    }

    /// A new secret for an identifier that exists: a rolled key.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn mint_for(&self, id: ApiKeyId) -> ApiKey {
        let secret = Secret::new(base62(random::<32>()));
        // Never grows: what is left behind by a move would not be wiped.
        let mut text = String::with_capacity(MAX_KEY);
        text.extend([
            &self.prefix,
            "_",
            id.as_str(),
            "_",
            secret.expose().as_str(),
        ]);
        let sum = checksum(&text);
        text.extend(sum.into_iter().map(char::from));
        ApiKey {
            digest: SecretDigest::of(secret.expose()),
            start: self.prefix.len() + 1 + ID + 1 + SHOWN,
            text: Secret::new(text),
            id,
        }
    }

    /// Whether a credential claims to be such a key: it starts with the prefix.
    ///
    /// This decides whose a credential is, where several kinds share a header.
    #[must_use]
    pub fn claims(&self, credential: &str) -> bool {
        self.body(credential).is_some()
    }

    /// Reads a key that a caller presents.
    ///
    /// `None` for anything that was never minted in this format, a wrong checksum included: no store
    /// needs to be asked about it.
    #[must_use]
    pub fn parse(&self, credential: &str) -> Option<PresentedApiKey> {
        if credential.len() > MAX_KEY {
            return None;
        }
        let (id, secret) = self.body(strip_checksum(credential)?)?.split_once('_')?;
        if secret.len() != SECRET || !is_base62(secret) {
            return None;
        }
        Some(PresentedApiKey {
            id: ApiKeyId::parse(id)?,
            digest: SecretDigest::of(secret),
        })
    }

    fn body<'a>(&self, credential: &'a str) -> Option<&'a str> {
        credential.strip_prefix(&*self.prefix)?.strip_prefix('_')
    }
}

/// A key that was just made. It is shown to its owner once and kept nowhere.
#[derive(Clone)]
pub struct ApiKey {
    id: ApiKeyId,
    text: Secret<String>,
    digest: SecretDigest,
    start: usize,
}

impl ApiKey {
    /// The whole key, to be shown to its owner now and never again.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Its identifier, which is no secret.
    #[must_use]
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// What is kept of its secret.
    #[must_use]
    pub fn digest(&self) -> &SecretDigest {
        &self.digest
    }

    /// Prefix, identifier and four characters of the secret: enough for its owner to tell it from
    /// others.
    #[must_use]
    pub fn display_start(&self) -> &str {
        self.text.expose().get(..self.start).unwrap_or_default()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A key of the right form that somebody presented. Nothing is proved yet.
#[derive(Clone, Debug)]
pub struct PresentedApiKey {
    id: ApiKeyId,
    digest: SecretDigest,
}

impl PresentedApiKey {
    /// Whose row to look for.
    #[must_use]
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// What to compare with the row's.
    #[must_use]
    pub fn digest(&self) -> &SecretDigest {
        &self.digest
    }
}

/// The identifier of a key: ten base62 characters. It is no secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId(Box<str>);

impl ApiKeyId {
    fn random() -> Self {
        let text = base62(random::<8>());
        // Of the eleven digits the first is nearly always 0 or 1.
        Self(text.get(text.len() - ID..).unwrap_or_default().into())
    }

    /// Reads an identifier as it was kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == ID && is_base62(text)).then(|| Self(text.into()))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyId({})", self.0)
    }
}

/// The SHA-256 of a key's secret: what a store keeps.
///
/// The secret holds 256 random bits, so a slow hash would protect nothing more.
///
/// # Security
///
/// Compared in constant time, and never printed.
#[derive(Clone, Copy, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// From its bytes, as they were kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

const MAX_PREFIX: usize = 32;
const ID: usize = 10;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
/// Characters of the secret that are shown in lists; 39 remain, 232 bits.
const SHOWN: usize = 4;
const MAX_KEY: usize = MAX_PREFIX + 1 + ID + 1 + SECRET + CHECKSUM;
