//! A set of keys, with lookup by `kid` and algorithm.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use serde_json::Value;

use super::{
    Algorithm, KeyLookup, KeyMatch, KeyQuery, KeySource, VerifyingKey, jwk::Jwk, skipped::Skipped,
    verifying::Kid, without_byte_order_mark,
};
use crate::{error::ConfigError, event::Events};

/// A set of verifying keys.
///
/// - A token's `kid` selects its key. If two different keys have the same `kid` and algorithm, the
///   token is refused as ambiguous.
/// - Without `kid`, `x5t` or `x5t#S256` selects the key whose certificate has this thumbprint (RFC
///   7515 §4.1.7, §4.1.8). The thumbprint is stated by the JWK, computed from its `x5c`, or equal
///   to its `kid`. If no thumbprint matches, the only key for the algorithm is used, unless it is
///   known to have another certificate.
/// - A token that names no key is verified with every key for its algorithm, in the order of the
///   set. If there are more than four such keys, the token is refused.
///
/// Keys loaded without `kid` (from a secret or a PEM) verify tokens with any `kid`. At most three
/// such secrets are allowed, which is enough to replace a secret twice in a row.
///
/// Duplicate keys count as one key.
///
/// The feature `pem`, which is on by default, adds `from_pem`. Sets that are fetched need the feature
/// `jwks`: `key::remote::RemoteKeySet`.
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
    skipped: Vec<Skipped>,
    from_document: bool,
}

