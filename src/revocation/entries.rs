//! The entries of a revocation set: bounded by their lifetimes, 24 bytes each, with sharded locks.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::entry::{RETENTION, Revocation, RevocationTarget};
use crate::time::Timestamp;

/// Revocations by kind and fingerprint.
///
/// A fingerprint has 96 bits, taken from two seeded hashes of a name. Without the seeds an attacker
/// cannot construct a collision. A collision by chance refuses a valid token; it never accepts a
/// revoked one.
///
/// An entry ends when it has ended by both clocks: the wall clock has passed its `until`, and the
/// monotonic clock has counted [`RETENTION`] since the insertion. A wall clock that is temporarily
/// wrong can neither reject a new entry nor remove an existing one too early.
pub(super) struct Entries {
    seeds: [RandomState; 2],
    sessions: Table,
    tokens: Table,
    subjects: Table,
    /// Both kinds of revoked tokens of a subject, so that a caller costs one look at the count.
    subject_tokens: Table,
    issued_before: IssuedBefore,
}

/// The current time by both clocks. Each is read only if needed; the monotonic one seldom is.
pub(super) trait Now {
    fn wall(&self) -> Timestamp;

    /// The time since the set was created.
    fn elapsed(&self) -> Duration;
}

/// One reading of both clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) elapsed: Duration,
}

impl Now for Moment {
    fn wall(&self) -> Timestamp {
        self.wall
    }

    fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// The time before which issued tokens are revoked, and the end of that revocation. Both are in
/// milliseconds since 1970; 0 means none.
#[derive(Default)]
struct IssuedBefore {
    time: AtomicI64,
    until: AtomicI64,
    kept: AtomicU32,
}

impl IssuedBefore {
    fn raise(&self, time: Timestamp, until: Timestamp, now: Moment) {
        self.kept.fetch_max(kept_from(now), Ordering::AcqRel);
        self.until.fetch_max(until.as_millis(), Ordering::AcqRel);
        self.time.fetch_max(time.as_millis(), Ordering::AcqRel);
    }
}

#[derive(Default)]
struct Table {
    shards: [RwLock<Shard>; SHARDS],
    /// The number of entries, so that a lookup in an empty table costs one atomic load. It is
    /// changed under the lock of the affected shard, so that every entry that a lookup can find is
    /// counted.
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    map: HashMap<Fingerprint, Entry, BuildHasherDefault<AlreadyHashed>>,
    /// The number of entries at which the next sweep runs.
    sweep_at: usize,
}

/// Numbers of the same width as those of an entry, so that both together take 24 bytes.
type Fingerprint = [u32; 3];

/// The key of an entry.
pub(super) type Name = (Kind, Fingerprint);

#[derive(Clone, Copy)]
struct Entry {
    /// The end by the wall clock, in seconds since 1970, rounded up.
    until: u32,
    /// The end by the monotonic clock, in seconds since the set was created, rounded up. The entry
    /// is kept until then, independent of the wall clock.
    kept: u32,
    /// The subject's epoch, or the latest revoked `iat` in seconds since 1970; 0 for other entries.
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Session,
    Token,
    Subject,
    /// All tokens of a subject up to a time of issue.
    SubjectTokens,
    /// The tokens of a subject that name no session.
    SessionlessTokens,
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
            subject_tokens: Table::default(),
            issued_before: IssuedBefore::default(),
        }
    }

    /// Adds an entry and returns its name. Returns `None` for an entry that concerns every caller.
    pub(super) fn insert(&self, revocation: &Revocation, now: Moment) -> Option<Name> {
        let (kind, name, epoch) = match revocation.target() {
            RevocationTarget::IssuedBefore(time) => {
                self.issued_before.raise(*time, revocation.until(), now);
                return None;
            }
            RevocationTarget::Session(id) => (Kind::Session, id, 0),
            RevocationTarget::Token(id) => (Kind::Token, id, 0),
            RevocationTarget::Subject { subject, epoch } => (Kind::Subject, subject, *epoch),
            RevocationTarget::SubjectTokens {
                subject,
                issued_until,
                without_session,
            } => {
                let kind = match without_session {
                    true => Kind::SessionlessTokens,
                    false => Kind::SubjectTokens,
                };
                (kind, subject, second_of(*issued_until))
            }
        };
        let entry = Entry {
            until: seconds_up(revocation.until()),
            kept: kept_from(now),
            epoch,
        };
        let fingerprint = self.fingerprint(kind, name);
        self.table(kind).insert(fingerprint, entry, now);
        Some((kind, fingerprint))
    }

    pub(super) fn name(&self, kind: Kind, name: &str) -> Name {
        (kind, self.fingerprint(kind, name))
    }

    /// Returns the number of the entry under this name: a subject's epoch, the second up to which its
    /// tokens are revoked, or 0.
    pub(super) fn find(&self, kind: Kind, name: &str, now: &impl Now) -> Option<u32> {
        let table = self.table(kind);
        if table.len() == 0 {
            return None;
        }
        let entry = table.get(self.fingerprint(kind, name))?;
        entry.lives(now).then_some(entry.epoch)
    }

    /// Returns the time before which issued tokens are revoked.
    pub(super) fn issued_before(&self, now: &impl Now) -> Option<Timestamp> {
        let time = self.issued_before.time.load(Ordering::Acquire);
        if time == 0 {
            return None;
        }
        let until = self.issued_before.until.load(Ordering::Acquire);
        let lives = until > now.wall().as_millis()
            || is_kept(self.issued_before.kept.load(Ordering::Acquire), now);
        lives.then(|| Timestamp::from_millis(time))
    }

    pub(super) fn len(&self) -> usize {
        self.tables().map(Table::len).iter().sum()
    }

    /// Returns `true` if nothing is revoked. Costs a load for each table, and reads no name.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.tables().iter().all(|table| table.len() == 0)
            && self.issued_before.time.load(Ordering::Acquire) == 0
    }

    /// Removes the entries that have ended.
    pub(super) fn expire(&self, now: Moment) {
        for table in self.tables() {
            for shard in &table.shards {
                let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
                table.sweep(&mut shard, now);
            }
        }
    }

    fn fingerprint(&self, kind: Kind, name: &str) -> Fingerprint {
        let [first, second] = self.seeds.each_ref().map(|seed| seed.hash_one(name));
        let [low, high] = [first as u32, (first >> 32) as u32];
        match kind {
            // Shares a table with the other kind, under another name.
            Kind::SessionlessTokens => [high, low, second as u32],
            _ => [low, high, second as u32],
        }
    }

    fn table(&self, kind: Kind) -> &Table {
        match kind {
            Kind::Session => &self.sessions,
            Kind::Token => &self.tokens,
            Kind::Subject => &self.subjects,
            Kind::SubjectTokens | Kind::SessionlessTokens => &self.subject_tokens,
        }
    }

    fn tables(&self) -> [&Table; 4] {
        [
            &self.sessions,
            &self.tokens,
            &self.subjects,
            &self.subject_tokens,
        ]
    }
}

