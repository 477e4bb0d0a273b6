//! The cache of verified tokens.
//!
//! Clients send the same token hundreds of times. A verified token stays valid until its time ends
//! or the keys change. Both are checked on every cache hit.

use std::hash::{Hash, Hasher, RandomState};

use quick_cache::{
    Equivalent, OptionsBuilder, Weighter,
    sync::{self, DefaultLifecycle},
};

use super::Verified;
use crate::{
    error::ConfigError,
    key::{DIGEST, Digester},
    time::date::Date,
};

/// A cache of verified tokens, limited in the number of entries and in bytes.
///
/// Only verified tokens are inserted, so that an attacker cannot fill the cache with invalid ones.
pub(super) struct Cache<C> {
    entries: sync::Cache<Name, Entry<C>, Weight, RandomState>,
    /// Computes the cache keys if the tokens themselves must not be stored.
    digester: Option<Digester>,
}

/// The cache entry of one token, for one generation of keys.
pub(super) struct Slot<'c, C> {
    cache: &'c Cache<C>,
    name: Borrowed<'c>,
    generation: u64,
}

/// The cached data of a token.
struct Entry<C> {
    verified: Verified<C>,
    window: Window,
    /// The generation of the keys that verified the token.
    generation: u64,
}

/// The time span in which a token is valid, leeway included. `until` is exclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Option<Date>,
    pub(crate) until: Option<Date>,
}

impl Window {
    fn contains(&self, now: Date) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

impl<C> Cache<C> {
    pub(super) fn new(entries: usize, digester: Option<Digester>) -> Result<Self, ConfigError> {
        let bytes = u64::try_from(entries)
            .unwrap_or(u64::MAX)
            .saturating_mul(UNIT);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(entries)
            .weight_capacity(bytes)
            .hot_allocation(HOT)
            .ghost_allocation(GHOSTS)
            .build()
            .map_err(|_| ConfigError::invalid("cache", "not a number of tokens"))?;
        Ok(Self {
            entries: sync::Cache::with_options(
                options,
                Weight,
                RandomState::new(),
                DefaultLifecycle::default(),
            ),
            digester,
        })
    }

    /// Returns the slot of a token, filled or empty. Read `generation` before the lookup of any
    /// key: if the keys change in between, an entry with the old generation never matches.
    pub(super) fn slot<'c>(&'c self, token: &'c [u8], generation: u64) -> Option<Slot<'c, C>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let name = match &self.digester {
            None => Borrowed::Token(token),
            Some(digester) => Borrowed::Digest(digester.digest(token)?, token.len()),
        };
        Some(Slot {
            cache: self,
            name,
            generation,
        })
    }
}

impl<C> Slot<'_, C> {
    pub(super) fn get(&self, now: Date) -> Option<Verified<C>> {
        let entry = self.cache.entries.get(&self.name)?;
        // A change of the keys invalidates the entry immediately.
        if entry.generation == self.generation && entry.window.contains(now) {
            return Some(entry.verified);
        }
        self.cache.entries.remove(&self.name);
        None
    }

    pub(super) fn put(self, verified: Verified<C>, window: Window) {
        let entry = Entry {
            verified,
            window,
            generation: self.generation,
        };
        self.cache.entries.insert(self.name.to_owned(), entry);
    }
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self {
            verified: self.verified.clone(),
            window: self.window,
            generation: self.generation,
        }
    }
}

/// The cache key of a token: the token or its digest. It is always compared as a whole.
struct Name {
    bytes: Box<[u8]>,
    /// The length of the token, which is an estimate for the size of its claims.
    token_bytes: usize,
}

enum Borrowed<'t> {
    Token(&'t [u8]),
    Digest([u8; DIGEST], usize),
}

impl Borrowed<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Token(token) => token,
            Self::Digest(digest, _) => digest,
        }
    }

    fn to_owned(&self) -> Name {
        Name {
            bytes: self.bytes().into(),
            token_bytes: match self {
                Self::Token(token) => token.len(),
                Self::Digest(_, length) => *length,
            },
        }
    }
}

/// The last bytes of a signature or of a digest are practically random, so only they are hashed,
/// with a seed.
fn hash_end<H: Hasher>(name: &[u8], state: &mut H) {
    state.write(name.last_chunk::<16>().map_or(name, |end| end));
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(&self.bytes, state);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(self.bytes(), state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Name {}

impl Equivalent<Name> for Borrowed<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        *self.bytes() == *name.bytes
    }
}

/// The weight of an entry in bytes: the token, its claims as JSON, its claims as the application's
/// type, and the overhead of the tables. The weight is at least one unit, which limits the number
/// of entries.
#[derive(Clone)]
struct Weight;

impl<C> Weighter<Name, Entry<C>> for Weight {
    fn weight(&self, name: &Name, _: &Entry<C>) -> u64 {
        let bytes = u64::try_from(name.token_bytes).unwrap_or(u64::MAX);
        bytes.saturating_mul(3).saturating_add(512).max(UNIT)
    }
}

/// The weight of an entry for a token of usual size (up to 853 bytes).
const UNIT: u64 = 3 * 1024;
/// Longer tokens are not cached.
const MAX_TOKEN: usize = 4 * 1024;
/// The part of the capacity that is reserved for frequently used tokens. Expired tokens stay in
/// this part although they are no longer used, so above one half they displace valid tokens.
const HOT: f64 = 0.5;
/// The number of hashes of evicted tokens that are kept, per cached token. A token that returns
/// soon after its eviction is then kept longer.
const GHOSTS: f64 = 1.0;
