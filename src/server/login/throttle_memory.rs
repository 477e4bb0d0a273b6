//! Login counters in the memory of one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    error::StoreError,
    server::login::{ThrottleKey, ThrottleRow},
    store::port::{LoadedThrottle, ThrottleStore},
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
    rows: Arc<Mutex<HashMap<ThrottleKey, ThrottleRow>>>,
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

    /// Deletes counters that no longer limit anything, and returns their number.
    pub(crate) fn purge(&self) -> u64 {
        let now = self.now();
        let mut rows = self.rows();
        let before = rows.len();
        rows.retain(|_, row| now < row.expires_at());
        (before - rows.len()) as u64
    }

    fn now(&self) -> Timestamp {
        let since = self.clock.monotonic().saturating_duration_since(self.start);
        // Never zero, which is the time of an unused row.
        Timestamp::from_millis(1).plus(since)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<ThrottleKey, ThrottleRow>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThrottleStore for MemoryThrottle {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        let now = self.now();
        Ok(LoadedThrottle::new(self.rows().get(key).copied(), now))
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let mut rows = self.rows();
        if rows.get(key) != from {
            return Ok(false);
        }
        let Some(to) = to else {
            rows.remove(key);
            return Ok(true);
        };
        if rows.len() >= self.capacity && from.is_none() {
            make_room(&mut rows, self.capacity, now);
        }
        rows.insert(*key, *to);
        Ok(true)
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

/// Evicts expired rows, and if these are not enough, further rows down to seven eighths of the
/// capacity. One search then serves many insertions.
fn make_room(rows: &mut HashMap<ThrottleKey, ThrottleRow>, capacity: usize, now: Timestamp) {
    rows.retain(|_, row| now < row.expires_at());
    let enough = capacity - capacity / 8;
    if rows.len() <= enough {
        return;
    }
    let weight = |row: &ThrottleRow| (row.weight(), row.expires_at());
    let mut ranked: Vec<_> = rows.iter().map(|(key, row)| (weight(row), *key)).collect();
    let excess = ranked.len() - enough;
    ranked.select_nth_unstable(excess);
    for (_, key) in ranked.into_iter().take(excess) {
        rows.remove(&key);
    }
}

const CAPACITY: usize = 100_000;

/// The memory of the default capacity, as documented.
const _: () =
    assert!(CAPACITY * (size_of::<ThrottleRow>() + size_of::<ThrottleKey>() + 1) < 10_000_000);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::login::throttle::{AttemptOutcome, Reserve, ThrottleRule};

    const RULE: ThrottleRule = ThrottleRule::PAIR;

    /// A clock that only the test moves.
    #[derive(Clone)]
    struct Still(Arc<Mutex<Instant>>);

    impl Still {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(Instant::now())))
        }

        fn advance(&self, seconds: u64) {
            *self.0.lock().unwrap() += Duration::from_secs(seconds);
        }
    }

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn monotonic(&self) -> Instant {
            *self.0.lock().unwrap()
        }
    }

    fn key(first: u8, number: u64) -> ThrottleKey {
        let mut key = [first; 16];
        key[8..].copy_from_slice(&number.to_be_bytes());
        ThrottleKey::from_bytes(key)
    }

    async fn reserve(store: &MemoryThrottle, key: ThrottleKey) -> Reserve<Timestamp> {
        let loaded = store.load(&key).await.unwrap();
        let mut row = loaded.row.unwrap_or_default();
        let reserved = row.reserve(&RULE, loaded.now);
        if let Reserve::Granted(_) = reserved {
            let swapped = store.swap(&key, loaded.row.as_ref(), Some(&row)).await;
            assert!(swapped.unwrap());
        }
        reserved
    }

    async fn fail(store: &MemoryThrottle, key: ThrottleKey) {
        let Reserve::Granted(batch) = reserve(store, key).await else {
            panic!("not granted");
        };
        let loaded = store.load(&key).await.unwrap();
        let mut row = loaded.row.unwrap();
        let _ = row.settle(&RULE, loaded.now, batch, AttemptOutcome::Failed);
        let swapped = store.swap(&key, loaded.row.as_ref(), Some(&row)).await;
        assert!(swapped.unwrap());
    }

    #[tokio::test]
    async fn a_hundred_thousand_names_stay_bounded_and_the_one_under_attack_is_kept() {
        let clock = Still::new();
        let store = MemoryThrottle::with_clock(clock.clone()).capacity(10_000);
        let attacked = key(255, 0);
        for _ in 0..5 {
            fail(&store, attacked).await;
        }
        let mut most = 0;
        for name in 0..100_000 {
            fail(&store, key(0, name)).await;
            most = most.max(store.len());
        }
        assert_eq!(most, 10_000);
        let still = reserve(&store, attacked).await;
        assert!(matches!(still, Reserve::Wait(_)), "{still:?}");
        // Expired counters make room first.
        clock.advance(3600);
        fail(&store, attacked).await;
        fail(&store, key(254, 0)).await;
        for name in 0..2_000 {
            fail(&store, key(1, name)).await;
        }
        assert!(store.len() < 10_000, "{}", store.len());
    }

    /// Attempts that are reserved and abandoned count as failed, and are forgotten as such.
    #[tokio::test]
    async fn u5_abandoned_attempts_neither_push_out_a_blocked_name_nor_stay_for_ever() {
        let clock = Still::new();
        let store = MemoryThrottle::with_clock(clock.clone()).capacity(64);
        for wait in [0, 0, 0, 0, 1, 2, 4, 8, 16] {
            fail(&store, key(255, 0)).await;
            if wait < 16 {
                clock.advance(wait);
            }
        }
        for round in [0, 1] {
            for name in 0..200 {
                let granted = reserve(&store, key(round, name)).await;
                assert!(matches!(granted, Reserve::Granted(_)));
            }
            let still = reserve(&store, key(255, 0)).await;
            assert!(matches!(still, Reserve::Wait(_)), "{round}: {still:?}");
            // The holds of the first round are now over; the wait is not.
            clock.advance(11);
        }
        assert!(store.len() > 50, "nearly full: {}", store.len());
        clock.advance(30 * 24 * 60 * 60);
        for name in 0..20 {
            let granted = reserve(&store, key(2, name)).await;
            assert!(matches!(granted, Reserve::Granted(_)));
        }
        assert!(store.len() <= 20, "{}", store.len());
    }
}