impl KeySet {
    /// Creates a set from single keys.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::MixedFamilies`] if the keys include secrets and public keys (RFC 8725
    ///   §3.1).
    /// - [`ConfigError::KeySet`] if there are no keys, more than three secrets without `kid`, or
    ///   more than four other keys without `kid` for one algorithm.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Self::build(keys.into_iter().collect(), Vec::new(), false)
    }

    /// Parses a JWKS document (RFC 7517 §5).
    ///
    /// Unusable keys are skipped, and [`skipped`](Self::skipped) returns them (RFC 7517 §5): keys
    /// with an unknown `kty`, `crv` or `alg`, with another `use`, and weak or malformed keys. With
    /// the feature `tracing` each one is logged as a warning.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::KeySet`] if the text is not a JWKS document or contains no usable key.
    /// - [`ConfigError::MixedFamilies`] if the document contains secrets and public keys.
    pub fn from_jwks(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let set = Self::read(json.as_ref(), usize::MAX, |_| true)?;
        for entry in &set.inner.skipped {
            entry.log();
        }
        Ok(set)
    }

    /// Parses a document from the network, with at most `max_keys` entries and without secrets.
    /// With an injected `oct` key an attacker could sign tokens (RFC 8725 §3.1).
    #[cfg(feature = "jwks")]
    pub(crate) fn from_network(json: &[u8], max_keys: usize) -> Result<Self, ConfigError> {
        // Parsing half a megabyte of empty objects takes 50 MB of memory.
        let parts = json
            .iter()
            .filter(|byte| matches!(byte, b'{' | b'[' | b','));
        if parts.count() > MOST_PARTS.saturating_mul(max_keys.saturating_add(16)) {
            return Err(ConfigError::KeySet(
                "too many values for the number of keys".into(),
            ));
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
                skipped.push(Skipped::secret(kid));
                continue;
            }
            match Jwk::from_value(entry).and_then(Jwk::into_key) {
                Ok(key) => keys.push(key),
                Err(ConfigError::NoCrypto) => return Err(ConfigError::NoCrypto),
                Err(why) => skipped.push(Skipped::because(kid, &why)),
            }
        }
        if keys.is_empty() {
            let mut message = String::from(NO_USABLE_KEY);
            // The entries come from the network, with any length and number.
            for entry in skipped.iter().take(MOST_NAMED) {
                message.push_str(&format!("; {}: {}", entry.shown_kid(), entry.why()));
            }
            return Err(ConfigError::KeySet(message.into()));
        }
        Self::build(keys, skipped, true)
    }

    /// Parses the public keys of a PEM: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// The keys verify tokens with any `kid`. Of a certificate chain, only the first certificate's
    /// key is used.
    /// Several self-issued certificates of one name are several keys.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Key`] for the reasons of [`VerifyingKey::from_pem`], or if a certificate
    ///   follows another one that it did not issue.
    /// - [`ConfigError::KeySet`] if there are more than four keys for one algorithm.
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::new(super::pem::read(pem.as_ref())?)
    }

    /// Reads a JWKS document from a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::File`] if the file cannot be read, and the errors of
    /// [`from_jwks`](Self::from_jwks).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let json = std::fs::read(path).map_err(|source| ConfigError::File {
            path: path.display().to_string(),
            source,
        })?;
        Self::from_jwks(json)
    }

    /// Returns the number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.keys.len()
    }

    /// Returns `true` if the set contains no key, which is never the case for a set that was built.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.keys.is_empty()
    }

    /// Returns the skipped entries of the document: the `kid` and the reason of each.
    pub fn skipped(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.inner
            .skipped
            .iter()
            .map(|entry| (entry.kid(), entry.why()))
    }

    /// Logs the skipped entries that were not in an earlier set, and returns an event for each of
    /// them.
    #[cfg(feature = "jwks")]
    pub(crate) fn report_skipped(
        &self,
        before: Option<&Self>,
    ) -> impl Iterator<Item = crate::event::AuthEvent<'_>> {
        let before = before.map_or(&[][..], |before| &before.inner.skipped);
        let new = self
            .inner
            .skipped
            .iter()
            .filter(|entry| !before.contains(entry));
        new.inspect(|entry| entry.log()).map(Skipped::event)
    }

    /// Sends an event for each skipped entry.
    pub(crate) fn emit_skipped(&self, events: &Events) {
        for entry in &self.inner.skipped {
            events.emit(|| entry.event());
        }
    }

    /// Returns `true` if the set is a JWKS document, whose keys may sign for many audiences.
    pub(crate) fn is_document(&self) -> bool {
        self.inner.from_document
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.inner.keys.iter().map(AsRef::as_ref)
    }

    fn build(
        keys: Vec<VerifyingKey>,
        skipped: Vec<Skipped>,
        from_document: bool,
    ) -> Result<Self, ConfigError> {
        let keys = merged(keys);
        let secrets = keys.iter().filter(|key| key.is_secret()).count();
        if keys.is_empty() {
            return Err(ConfigError::KeySet("it contains no key".into()));
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
        for algorithm in Algorithm::ALL {
            let open = keys.iter().filter(|key| *key.kid_rule() == Kid::Any);
            if open.filter(|key| key.serves(algorithm, true)).count() > MOST_TRIED {
                let problem = format!("more than four keys without `kid` for {algorithm}");
                return Err(ConfigError::KeySet(problem.into()));
            }
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

    fn of_kid(&self, query: &KeyQuery<'_>, kid: &str) -> KeyLookup {
        let Inner { keys, named, .. } = &*self.inner;
        // To hash the `kid` takes longer than to compare it a few times.
        let found = if keys.len() <= FEW {
            let named = keys.iter().filter(|key| key.kid() == Some(kid));
            choose(query, named, Several::AreAmbiguous)
        } else {
            let positions = named.get(kid).into_iter().flatten();
            let named = positions.filter_map(|position| keys.get(*position));
            choose(query, named, Several::AreAmbiguous)
        };
        if !matches!(found, KeyLookup::Absent) {
            return found;
        }
        match self.open(query) {
            KeyLookup::Absent if named.contains_key(kid) => KeyLookup::AlgorithmMismatch,
            found => found,
        }
    }

    /// Looks up the key of a token that names a certificate but no `kid`.
    fn of_certificate(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let keys = || self.inner.keys.iter();
        let has_it = |key: &&Arc<VerifyingKey>| key.thumbprints().fit(query) == Some(true);
        // AD FS and Azure DevOps also publish the thumbprint as `kid`.
        let named_so = |key: &&Arc<VerifyingKey>| {
            let kid = key.kid();
            kid.is_some() && (kid == query.x5t || kid == query.x5t_s256)
        };
        for named in [
            choose(query, keys().filter(has_it), Several::AreAmbiguous),
            choose(query, keys().filter(named_so), Several::AreAmbiguous),
            self.open(query),
        ] {
            if !matches!(named, KeyLookup::Absent) {
                return named;
            }
        }
        if keys().any(|key| has_it(&key) || named_so(&key)) {
            return KeyLookup::AlgorithmMismatch;
        }
        // RFC 7515 §6: the only key for the algorithm, unless it is known to have another
        // certificate.
        match choose(query, keys(), Several::AreAmbiguous) {
            KeyLookup::Found(only) if only.first.thumbprints().fit(query).is_none() => {
                KeyLookup::Found(only)
            }
            _ => KeyLookup::Absent,
        }
    }

    /// Looks up the keys that verify tokens with any `kid`.
    fn open(&self, query: &KeyQuery<'_>) -> KeyLookup {
        let open = |key: &&Arc<VerifyingKey>| *key.kid_rule() == Kid::Any;
        choose(
            query,
            self.inner.keys.iter().filter(open),
            Several::AreTried,
        )
    }
}

/// The rule for several different keys that match a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Several {
    AreTried,
    AreAmbiguous,
}

fn choose<'a>(
    query: &KeyQuery<'_>,
    candidates: impl Iterator<Item = &'a Arc<VerifyingKey>>,
    several: Several,
) -> KeyLookup {
    let mut fitting = candidates.filter(|key| key.serves(query.algorithm, query.listed));
    let Some(first) = fitting.next() else {
        return KeyLookup::Absent;
    };
    let mut rest: Vec<Arc<VerifyingKey>> = Vec::new();
    for key in fitting {
        // A key with two names is tried once.
        if first.has_material_of(key) || rest.iter().any(|other| other.has_material_of(key)) {
            continue;
        }
        if several == Several::AreAmbiguous || rest.len() + 1 == MOST_TRIED {
            return KeyLookup::Ambiguous;
        }
        rest.push(Arc::clone(key));
    }
    KeyLookup::Found(KeyMatch {
        first: Arc::clone(first),
        rest,
    })
}

