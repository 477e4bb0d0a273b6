//! The decision if a token that was verified for the first time is stored.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed},
};

use crate::time::Timestamp;

/// Admits tokens to a cache.
///
/// While there is room, every token is stored. An eviction of an expired token makes room, too. An
/// eviction of a valid token shows that the valid tokens do not fit. From then on a token is stored
/// when it is verified for the second time, so that tokens that are sent once displace no others and
/// cost no insertion. A token that returns shows that tokens are sent several times here, and admits
/// the next eight at their first verification.
///
/// Of a token that was verified once, a mark of 32 bits remains: a part of its seeded hash. A newer
/// mark replaces an older one in the same place. A false match stores a token early, which is
/// harmless, because only verified tokens come here.
pub(super) struct Admission {
    is_crowded: AtomicBool,
    /// The number of tokens to admit at their first verification.
    credit: AtomicU32,
    /// The time of the last insertion, with which an eviction compares.
    now: AtomicI64,
    /// Created at the first eviction of a valid token.
    marks: OnceLock<Box<[AtomicU32]>>,
    places: usize,
}

impl Admission {
    pub(super) fn new(capacity: usize) -> Self {
        let places = capacity.clamp(MIN_PLACES / 2, MAX_PLACES / 2) * 2;
        Self {
            is_crowded: AtomicBool::new(false),
            credit: AtomicU32::new(0),
            now: AtomicI64::new(i64::MIN),
            marks: OnceLock::new(),
            places: places.next_power_of_two(),
        }
    }

    /// Returns `true` if the token with this hash, verified at `now`, is to be stored.
    pub(super) fn admits(&self, hash: u64, now: Timestamp) -> bool {
        self.now.store(now.as_millis(), Relaxed);
        if !self.is_crowded.load(Relaxed) {
            return true;
        }
        // Concurrent requests may lose a credit, which is an estimate.
        let credit = self.credit.load(Relaxed);
        if self.mark(hash) {
            self.credit
                .store((credit + CREDIT).min(MAX_CREDIT), Relaxed);
            return true;
        }
        if credit > 0 {
            self.credit.store(credit - 1, Relaxed);
        }
        credit > 0
    }

    /// Records the eviction of a token.
    pub(super) fn evicts(&self, hash: u64, valid_until: Timestamp) {
        let is_valid = valid_until.as_millis() > self.now.load(Relaxed);
        self.is_crowded.store(is_valid, Relaxed);
        if is_valid {
            // The token may return, and was sent before.
            self.mark(hash);
        }
    }

    /// Leaves the mark of a token. Returns `true` if it was there.
    fn mark(&self, hash: u64) -> bool {
        let marks = self.marks.get_or_init(|| {
            let empty = (0..self.places).map(|_| AtomicU32::new(0));
            empty.collect()
        });
        // Zero is an empty place.
        let mark = (hash >> 32) as u32 | 1;
        let place = hash as usize & (self.places - 1);
        let Some(place) = marks.get(place) else {
            return true;
        };
        let was_there = place.load(Relaxed) == mark;
        if !was_there {
            place.store(mark, Relaxed);
        }
        was_there
    }
}

/// One of nine tokens has to return for the insertions of all to be worth their time.
const CREDIT: u32 = 8;
const MAX_CREDIT: u32 = 64;
const MIN_PLACES: usize = 64;
/// 16 MiB.
const MAX_PLACES: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const LATER: Timestamp = Timestamp::from_secs(1_001);

    #[test]
    fn with_room_every_token_is_admitted() {
        let admission = Admission::new(10);
        for hash in 0..100 {
            assert!(admission.admits(hash << 40, NOW));
        }
        // An expired token made room.
        admission.evicts(1, NOW);
        assert!(admission.admits(7, NOW));
    }

    #[test]
    fn without_room_a_token_is_admitted_at_the_second_time() {
        let admission = Admission::new(10);
        assert!(admission.admits(1 << 40, NOW));
        admission.evicts(1 << 40, LATER);
        let unseen = [2 << 40, 3 << 40 | 1, 4 << 40 | 2];
        assert!(unseen.iter().all(|hash| !admission.admits(*hash, NOW)));
        assert!(unseen.iter().all(|hash| admission.admits(*hash, NOW)));
        // The evicted token was sent before.
        let admission = Admission::new(10);
        assert!(admission.admits(1 << 40, NOW));
        admission.evicts(1 << 40, LATER);
        assert!(admission.admits(1 << 40, NOW));
    }

    #[test]
    fn a_token_that_returns_admits_the_next_ones() {
        let admission = Admission::new(1_000);
        admission.evicts(0, LATER);
        let unseen = |number: u64| number << 40 | number;
        let admitted = |numbers: std::ops::Range<u64>| {
            numbers
                .filter(|number| admission.admits(unseen(*number), NOW))
                .count()
        };
        assert_eq!(admitted(1..100), 0);
        assert!(admission.admits(unseen(99), NOW));
        assert_eq!(admitted(100..200), 8);
        // Not more than some in advance.
        assert_eq!(admitted(1..100), 99);
        assert_eq!(admitted(200..400), 64);
    }

    #[test]
    fn an_expired_token_that_is_evicted_shows_that_there_is_room_again() {
        let admission = Admission::new(10);
        assert!(admission.admits(1, NOW));
        admission.evicts(1, LATER);
        assert!(!admission.admits(2 << 40, LATER));
        admission.evicts(3, LATER);
        assert!(admission.admits(4 << 40, LATER));
    }

    #[test]
    fn a_newer_mark_replaces_an_older_one() {
        let admission = Admission::new(1);
        admission.evicts(0, LATER);
        assert!(!admission.admits(1 << 40, NOW));
        assert!(!admission.admits(2 << 40, NOW));
        assert!(!admission.admits(1 << 40, NOW));
    }

    #[test]
    fn the_number_of_marks_is_bounded() {
        assert_eq!(Admission::new(0).places, MIN_PLACES);
        assert_eq!(Admission::new(10_000).places, 32_768);
        assert_eq!(Admission::new(usize::MAX).places, MAX_PLACES);
    }
}
