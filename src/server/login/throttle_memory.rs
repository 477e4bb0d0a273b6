//! Login counters in the memory of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    error::StoreError,
    server::login::{ThrottleKey, ThrottleRow, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
    time::{Clock, SystemClock, Timestamp},
};

/// Login counters in the memory of one process, with a bounded size.
///
/// Clones share their counters. The counters are lost when the process ends, and every process
/// counts separately: with several processes, an attacker has that many times the attempts.
///
/// When the store is full, expired counters are evicted first, then those with the fewest failures.
/// To evict a counter, an attacker must cause as many failures at each of 100 000 other names. An
/// attempt whose client disconnects counts as one failure.
#[derive(Clone)]
pub struct MemoryThrottle {
    rows: Arc<Mutex<HashMap<ThrottleKey, Kept>>>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    start: Instant,
}

impl MemoryThrottle {
    /// Creates a store of up to 100 000 counters, about 10 MB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock::new())
    }

    /// Creates a store with another clock, of which only the monotonic time is used.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self {
            rows: Arc::default(),
            capacity: CAPACITY,
            start: clock.monotonic(),
            clock: Arc::new(clock),
        }
    }

    /// Sets the maximum number of counters, at least 16. A name in use takes two.
    #[must_use]
    pub fn capacity(mut self, rows: usize) -> Self {
        self.capacity = rows.max(16);
        self
    }

    /// Returns the number of counters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Returns `true` if there is no counter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// Returns a counter; the default one if it does not exist.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        self.rows()
            .get(key)
            .map_or_else(Default::default, |kept| kept.row)
    }

    /// Returns the current time of the store.
    #[cfg(any(test, feature = "test-util"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.now()
    }

    /// Makes a counter older: subtracts this duration from all of its times.
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

    /// Deletes counters that no longer limit anything, and returns their number.
    pub(crate) fn purge(&self) -> u64 {
        let now = self.now();
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|_, kept| !kept.is_spent(now));
        (before - rows.len()) as u64
    }

    fn now(&self) -> Timestamp {
        let since = self.clock.monotonic().saturating_duration_since(self.start);
        // Never zero, which is the time of an unused row.
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
        // The row was evicted, so there is nothing to settle.
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

/// A counter and its weight. The weight assumes that the open attempts are never settled. It is
/// computed when the rule is known, because eviction has no rule.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    row: ThrottleRow,
    weight: Weight,
}

/// The eviction priority of a counter: the lightest counters are evicted first.
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

    /// Updates the weight. An open attempt weighs as much as a failed one until it is settled.
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

/// Evicts expired rows, and if these are not enough, further rows down to seven eighths of the
/// capacity. One search then serves many insertions.
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

/// The memory of the default capacity, as documented.
const _: () = assert!(CAPACITY * (size_of::<Kept>() + size_of::<ThrottleKey>() + 1) < 10_000_000);
