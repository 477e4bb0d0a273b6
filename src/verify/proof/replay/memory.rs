//! The used proofs that this process remembers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::ProofId;
use crate::{key::Thumbprint, time::Timestamp};

/// A bounded memory of used proofs, fair between keys.
///
/// Nothing is evicted before its time. A key may have a further proof as long as it has fewer than there are
/// free places ("dynamic threshold", as in the shared buffers of switches). One busy key thus fills half of
/// the memory and then is refused, two fill a third each, and a new key always finds a place.
///
/// A proof is forgotten when it has ended by both clocks. A wall clock that is temporarily wrong therefore
/// makes no used proof new.
pub(crate) struct Memory {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    used: HashSet<Digest>,
    /// The proofs by the second after which they are forgotten.
    ends: BTreeMap<i64, Ending>,
    /// The number of proofs of each key.
    keys: HashMap<Thumbprint, usize>,
}

/// The proofs that end in one second of the wall clock.
struct Ending {
    proofs: Vec<(Digest, Thumbprint)>,
    /// The end of the last one by the monotonic clock.
    kept: Instant,
}

/// The current time by both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Instant,
}

/// Half of a proof's digest. An attacker who finds two proofs with one digest has both keys.
type Digest = [u8; 16];

/// The result of a look for a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The proof is new.
    Free,
    /// The proof was used before.
    Taken,
    /// The key has too many proofs.
    Full,
}

impl Memory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            inner: Mutex::default(),
        }
    }

    /// Looks for a proof whose signature is not verified yet. Nothing is recorded.
    pub(crate) fn look(&self, proof: &ProofId, now: Moment) -> Place {
        let mut inner = self.lock();
        inner.forget(now);
        inner.place(proof, self.capacity)
    }

    /// Records a proof with a verified signature, until this time.
    pub(crate) fn record(&self, proof: &ProofId, until: Timestamp, now: Moment) -> Place {
        let mut inner = self.lock();
        inner.forget(now);
        let place = inner.place(proof, self.capacity);
        if place == Place::Free {
            let digest = digest(proof);
            let key = *proof.key_thumbprint();
            inner.used.insert(digest);
            // Kept for a second more, because the time is rounded down.
            let end = until.as_secs().saturating_add(1);
            let left = until.since(now.wall).saturating_add(SECOND);
            let kept = now.monotonic.checked_add(left).unwrap_or(now.monotonic);
            let ending = inner.ends.entry(end).or_insert_with(|| Ending {
                proofs: Vec::new(),
                kept,
            });
            ending.proofs.push((digest, key));
            ending.kept = ending.kept.max(kept);
            *inner.keys.entry(key).or_default() += 1;
        }
        place
    }

    /// Returns the number of proofs.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn len(&self) -> usize {
        self.lock().used.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No method panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn place(&self, proof: &ProofId, capacity: usize) -> Place {
        if self.used.contains(&digest(proof)) {
            return Place::Taken;
        }
        let own = self.keys.get(proof.key_thumbprint()).copied();
        let free = capacity.saturating_sub(self.used.len());
        match own.unwrap_or_default() < free {
            true => Place::Free,
            false => Place::Full,
        }
    }

    /// Removes the proofs whose time has passed. Each is removed once, so that a request pays for about one.
    fn forget(&mut self, now: Moment) {
        while let Some(first) = self.ends.first_entry() {
            if *first.key() >= now.wall.as_secs() || first.get().kept > now.monotonic {
                return;
            }
            for (digest, key) in first.remove().proofs {
                self.used.remove(&digest);
                if let Some(count) = self.keys.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        self.keys.remove(&key);
                    }
                }
            }
            // The tables keep the room of a busy time only while it is in use.
            if self.used.len() < self.used.capacity() / 8 {
                self.used.shrink_to(self.used.len() * 2);
                self.keys.shrink_to(self.keys.len() * 2);
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn digest(proof: &ProofId) -> Digest {
    let (half, _) = proof
        .as_bytes()
        .split_first_chunk()
        .unwrap_or((&[0; 16], &[]));
    *half
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn proof(key: u8, id: usize) -> ProofId {
        ProofId::new([key; 32], &id.to_string()).unwrap()
    }

    fn end(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_000 + seconds)
    }

    /// A time by clocks that agree.
    fn at(seconds: i64) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment {
            wall: end(seconds),
            monotonic: *START + Duration::from_secs(seconds.try_into().unwrap()),
        }
    }

    #[test]
    fn g14_a_proof_is_new_once_until_its_end() {
        let memory = Memory::new(100);
        let one = proof(1, 1);
        assert_eq!(memory.look(&one, at(0)), Place::Free);
        assert_eq!(memory.record(&one, end(60), at(0)), Place::Free);
        assert_eq!(memory.look(&one, at(1)), Place::Taken);
        assert_eq!(memory.record(&one, end(60), at(60)), Place::Taken);
        assert_eq!(memory.look(&one, at(62)), Place::Free);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn g15_the_same_identifier_of_another_key_is_another_proof() {
        let memory = Memory::new(100);
        assert_eq!(memory.record(&proof(1, 1), end(60), at(0)), Place::Free);
        assert_eq!(memory.record(&proof(2, 1), end(60), at(0)), Place::Free);
    }

    #[test]
    fn g18_a_flood_of_one_key_is_refused_and_takes_no_place_of_another() {
        let memory = Memory::new(1_000);
        let taken = |key: u8, flood: usize| {
            (0..flood)
                .filter(|id| memory.record(&proof(key, *id), end(60), at(0)) == Place::Free)
                .count()
        };
        // What another key recorded before is kept.
        assert_eq!(taken(9, 10), 10);
        assert_eq!(taken(1, 200_000), 495);
        assert_eq!(memory.len(), 505);
        // A second flood has fewer places, and a quiet key still has some.
        assert_eq!(taken(2, 200_000), 248);
        assert_eq!(taken(3, 10), 10);
        assert!((0..10).all(|id| memory.look(&proof(9, id), at(0)) == Place::Taken));
        // Everything is forgotten in time.
        assert_eq!(memory.look(&proof(1, 0), at(62)), Place::Free);
        assert_eq!(memory.len(), 0);
        assert!(memory.lock().keys.is_empty() && memory.lock().ends.is_empty());
    }

    #[test]
    fn g18_the_memory_never_exceeds_its_capacity() {
        let memory = Memory::new(100);
        for key in 0..=255 {
            for id in 0..50 {
                memory.record(&proof(key, id), end(60), at(0));
            }
        }
        assert!(memory.len() <= 100);
        assert_eq!(memory.record(&proof(0, 99), end(60), at(0)), Place::Full);
    }

    #[test]
    fn g34_of_many_equal_proofs_on_many_threads_one_is_first() {
        let memory = Memory::new(1_000);
        let first: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter(|id| {
                                memory.record(&proof(1, *id), end(60), at(0)) == Place::Free
                            })
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(first, 100);
    }
}
