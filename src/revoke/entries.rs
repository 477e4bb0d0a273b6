//! The entries of a set: bounded by their lifetimes, 24 bytes each, read without contention.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::entry::{Revocation, Target};
use crate::clock::Timestamp;

/// What is revoked, by fingerprint.
///
/// A fingerprint is two seeded 64-bit hashes of the kind and the name. Nobody who does not know the
/// seeds can make two names meet, and a meeting by chance would refuse a good token, never let a
/// revoked one pass.
pub(super) struct Entries {
    seeds: [RandomState; 2],
    shards: [RwLock<Shard>; SHARDS],
    /// How many of each kind there are, so that what nobody revokes costs one load.
    counts: [AtomicUsize; KINDS],
}

#[derive(Default)]
struct Shard {
    map: HashMap<[u64; 2], Entry, BuildHasherDefault<AlreadyHashed>>,
    /// The size at which it is swept next.
    sweep_at: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Seconds since 1970, rounded up.
    until: u32,
    /// The kind in the upper two bits, below it the subject's epoch.
    tagged: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Token,
    Subject,
}

const KINDS: usize = 3;
const SHARDS: usize = 16;
const SWEEP_AT_LEAST: usize = 64;

impl Entries {
    pub(super) fn new() -> Self {
        Self {
            seeds: [RandomState::new(), RandomState::new()],
            shards: Default::default(),
            counts: Default::default(),
        }
    }

    pub(super) fn insert(&self, revocation: &Revocation, now: Timestamp) {
        let (kind, name, epoch) = match revocation.target() {
            Target::Session(id) => (Kind::Session, id, 0),
            Target::Token(id) => (Kind::Token, id, 0),
            Target::Subject { subject, epoch } => (Kind::Subject, subject, *epoch),
        };
        if revocation.until() <= now {
            return;
        }
        let added = Entry {
            until: seconds_up(revocation.until()),
            tagged: kind.tag() | epoch.min(EPOCH),
        };
        let fingerprint = self.fingerprint(kind, name);
        let Some(shard) = self.shard(fingerprint) else {
            return;
        };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.map.len() >= shard.sweep_at {
            self.sweep(&mut shard, now);
        }
        match shard.map.get_mut(&fingerprint) {
            Some(entry) => {
                entry.until = entry.until.max(added.until);
                entry.tagged = entry.tagged.max(added.tagged);
            }
            None => {
                shard.map.insert(fingerprint, added);
                self.count(kind).fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The epoch of what is revoked under this name; 0 where there is no epoch to it.
    pub(super) fn find(
        &self,
        kind: Kind,
        name: &str,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<u32> {
        if self.is_empty_of(kind) {
            return None;
        }
        let fingerprint = self.fingerprint(kind, name);
        let shard = self.shard(fingerprint)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let entry = *shard.map.get(&fingerprint)?;
        drop(shard);
        (i64::from(entry.until) * 1000 > now().as_millis()).then_some(entry.tagged & EPOCH)
    }

    pub(super) fn is_empty_of(&self, kind: Kind) -> bool {
        self.count(kind).load(Ordering::Acquire) == 0
    }

    pub(super) fn len(&self) -> usize {
        let loaded = |count: &AtomicUsize| count.load(Ordering::Acquire);
        self.counts.iter().map(loaded).sum()
    }

    /// Forgets what has ended.
    pub(super) fn expire(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            self.sweep(&mut shard, now);
        }
    }

    /// Done when a shard has doubled, so that an insertion costs the same whatever their number.
    fn sweep(&self, shard: &mut Shard, now: Timestamp) {
        let mut gone = [0; KINDS];
        shard.map.retain(|_, entry| {
            let lives = i64::from(entry.until) * 1000 > now.as_millis();
            if let Some(gone) = gone.get_mut((entry.tagged >> KIND_SHIFT) as usize) {
                *gone += usize::from(!lives);
            }
            lives
        });
        for (count, gone) in self.counts.iter().zip(gone) {
            count.fetch_sub(gone, Ordering::Release);
        }
        if shard.map.capacity() > 4 * shard.map.len().max(SWEEP_AT_LEAST) {
            let room = 2 * shard.map.len().max(SWEEP_AT_LEAST);
            shard.map.shrink_to(room);
        }
        shard.sweep_at = 2 * shard.map.len().max(SWEEP_AT_LEAST);
    }

    fn fingerprint(&self, kind: Kind, name: &str) -> [u64; 2] {
        self.seeds
            .each_ref()
            .map(|seed| seed.hash_one((kind.tag(), name)))
    }

    fn shard(&self, [_, high]: [u64; 2]) -> Option<&RwLock<Shard>> {
        self.shards.get(high as usize % SHARDS)
    }

    fn count(&self, kind: Kind) -> &AtomicUsize {
        let [session, token, subject] = &self.counts;
        match kind {
            Kind::Session => session,
            Kind::Token => token,
            Kind::Subject => subject,
        }
    }
}

impl Kind {
    fn tag(self) -> u32 {
        (self as u32) << KIND_SHIFT
    }
}

const KIND_SHIFT: u32 = 30;
const EPOCH: u32 = (1 << KIND_SHIFT) - 1;

fn seconds_up(time: Timestamp) -> u32 {
    let seconds = time.as_millis().saturating_add(999) / 1000;
    u32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { u32::MAX })
}

/// A fingerprint is hashed already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    // Called with the length of the array.
    fn write_usize(&mut self, _: usize) {}

    fn write(&mut self, bytes: &[u8]) {
        if let Some(half) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*half);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
