//! The cache of answers about tokens.
//!
//! The keys are keyed digests, never tokens. Refusals have a cache of their own, so that a flood of
//! made-up tokens evicts no answer about a real one.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use quick_cache::{OptionsBuilder, UnitWeighter, Weighter, sync, sync::DefaultLifecycle};

use super::flights::Digest;
use crate::{
    error::{AuthError, ConfigError},
    time::Timestamp,
    verify::Verified,
};

/// The answers, limited in bytes, and the refusals, limited in number.
pub(super) struct Answers<C> {
    active: sync::Cache<Name, Active<C>, Weight, Digests>,
    refused: sync::Cache<Name, Refused, UnitWeighter, Digests>,
}

/// A token that was active.
pub(super) struct Active<C> {
    pub(super) verified: Verified<C>,
    weight: u64,
}

/// A token that was refused, and the time span of that. The end is exclusive.
#[derive(Clone)]
pub(super) struct Refused {
    pub(super) error: AuthError,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl<C> Answers<C> {
    /// Creates a cache for this number of answers of usual size.
    pub(super) fn new(capacity: usize) -> Result<Self, ConfigError> {
        let refuse = || ConfigError::invalid("cache_capacity", "not a number of tokens");
        let bytes = u64::try_from(capacity).map_err(|_| refuse())?;
        let options = |items: usize, weight: u64| {
            let mut options = OptionsBuilder::new();
            options
                .estimated_items_capacity(items)
                .weight_capacity(weight);
            options.build().map_err(|_| refuse())
        };
        Ok(Self {
            active: sync::Cache::with_options(
                options(capacity, bytes.saturating_mul(UNIT))?,
                Weight,
                Digests::default(),
                DefaultLifecycle::default(),
            ),
            refused: sync::Cache::with_options(
                options(REFUSALS, REFUSALS as u64)?,
                UnitWeighter,
                Digests::default(),
                DefaultLifecycle::default(),
            ),
        })
    }

    /// Returns the last answer about a token, which may be too old.
    #[inline]
    pub(super) fn active(&self, digest: &Digest) -> Option<Verified<C>> {
        self.active
            .get(&Name(*digest))
            .map(|active| active.verified)
    }

    /// Returns the refusal of a token, if it is recent.
    pub(super) fn refused(&self, digest: &Digest, now: Timestamp) -> Option<AuthError> {
        let refused = self.refused.get(&Name(*digest))?;
        (refused.from <= now && now < refused.until).then_some(refused.error)
    }

    /// Stores the answer about a token that is active, which has this length.
    pub(super) fn admit(&self, digest: Digest, verified: Verified<C>, length: usize) {
        let weight = weight(length);
        self.refused.remove(&Name(digest));
        self.active
            .insert(Name(digest), Active { verified, weight });
    }

    /// Stores the refusal of a token.
    pub(super) fn refuse(&self, digest: Digest, refused: Refused) {
        self.active.remove(&Name(digest));
        self.refused.insert(Name(digest), refused);
    }
}

impl<C> Clone for Active<C> {
    fn clone(&self) -> Self {
        Self {
            verified: self.verified.clone(),
            weight: self.weight,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Name(Digest);

impl Hash for Name {
    // A part of a keyed digest is a hash that no client can choose.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

type Digests = BuildHasherDefault<DigestHasher>;

/// Passes the hash of a digest on.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone)]
struct Weight;

impl<C> Weighter<Name, Active<C>> for Weight {
    fn weight(&self, _: &Name, active: &Active<C>) -> u64 {
        active.weight
    }
}

/// Returns the weight of an answer in bytes: the answer, its claims as the application's type, and the
/// overhead of the table.
fn weight(length: usize) -> u64 {
    let bytes = u64::try_from(length).unwrap_or(u64::MAX);
    bytes.saturating_mul(3).saturating_add(512).max(UNIT)
}

/// The weight of an answer of usual size, as in the cache of JWTs.
const UNIT: u64 = 3 * 1024;
/// The number of refusals that are kept.
const REFUSALS: usize = 4096;
