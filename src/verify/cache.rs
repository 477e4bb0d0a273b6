//! Tokens that were verified before.
//!
//! Clients send the same token hundreds of times. What was verified once stays verified while its
//! time lasts and its keys stay what they are; both are looked at on every hit.

use std::hash::{Hash, Hasher, RandomState};

use quick_cache::{
    Equivalent, OptionsBuilder, Weighter,
    sync::{self, DefaultLifecycle},
};

use super::Verified;
use crate::{
    error::ConfigError,
    key::{DIGEST, Digester},
    token::date::Date,
};

/// Verified tokens, bounded by number and by bytes.
///
/// Only verified tokens get in, so that nobody can fill it with others.
pub(super) struct Cache<C> {
    entries: sync::Cache<Name, Entry<C>, Weight, RandomState>,
    /// Makes the names, where tokens must not be kept themselves.
    digester: Option<Digester>,
}

/// The place of one token, as long as the keys are those of one generation.
pub(super) struct Slot<'c, C> {
    cache: &'c Cache<C>,
    name: Borrowed<'c>,
    generation: u64,
}

/// What is remembered of a token.
struct Entry<C> {
    verified: Verified<C>,
    window: Window,
    /// The keys that verified it.
    generation: u64,
}

/// When a token is valid: from the first instant to just before the last, leeway included.
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

    /// Where the token is, or would be. `generation` must have been asked for before any of these
    /// keys was: should they change in between, what is put here is old at once.
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
        // A key that is gone takes its tokens along, at once.
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

/// What a token is found by: itself, or its digest. Only the whole of it is ever compared.
struct Name {
    bytes: Box<[u8]>,
    /// How long the token is, and so its claims.
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

/// The end of a signature is as good as random, and so is a digest's. It alone is hashed, with a
/// seed.
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

/// What an entry weighs, in bytes: the token, its claims as JSON, as the application's type, and
/// some for the tables. At least a unit, so that the number of entries is bounded as well.
#[derive(Clone)]
struct Weight;

impl<C> Weighter<Name, Entry<C>> for Weight {
    fn weight(&self, name: &Name, _: &Entry<C>) -> u64 {
        let bytes = u64::try_from(name.token_bytes).unwrap_or(u64::MAX);
        bytes.saturating_mul(3).saturating_add(512).max(UNIT)
    }
}

/// The weight that an entry of a usual token (up to 853 bytes) counts for.
const UNIT: u64 = 3 * 1024;
/// Longer tokens are verified anew every time.
const MAX_TOKEN: usize = 4 * 1024;
/// The part of the room that tokens which often came keep from newcomers. A token that expired was
/// such a one, and no longer comes: with more than half of the room theirs, dead tokens keep
/// living ones out.
const HOT: f64 = 0.5;
/// Tokens that had to leave are known again by a hash, so many for one that is remembered: whoever
/// comes back soon stays.
const GHOSTS: f64 = 1.0;
