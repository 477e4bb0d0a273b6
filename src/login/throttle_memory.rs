//! Login counters in the memory of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::StoreError,
    login::{
        AttemptOutcome, Reservation, Reserve, Settled, ThrottleKey, ThrottleRow, ThrottleRule,
        ThrottleStore,
    },
};

/// Login counters in the memory of one process, bounded.
///
/// Clones share their counters. They die with the process, and two processes count apart: a guesser
/// has as many times the attempts as there are processes.
///
/// When it is full, counters that are forgotten by now go first, then those with the fewest failures.
/// Whoever wants to push a counter out must therefore make as many failures at each of 100 000 other
/// names. An attempt that hangs up is one of them, and no more than that.
#[derive(Clone)]
pub struct MemoryThrottle {
    rows: Arc<Mutex<HashMap<ThrottleKey, Kept>>>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    start: Instant,
}

impl MemoryThrottle {
    /// Up to 100 000 counters, about 10 MB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// The same by another clock, of which only the monotonic half is used.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self {
            rows: Arc::default(),
            capacity: CAPACITY,
            start: clock.monotonic(),
            clock: Arc::new(clock),
        }
    }

    /// Keeps up to so many counters, at least 16. A name in use takes two.
    #[must_use]
    pub fn capacity(mut self, rows: usize) -> Self {
        self.capacity = rows.max(16);
        self
    }

    /// How many counters are kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// A counter as it stands; the default one where there is none.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        self.rows()
            .get(key)
            .map_or_else(Default::default, |kept| kept.row)
    }

    /// The time by which it counts.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.now()
    }

    /// Makes a counter older: takes this much from all of its times.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    pub fn age(&self, key: &ThrottleKey, by: std::time::Duration) {
        if let Some(Kept { row, weight }) = self.rows().get_mut(key) {
            for time in [
                &mut row.batch,
                &mut row.open_until,
                &mut row.blocked_until,
                &mut row.forgotten_at,
                &mut weight.forgotten_at,
            ] {
                *time = time.minus(by);
            }
        }
    }

    /// Forgets what says no more than an absent row; says how many those were.
    pub(crate) fn purge(&self) -> u64 {
        let now = self.now();
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|_, kept| !kept.is_spent(now));
        (before - rows.len()) as u64
    }

    fn now(&self) -> Timestamp {
        let since = self.clock.monotonic().saturating_duration_since(self.start);
        // Not zero, which is the time of a row that was never used.
        Timestamp::from_millis(1).plus(since)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<ThrottleKey, Kept>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve_now(&self, key: &ThrottleKey, rule: &ThrottleRule) -> Reserve<Reservation> {
        let now = self.now();
        let mut rows = self.rows();
        if rows.len() >= self.capacity && !rows.contains_key(key) {
            make_room(&mut rows, self.capacity, now);
        }
        match rows.entry(*key).or_default().reserve(rule, now) {
            Reserve::Granted(batch) => Reserve::Granted(Reservation::new(*key, *rule, batch)),
            Reserve::Pending(held) => Reserve::Pending(held),
            Reserve::Wait(wait) => Reserve::Wait(wait),
        }
    }

    fn settle_now(&self, reservation: &Reservation, outcome: AttemptOutcome) -> Settled {
        let now = self.now();
        let mut rows = self.rows();
        // A row that was pushed out says nothing any more.
        let Some(kept) = rows.get_mut(reservation.key()) else {
            return Settled::default();
        };
        let settled = kept.settle(reservation, now, outcome);
        if kept.is_spent(now) {
            rows.remove(reservation.key());
        }
        settled
    }
}

impl ThrottleStore for MemoryThrottle {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        Ok(self.reserve_now(key, rule))
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        Ok(self.settle_now(&reservation, outcome))
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.rows().remove(key);
        Ok(())
    }
}

impl Default for MemoryThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryThrottle")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// A counter, and what becomes of it should nobody settle its open attempts: only the rule of an
/// attempt says so, and whoever hung up does not come back with it.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    row: ThrottleRow,
    weight: Weight,
}

/// How much a counter says, and until when: the lightest go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    failures: u32,
    forgotten_at: Timestamp,
}

impl Kept {
    fn reserve(&mut self, rule: &ThrottleRule, now: Timestamp) -> Reserve<Timestamp> {
        let reserve = self.row.reserve(rule, now);
        self.weigh(rule);
        reserve
    }

    fn settle(
        &mut self,
        reservation: &Reservation,
        now: Timestamp,
        outcome: AttemptOutcome,
    ) -> Settled {
        let (rule, batch) = (reservation.rule(), reservation.batch());
        let settled = self.row.settle(rule, now, batch, outcome);
        self.weigh(rule);
        settled
    }

    /// An open attempt weighs as much as one that failed, which it is until it is settled.
    fn weigh(&mut self, rule: &ThrottleRule) {
        let mut row = self.row;
        if row.open > 0 {
            row.catch_up(rule, row.open_until);
        }
        self.weight = Weight {
            failures: row.failures,
            forgotten_at: row.forgotten_at,
        };
    }

    fn is_spent(&self, now: Timestamp) -> bool {
        self.weight.failures == 0 || now >= self.weight.forgotten_at
    }
}

/// Drops what is forgotten by now, or else an eighth of the rows, so that the search pays for many
/// insertions.
fn make_room(rows: &mut HashMap<ThrottleKey, Kept>, capacity: usize, now: Timestamp) {
    rows.retain(|_, kept| !kept.is_spent(now));
    let enough = capacity - capacity / 8;
    if rows.len() <= enough {
        return;
    }
    let mut ranked: Vec<_> = rows.iter().map(|(key, kept)| (kept.weight, *key)).collect();
    let excess = ranked.len() - enough;
    ranked.select_nth_unstable(excess);
    for (_, key) in ranked.into_iter().take(excess) {
        rows.remove(&key);
    }
}

const CAPACITY: usize = 100_000;

/// The default capacity's memory, as its doc says.
const _: () = assert!(CAPACITY * (size_of::<Kept>() + size_of::<ThrottleKey>() + 1) < 10_000_000);
