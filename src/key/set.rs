//! Several keys, found by `kid` and algorithm.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use serde_json::Value;

use super::{
    Algorithm, KeyLookup, KeyMatch, KeyQuery, KeySource, VerifyingKey, jwk::Jwk, verifying::Kid,
    without_byte_order_mark,
};
use crate::error::ConfigError;

/// A set of verifying keys.
///
/// A token's `kid` selects its key. A token without `kid` is verified only where exactly one key
/// fits its algorithm; nothing is ever tried on suspicion (RFC 7515 §6), with one exception: up to
/// three HMAC secrets without `kid` are tried in order, so that a secret can be replaced.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")] {
/// use tower_jwt_auth::key::KeySet;
///
/// let keys = KeySet::from_jwks(br#"{"keys":[
///   {"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///   {"kty":"EC","crv":"secp256k1","kid":"odd","x":"AA","y":"AA"}
/// ]}"#)?;
/// assert_eq!(keys.len(), 1);
/// assert_eq!(keys.skipped().next(), Some((Some("odd"), "unusable key: unsupported `crv`")));
/// # }
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeySet {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    keys: Vec<Arc<VerifyingKey>>,
    named: HashMap<Box<str>, Vec<usize>>,
    skipped: Vec<(Option<String>, String)>,
    from_document: bool,
}

impl KeySet {
    /// A set of keys that were loaded one by one.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::MixedFamilies`]: secrets and public keys in one set (RFC 8725 §3.1).
    /// - [`ConfigError::KeySet`]: no key, or more than three secrets without `kid`.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Self::build(keys.into_iter().collect(), Vec::new(), false)
    }

    /// Reads a JWKS document (RFC 7517 §5).
    ///
    /// Keys that cannot be used here are left out and listed by [`skipped`](Self::skipped): an
    /// unknown `kty`, `crv` or `alg`, another `use`, a weak or broken key (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// - [`ConfigError::KeySet`]: not a JWKS document, or not one usable key in it.
    /// - [`ConfigError::MixedFamilies`]: secrets and public keys in one document.
    pub fn from_jwks(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::read(json.as_ref(), usize::MAX, |_| true)
    }

    /// Reads a document that came from the network: at most `max_keys` entries, and no secrets.
    /// RFC 8725 §3.1: a smuggled `oct` key would let its author sign tokens.
    #[cfg(feature = "jwks")]
    pub(crate) fn from_network(json: &[u8], max_keys: usize) -> Result<Self, ConfigError> {
        // Half a megabyte of empty objects takes fifty when it is read.
        let parts = json
            .iter()
            .filter(|byte| matches!(byte, b'{' | b'[' | b','));
        if parts.count() > MOST_PARTS.saturating_mul(max_keys.saturating_add(16)) {
            return Err(ConfigError::KeySet("more in it than keys".into()));
        }
        Self::read(json, max_keys, |entry| {
            entry.get("kty").and_then(Value::as_str) != Some("oct")
        })
    }

    fn read(
        json: &[u8],
        max_keys: usize,
        welcome: impl Fn(&Value) -> bool,
    ) -> Result<Self, ConfigError> {
        let refuse = |why: &'static str| Err(ConfigError::KeySet(why.into()));
        let Ok(mut document) = serde_json::from_slice::<Value>(without_byte_order_mark(json))
        else {
            return refuse("not JSON");
        };
        let Some(Value::Array(entries)) = document.get_mut("keys").map(Value::take) else {
            return refuse("no member `keys` that is an array (RFC 7517 §5.1)");
        };
        if entries.len() > max_keys {
            return refuse("more keys than the limit");
        }
        let mut keys = Vec::with_capacity(entries.len());
        let mut skipped = Vec::new();
        for entry in entries {
            let kid = entry.get("kid").and_then(Value::as_str).map(str::to_owned);
            if !welcome(&entry) {
                skipped.push((kid, "a secret in a published key set".to_owned()));
                continue;
            }
            match Jwk::from_value(entry).and_then(Jwk::into_key) {
                Ok(key) => keys.push(key),
                Err(ConfigError::NoCrypto) => return Err(ConfigError::NoCrypto),
                Err(why) => skipped.push((kid, why.to_string())),
            }
        }
        if keys.is_empty() {
            let mut message = String::from("not one usable key in it");
            // Somebody else wrote these, at any length and in any number.
            for (kid, why) in skipped.iter().take(MOST_NAMED) {
                let kid = kid.as_deref().unwrap_or("no kid");
                let kid: String = kid.escape_debug().take(LONGEST_NAMED).collect();
                message.push_str(&format!("; {kid}: {why}"));
            }
            return Err(ConfigError::KeySet(message.into()));
        }
        Self::build(keys, skipped, true)
    }

    /// Reads a JWKS document from a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::File`], and those of [`from_jwks`](Self::from_jwks).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let json = std::fs::read(path).map_err(|source| ConfigError::File {
            path: path.display().to_string(),
            source,
        })?;
        Self::from_jwks(json)
    }

    /// How many usable keys the set holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.keys.len()
    }

    /// Whether the set holds no key. A set that was built never does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.keys.is_empty()
    }

    /// The entries of the document that cannot be used: their `kid` and why.
    pub fn skipped(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.inner
            .skipped
            .iter()
            .map(|(kid, why)| (kid.as_deref(), why.as_str()))
    }

    /// Whether the set is a published one, whose keys sign for many audiences.
    pub(crate) fn is_document(&self) -> bool {
        self.inner.from_document
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.inner.keys.iter().map(AsRef::as_ref)
    }

    fn build(
        keys: Vec<VerifyingKey>,
        skipped: Vec<(Option<String>, String)>,
        from_document: bool,
    ) -> Result<Self, ConfigError> {
        let secrets = keys.iter().filter(|key| key.is_secret()).count();
        if keys.is_empty() {
            return Err(ConfigError::KeySet("it holds no key".into()));
        }
        if secrets != 0 && secrets != keys.len() {
            return Err(ConfigError::MixedFamilies);
        }
        if keys
            .iter()
            .filter(|key| key.is_secret() && *key.kid_rule() == Kid::Any)
            .count()
            > MAX_SECRETS
        {
            return Err(ConfigError::KeySet(
                "more than three secrets without `kid`".into(),
            ));
        }
        let keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        let mut named = HashMap::<Box<str>, Vec<usize>>::new();
        for (position, key) in keys.iter().enumerate() {
            if let Some(kid) = key.kid() {
                named.entry(kid.into()).or_default().push(position);
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                keys,
                named,
                skipped,
                from_document,
            }),
        })
    }

    fn choose<'a>(
        &'a self,
        query: &KeyQuery<'_>,
        candidates: impl Iterator<Item = &'a Arc<VerifyingKey>>,
    ) -> KeyLookup {
        let mut fitting = candidates.filter(|key| key.serves(query.algorithm, query.listed));
        let Some(first) = fitting.next() else {
            return KeyLookup::Absent;
        };
        let rest: Vec<_> = fitting.map(Arc::clone).collect();
        let several_secrets = first.is_secret() && *first.kid_rule() == Kid::Any;
        if !rest.is_empty() && !several_secrets {
            return KeyLookup::Ambiguous;
        }
        KeyLookup::Found(KeyMatch {
            first: Arc::clone(first),
            rest,
        })
    }
}

