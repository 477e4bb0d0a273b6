//! The text of a key: minted, parsed, and reduced to a digest.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::ConfigError,
    secret::{
        Secret,
        base62::{base62, checksum, is_base62, strip_checksum},
        random,
    },
};

/// The format of a service's keys: their prefix.
#[derive(Clone, Debug)]
pub struct ApiKeyFormat {
    prefix: Arc<str>,
}

impl ApiKeyFormat {
    /// Creates a format of keys that start with `prefix` and an underscore.
    ///
    /// By convention the prefix names the application and the environment, as in `acme_live`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: `prefix` is not 2 to 32 characters of `a`–`z`, `0`–`9` and `_`, or
    /// starts or ends with an underscore.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if !(2..=MAX_PREFIX).contains(&prefix.len())
            || !prefix.bytes().all(allowed)
            || prefix.starts_with('_')
            || prefix.ends_with('_')
        {
            return Err(ConfigError::invalid(
                "the prefix of API keys",
                "must be 2 to 32 characters of a-z, 0-9 and _, without _ at either end",
            ));
        }
        Ok(Self {
            prefix: prefix.into(),
        })
    }

    /// Creates a key with a new identifier.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    pub fn mint(&self) -> ApiKey {
        self.mint_for(ApiKeyId::random())
    }

    /// Creates a key with a new secret and an existing identifier, to roll a key.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    pub fn mint_for(&self, id: ApiKeyId) -> ApiKey {
        let secret = Secret::new(base62(random::<32>()));
        // The buffer never grows: a reallocation would leave a copy that is not wiped.
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

    /// Returns `true` if a credential starts with the prefix of these keys.
    ///
    /// The prefix decides which layer handles a credential if several kinds share a header.
    #[must_use]
    pub fn claims(&self, credential: &str) -> bool {
        self.body(credential).is_some()
    }

    /// Parses a key that a caller presents.
    ///
    /// Returns `None` for a text that was never minted in this format, including one with a wrong
    /// checksum. No query is needed to refuse such a text.
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

/// A new key. Show it to its owner once; the text is not stored.
#[derive(Clone)]
pub struct ApiKey {
    id: ApiKeyId,
    text: Secret<String>,
    digest: SecretDigest,
    start: usize,
}

impl ApiKey {
    /// Returns the whole key. Show it to its owner now: it cannot be read again.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Returns the key's identifier, which is not secret.
    #[must_use]
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// Returns the digest of the secret, for the store.
    #[must_use]
    pub fn digest(&self) -> &SecretDigest {
        &self.digest
    }

    /// Returns the prefix, the identifier and four characters of the secret, by which the owner can
    /// recognize the key.
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

/// A well-formed key that a caller presented. Its secret is not verified yet.
#[derive(Clone, Debug)]
pub struct PresentedApiKey {
    id: ApiKeyId,
    digest: SecretDigest,
}

impl PresentedApiKey {
    /// Returns the key's identifier, under which the store finds it.
    #[must_use]
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// Returns the digest to compare with the row's.
    #[must_use]
    pub fn digest(&self) -> &SecretDigest {
        &self.digest
    }
}

/// The identifier of a key: ten base62 characters. It is not secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId(Box<str>);

impl ApiKeyId {
    fn random() -> Self {
        let text = base62(random::<8>());
        // The first of the eleven digits is nearly always 0 or 1, so the last ten are used.
        Self(text.get(text.len() - ID..).unwrap_or_default().into())
    }

    /// Parses an identifier from a store or a request.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == ID && is_base62(text)).then(|| Self(text.into()))
    }

    /// Returns the identifier as text.
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

/// The SHA-256 digest of a key's secret, which a store keeps.
///
/// The secret has 256 random bits, so a slow password hash would add no protection.
///
/// # Security
///
/// The comparison takes constant time, and `Debug` does not print the digest.
#[derive(Clone, Copy, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Creates a digest from the bytes in a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes for a store.
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
/// The number of characters of the secret that lists show. The other 39 have 232 bits.
const SHOWN: usize = 4;
const MAX_KEY: usize = MAX_PREFIX + 1 + ID + 1 + SECRET + CHECKSUM;
