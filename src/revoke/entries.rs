//! The entries of a set: bounded by their lifetimes, 24 bytes each, read without contention.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use super::entry::{Revocation, Target};
use crate::clock::Timestamp;

/// What is revoked, by kind and fingerprint.
///
/// A fingerprint is two seeded 64-bit hashes of a name. Nobody who does not know the seeds can make
/// two names meet, and a meeting by chance would refuse a good token, never let a revoked one pass.
pub(super) struct Entries {
    seeds: [RandomState; 2],
    sessions: Table,
    tokens: Table,
    subjects: Table,
    issued_before: IssuedBefore,
}

/// What is older is revoked; and until when that matters. In milliseconds, 0 for nothing.
#[derive(Default)]
struct IssuedBefore {
    time: AtomicI64,
    until: AtomicI64,
}

impl IssuedBefore {
    fn raise(&self, time: Timestamp, until: Timestamp) {
        self.until.fetch_max(until.as_millis(), Ordering::AcqRel);
        self.time.fetch_max(time.as_millis(), Ordering::AcqRel);
    }
}

#[derive(Default)]
struct Table {
    shards: [RwLock<Shard>; SHARDS],
    /// How many there are, so that what nobody revokes costs one load. Changed under the lock of
    /// the shard that changes: an entry that can be found is always counted.
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    map: HashMap<Fingerprint, Entry, BuildHasherDefault<AlreadyHashed>>,
    /// The size at which it is swept next.
    sweep_at: usize,
}

type Fingerprint = [u64; 2];

#[derive(Clone, Copy)]
struct Entry {
    /// Seconds since 1970, rounded up.
    until: u32,
    /// The subject's; 0 where there is no epoch to it.
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    Token,
    Subject,
}

const SHARDS: usize = 16;
const SWEEP_AT_LEAST: usize = 64;

impl Entries {
    pub(super) fn new() -> Self {
        Self {
            seeds: [RandomState::new(), RandomState::new()],
            sessions: Table::default(),
            tokens: Table::default(),
            subjects: Table::default(),
            issued_before: IssuedBefore::default(),
        }
    }

    pub(super) fn insert(&self, revocation: &Revocation, now: Timestamp) {
        let (kind, name, epoch) = match revocation.target() {
            Target::IssuedBefore(time) => {
                return self.issued_before.raise(*time, revocation.until());
            }
            Target::Session(id) => (Kind::Session, id, 0),
            Target::Token(id) => (Kind::Token, id, 0),
            Target::Subject { subject, epoch } => (Kind::Subject, subject, *epoch),
        };
        let until = seconds_up(revocation.until());
        let entry = Entry { until, epoch };
        if entry.lives(now) {
            let fingerprint = self.fingerprint(name);
            self.table(kind).insert(fingerprint, entry, now);
        }
    }

    /// The epoch of what is revoked under this name; 0 where there is no epoch to it.
    pub(super) fn find(
        &self,
        kind: Kind,
        name: &str,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<u32> {
        let table = self.table(kind);
        if table.len() == 0 {
            return None;
        }
        let entry = table.get(self.fingerprint(name))?;
        entry.lives(now()).then_some(entry.epoch)
    }

    /// What was issued before this is revoked.
    pub(super) fn issued_before(&self, now: impl FnOnce() -> Timestamp) -> Option<Timestamp> {
        let time = self.issued_before.time.load(Ordering::Acquire);
        if time == 0 {
            return None;
        }
        let until = self.issued_before.until.load(Ordering::Acquire);
        (until > now().as_millis()).then(|| Timestamp::from_millis(time))
    }

    pub(super) fn len(&self) -> usize {
        self.tables().map(Table::len).iter().sum()
    }

    /// Forgets what has ended.
    pub(super) fn expire(&self, now: Timestamp) {
        for table in self.tables() {
            for shard in &table.shards {
                let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
                table.sweep(&mut shard, now);
            }
        }
    }

    fn fingerprint(&self, name: &str) -> Fingerprint {
        self.seeds.each_ref().map(|seed| seed.hash_one(name))
    }

    fn table(&self, kind: Kind) -> &Table {
        match kind {
            Kind::Session => &self.sessions,
            Kind::Token => &self.tokens,
            Kind::Subject => &self.subjects,
        }
    }

    fn tables(&self) -> [&Table; 3] {
        [&self.sessions, &self.tokens, &self.subjects]
    }
}

impl Table {
    fn insert(&self, fingerprint: Fingerprint, added: Entry, now: Timestamp) {
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
                entry.epoch = entry.epoch.max(added.epoch);
            }
            None => {
                shard.map.insert(fingerprint, added);
                self.count.fetch_add(1, Ordering::Release);
            }
        }
    }

    fn get(&self, fingerprint: Fingerprint) -> Option<Entry> {
        let shard = self.shard(fingerprint)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        shard.map.get(&fingerprint).copied()
    }

    /// Done when a shard has doubled, so that an insertion costs the same whatever their number.
    fn sweep(&self, shard: &mut Shard, now: Timestamp) {
        let before = shard.map.len();
        shard.map.retain(|_, entry| entry.lives(now));
        let left = shard.map.len();
        self.count.fetch_sub(before - left, Ordering::Release);
        let room = 2 * left.max(SWEEP_AT_LEAST);
        if shard.map.capacity() > 2 * room {
            shard.map.shrink_to(room);
        }
        shard.sweep_at = room;
    }

    fn shard(&self, [_, high]: Fingerprint) -> Option<&RwLock<Shard>> {
        self.shards.get(high as usize % SHARDS)
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Entry {
    fn lives(self, now: Timestamp) -> bool {
        i64::from(self.until) * 1000 > now.as_millis()
    }
}

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