impl KeySource for KeySet {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let keys = &self.inner.keys;
        let Some(kid) = query.kid else {
            return self.choose(query, keys.iter());
        };
        let positions = self.inner.named.get(kid);
        if let Some(positions) = positions {
            let named = positions.iter().filter_map(|position| keys.get(*position));
            match self.choose(query, named) {
                KeyLookup::Absent => {}
                found => return found,
            }
        }
        let open = keys.iter().filter(|key| *key.kid_rule() == Kid::Any);
        match self.choose(query, open) {
            KeyLookup::Absent if positions.is_some() => KeyLookup::AlgorithmMismatch,
            found => found,
        }
    }

    /// The keys never change.
    fn generation(&self) -> Option<u64> {
        Some(0)
    }
}

impl TryFrom<VerifyingKey> for KeySet {
    type Error = ConfigError;

    fn try_from(key: VerifyingKey) -> Result<Self, ConfigError> {
        Self::new([key])
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.inner.keys)
            .field("skipped", &self.inner.skipped)
            .finish_non_exhaustive()
    }
}

/// Values in a document from the network, for each key that it may hold: several times what a key
/// with a certificate chain has.
#[cfg(feature = "jwks")]
const MOST_PARTS: usize = 64;

/// How many entries an error tells about, and how much of each one's `kid`.
const MOST_NAMED: usize = 8;
const LONGEST_NAMED: usize = 64;

/// HMAC secrets that are tried in order (decided so that one can be replaced twice in a row).
const MAX_SECRETS: usize = 3;

/// The algorithms that a set serves in a verifier without a list of its own.
pub(crate) fn default_algorithms(set: &KeySet) -> Vec<Algorithm> {
    let mut algorithms: Vec<_> = set.keys().map(VerifyingKey::default_algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}
