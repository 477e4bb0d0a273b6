//! Tokens that were verified before.
//!
//! Clients send the same token hundreds of times. What was verified once stays verified while its
//! time lasts and its keys stay what they are; both are looked at on every hit.

use std::hash::{Hash, Hasher, RandomState};

use quick_cache::{
    Equivalent, Weighter,
    sync::{self, DefaultLifecycle},
};

use super::Verified;
use crate::token::date::Date;

/// Verified tokens, bounded by number and by bytes.
///
/// Only verified tokens get in, so that nobody can fill it with others.
pub(super) struct Cache<C> {
    entries: sync::Cache<Token, Entry<C>, Weight, RandomState>,
}

/// What is remembered of a token.
pub(super) struct Entry<C> {
    pub(super) verified: Verified<C>,
    pub(super) window: Window,
    /// The keys that verified it.
    pub(super) generation: u64,
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
    pub(super) fn new(entries: usize) -> Self {
        let bytes = u64::try_from(entries)
            .unwrap_or(u64::MAX)
            .saturating_mul(UNIT);
        Self {
            entries: sync::Cache::with(
                entries,
                bytes,
                Weight,
                RandomState::new(),
                DefaultLifecycle::default(),
            ),
        }
    }

    pub(super) fn get(&self, token: &[u8], generation: u64, now: Date) -> Option<Verified<C>> {
        let entry = self.entries.get(&Borrowed(token))?;
        // A key that is gone takes its tokens along, at once.
        if entry.generation == generation && entry.window.contains(now) {
            return Some(entry.verified);
        }
        self.entries.remove(&Borrowed(token));
        None
    }

    pub(super) fn insert(&self, token: &[u8], entry: Entry<C>) {
        if token.len() <= MAX_TOKEN {
            self.entries.insert(Token(token.into()), entry);
        }
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

/// A whole token; only the whole is ever compared.
#[derive(PartialEq, Eq)]
struct Token(Box<[u8]>);

struct Borrowed<'t>(&'t [u8]);

/// The end of the signature is as good as random, so it alone is hashed, with a seed.
fn hash_end<H: Hasher>(token: &[u8], state: &mut H) {
    state.write(token.last_chunk::<16>().map_or(token, |end| end));
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(&self.0, state);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_end(self.0, state);
    }
}

impl Equivalent<Token> for Borrowed<'_> {
    fn equivalent(&self, token: &Token) -> bool {
        *self.0 == *token.0
    }
}

/// What an entry weighs, in bytes: the token, its claims as JSON, as the application's type, and
/// some for the tables. At least a unit, so that the number of entries is bounded as well.
#[derive(Clone)]
struct Weight;

impl<C> Weighter<Token, Entry<C>> for Weight {
    fn weight(&self, token: &Token, _: &Entry<C>) -> u64 {
        let bytes = u64::try_from(token.0.len()).unwrap_or(u64::MAX);
        bytes.saturating_mul(3).saturating_add(512).max(UNIT)
    }
}

/// The weight that an entry of a usual token (up to 853 bytes) counts for.
const UNIT: u64 = 3 * 1024;
/// Longer tokens are verified anew every time.
const MAX_TOKEN: usize = 4 * 1024;