/// Merges duplicate keys.
fn merged(keys: Vec<VerifyingKey>) -> Vec<VerifyingKey> {
    let mut different: Vec<VerifyingKey> = Vec::with_capacity(keys.len());
    for key in keys {
        match different.iter_mut().find(|other| other.is_same(&key)) {
            Some(same) => same.merge(key),
            None => different.push(key),
        }
    }
    different
}

impl KeySource for KeySet {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        match query.kid {
            Some(kid) => self.of_kid(query, kid),
            None if query.x5t.is_some() || query.x5t_s256.is_some() => self.of_certificate(query),
            None => choose(query, self.inner.keys.iter(), Several::AreTried),
        }
    }

    /// The keys of a set never change.
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

/// The maximum number of JSON values per allowed key in a document from the network: several times
/// the number in a key with a certificate chain.
#[cfg(feature = "jwks")]
const MOST_PARTS: usize = 64;

/// The start of the error message for a document in which every entry was skipped.
pub(crate) const NO_USABLE_KEY: &str = "it contains no usable key";

/// The maximum number of entries in an error message.
const MOST_NAMED: usize = 8;

/// The maximum number of keys in a set that is searched for a `kid` key by key.
const FEW: usize = 4;

/// The maximum number of keys that are tried for a token that names no key. Each one costs a
/// signature verification.
const MOST_TRIED: usize = 4;

/// The maximum number of HMAC secrets that are tried in order. Three allow two replacements in a
/// row.
const MAX_SECRETS: usize = 3;

/// Returns the algorithms that a set verifies with a verifier that does not list algorithms.
pub(crate) fn default_algorithms(set: &KeySet) -> Vec<Algorithm> {
    let mut algorithms: Vec<_> = set.keys().map(VerifyingKey::default_algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}
