//! The cache of verified tokens.
//!
//! Clients send the same token hundreds of times. A verified token stays valid until its time ends
//! or the keys change. The caller checks both on every cache hit ([`Verified::is_valid`]). The entries of
//! the most frequent tokens have copies in the [`front`], so that threads do not wait for each other.
//!
//! ```text
//! find(token) ─▶ front ─┬─▶ a valid entry: the token is accepted
//!                       └─▶ entries ─┬─▶ a valid entry: the token is accepted
//!                                    ├─▶ an entry that is no longer valid: removed ─┐
//!                                    └─▶ no entry ──────────────────────────────────┴─▶ verify ─▶ put
//! ```

mod admission;
mod front;
mod name;

use std::{hash::BuildHasherDefault, sync::Arc};

use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync};
use smallvec::SmallVec;

use self::{
    admission::Admission,
    front::Front,
    name::{Name, NameHasher, Seed, Sought},
};
use super::Verified;
use crate::{
    error::{AuthError, ConfigError},
    key::{DIGEST, Digester},
    time::Timestamp,
};

/// A cache of verified tokens, limited in bytes. `O` names the rules that verified an entry.
///
/// Only verified tokens are inserted, so that an attacker cannot fill the cache with invalid ones.
pub(super) struct Cache<C, O = ()> {
    entries: Entries<C, O>,
    /// `None` if the cache is too small for it.
    front: Option<Front<C, O>>,
    seed: Seed,
    /// Computes the cache keys if the tokens themselves must not be stored.
    digester: Option<Digester>,
    admission: Arc<Admission>,
    capacity: usize,
    /// The length of the longest accepted token.
    longest: usize,
    /// The weight of the heaviest entry that is stored.
    heaviest: u64,
}

type Entries<C, O> =
    sync::Cache<Name, Entry<C, O>, Weight, BuildHasherDefault<NameHasher>, Evictions>;

/// The result of a lookup.
pub(super) enum Found<'c, C, O> {
    /// The entry of the token is valid.
    Valid(Verified<C>),
    /// The token is sent in the other form than the one that it needs.
    Misused(AuthError),
    /// Put the token into this slot after its verification. `None` if it is too long.
    Nothing(Option<Slot<'c, C, O>>),
}

/// The place of a token without a valid entry.
pub(super) struct Slot<'c, C, O> {
    cache: &'c Cache<C, O>,
    sought: Sought<'c>,
    /// The token was in the cache, so it has been sent before.
    is_known: bool,
}

/// The room for the digest of a token.
pub(super) type Room = Option<[u8; DIGEST]>;

/// A verified token and the rules that verified it.
pub(super) struct Entry<C, O> {
    pub(super) verified: Verified<C>,
    pub(super) owner: O,
}

impl<C, O: Clone> Cache<C, O> {
    /// Creates a cache for this number of tokens of usual size, of which the longest has `longest`
    /// bytes.
    pub(super) fn new(
        capacity: usize,
        longest: usize,
        digester: Option<Digester>,
    ) -> Result<Self, ConfigError> {
        let refuse = || ConfigError::invalid("cache_capacity", "not a number of tokens");
        let tokens = u64::try_from(capacity).map_err(|_| refuse())?;
        let bytes = tokens.saturating_mul(UNIT);
        let admission = Arc::new(Admission::new(capacity));
        let mut options = OptionsBuilder::new();
        options
            .estimated_items_capacity(capacity)
            .weight_capacity(bytes)
            // Half of one entry is none.
            .hot_allocation(if capacity == 1 { 1.0 } else { HOT })
            .ghost_allocation(GHOSTS);
        let build = |options: &OptionsBuilder| {
            let options = options.build().map_err(|_| refuse())?;
            Ok(Entries::with_options(
                options,
                Weight,
                BuildHasherDefault::default(),
                Evictions(Arc::clone(&admission)),
            ))
        };
        let mut entries = build(&options)?;
        // An entry must fit into the frequent part of one shard.
        let fitting = bytes / (2 * weight(longest.min(LONGEST)));
        let fitting = usize::try_from(fitting.max(1)).unwrap_or(usize::MAX);
        if entries.num_shards() > fitting {
            options.shards(1 << fitting.ilog2());
            entries = build(&options)?;
        }
        let heaviest = match capacity {
            1 => bytes,
            _ => entries.shard_capacity() / 2,
        };
        Ok(Self {
            entries,
            front: Front::new(capacity),
            seed: Seed::new(),
            digester,
            admission,
            capacity,
            longest,
            heaviest,
        })
    }