impl Table {
    fn insert(&self, fingerprint: Fingerprint, added: Entry, now: Moment) {
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
                entry.kept = entry.kept.max(added.kept);
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

    /// Runs when a shard has doubled in size, so that insertion takes amortized constant time.
    fn sweep(&self, shard: &mut Shard, now: Moment) {
        let before = shard.map.len();
        shard.map.retain(|_, entry| entry.lives(&now));
        let left = shard.map.len();
        self.count.fetch_sub(before - left, Ordering::Release);
        let room = 2 * left.max(SWEEP_AT_LEAST);
        if shard.map.capacity() > 2 * room {
            shard.map.shrink_to(room);
        }
        shard.sweep_at = room;
    }

    fn shard(&self, [_, _, high]: Fingerprint) -> Option<&RwLock<Shard>> {
        self.shards.get(high as usize % SHARDS)
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl Entry {
    fn lives(self, now: &impl Now) -> bool {
        i64::from(self.until) * 1000 > now.wall().as_millis() || is_kept(self.kept, now)
    }
}

fn is_kept(kept: u32, now: &impl Now) -> bool {
    u64::from(kept) > now.elapsed().as_secs()
}

/// The wall clock may be wrong, so the remaining life of a token is unknown. The full lifetime is
/// safe.
fn kept_from(now: Moment) -> u32 {
    let kept = now.elapsed.saturating_add(RETENTION).as_secs();
    u32::try_from(kept).map_or(u32::MAX, |kept| kept.saturating_add(1))
}

/// Returns the second of a time of issue. A time after 2106 counts as the last one.
fn second_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_secs().max(0)).unwrap_or(u32::MAX)
}

fn seconds_up(time: Timestamp) -> u32 {
    let seconds = time.as_millis().saturating_add(999) / 1000;
    u32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { u32::MAX })
}

/// A hasher that uses the fingerprint itself, which is already a hash.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    // The array calls this with its length.
    fn write_usize(&mut self, _: usize) {}

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