    /// Looks up a token. Read the generation of the keys before: if the keys change in between, an entry
    /// with the old generation is never valid.
    #[inline]
    pub(super) fn find<'c>(
        &'c self,
        token: &'c [u8],
        room: &'c mut Room,
        is_valid: impl Fn(&Entry<C, O>) -> bool,
        misused: impl FnOnce(&Verified<C>) -> Option<AuthError>,
    ) -> Found<'c, C, O> {
        let Some(sought) = self.seek(token, room) else {
            return Found::Nothing(None);
        };
        // An entry of the front that is no longer valid may have a valid successor.
        if let Some(entry) = self.front.as_ref().and_then(|front| front.get(sought))
            && is_valid(&entry)
        {
            return Found::Valid(entry.verified);
        }
        let mut is_known = false;
        if let Some(entry) = self.entries.get(&sought) {
            if is_valid(&entry) {
                if let Some(front) = &self.front {
                    front.found(sought, &entry);
                }
                return Found::Valid(entry.verified);
            }
            if let Some(error) = misused(&entry.verified) {
                return Found::Misused(error);
            }
            self.remove(sought);
            is_known = true;
        }
        Found::Nothing(Some(Slot {
            cache: self,
            sought,
            is_known,
        }))
    }

    #[inline]
    fn seek<'t>(&self, token: &'t [u8], room: &'t mut Room) -> Option<Sought<'t>> {
        // No digest is computed for a token that is too long.
        if token.len() > self.longest {
            return None;
        }
        let bytes: &[u8] = match &self.digester {
            None => token,
            Some(digester) => &*room.insert(digester.digest(token)),
        };
        Some(Sought::new(bytes, token.len(), &self.seed))
    }

    /// Removes an entry that is no longer valid.
    #[cold]
    fn remove(&self, sought: Sought<'_>) {
        self.entries.remove(&sought);
    }
}

impl<C, O> Cache<C, O> {
    /// Returns the number of tokens of usual size for which there is room.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns `true` if digests are stored instead of tokens.
    pub(super) fn is_by_digest(&self) -> bool {
        self.digester.is_some()
    }
}

impl<C, O: Clone> Slot<'_, C, O> {
    /// Stores a token that was verified at `now`, unless it has to be sent once more before.
    pub(super) fn put(self, verified: Verified<C>, owner: O, now: Timestamp) {
        let cache = self.cache;
        if weight(self.sought.token_bytes()) > cache.heaviest {
            return;
        }
        if self.is_known || cache.admission.admits(self.sought.hash(), now) {
            let entry = Entry { verified, owner };
            cache.entries.insert(self.sought.to_name(), entry);
        }
    }
}

impl<C, O: Clone> Clone for Entry<C, O> {
    fn clone(&self) -> Self {
        Self {
            verified: self.verified.clone(),
            owner: self.owner.clone(),
        }
    }
}

/// Reports evictions, and drops evicted entries after the lock is released.
#[derive(Clone)]
struct Evictions(Arc<Admission>);

impl<C, O> Lifecycle<Name, Entry<C, O>> for Evictions {
    type RequestState = SmallVec<[(Name, Entry<C, O>); 2]>;

    fn before_evict(&self, _: &mut Self::RequestState, name: &Name, entry: &mut Entry<C, O>) {
        self.0.evicts(name.hash(), entry.verified.valid_until());
    }

    fn on_evict(&self, evicted: &mut Self::RequestState, name: Name, entry: Entry<C, O>) {
        evicted.push((name, entry));
    }
}

/// The weight of an entry in bytes.
#[derive(Clone)]
struct Weight;

impl<C, O> Weighter<Name, Entry<C, O>> for Weight {
    fn weight(&self, name: &Name, _: &Entry<C, O>) -> u64 {
        weight(name.token_bytes())
    }
}

/// Returns the weight of a token in bytes: the token, its claims as JSON, its claims as the
/// application's type, and the overhead of the tables. The weight is at least one unit, which limits
/// the number of entries.
fn weight(token_bytes: usize) -> u64 {
    let bytes = u64::try_from(token_bytes).unwrap_or(u64::MAX);
    bytes.saturating_mul(3).saturating_add(512).max(UNIT)
}

/// The weight of an entry for a token of usual size (up to 853 bytes).
const UNIT: u64 = 3 * 1024;
/// The cache is divided into shards that hold tokens of up to this length.
const LONGEST: usize = 64 * 1024;
/// The part of the capacity that is reserved for frequently used tokens. Expired tokens stay in
/// this part although they are no longer used, so above one half they displace valid tokens.
const HOT: f64 = 0.5;
/// The number of hashes of evicted tokens that are kept, per cached token. A token that returns
/// soon after its eviction is then kept longer.
const GHOSTS: f64 = 1.0;
