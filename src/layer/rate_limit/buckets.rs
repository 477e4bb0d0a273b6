//! The budgets, bounded in number.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware};

use super::store::Store;
use crate::time::Clock;

pub(super) struct Buckets {
    limiter: RateLimiter<u64, Store, Elapsed, NoOpMiddleware<Duration>>,
    seed: RandomState,
    capacity: usize,
    clock: Elapsed,
    /// The time of the next sweep of full budgets, in milliseconds since the start.
    sweep_at: AtomicU64,
}

impl Buckets {
    pub(super) fn new(quota: Quota, capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let clock = Elapsed {
            born: clock.monotonic(),
            clock,
        };
        Self {
            limiter: RateLimiter::new(quota, Store::new(capacity), clock.clone()),
            seed: RandomState::new(),
            capacity,
            clock,
            sweep_at: AtomicU64::new(0),
        }
    }

    /// Takes one request from the key's budget. The error is the time until the next request is
    /// allowed.
    pub(super) fn take(&self, key: Option<&str>) -> Result<(), Duration> {
        if self.limiter.len() >= self.capacity {
            self.sweep();
        }
        self.limiter
            .check_key(&self.seed.hash_one(key))
            .map_err(|denied| denied.wait_time_from(clock::Clock::now(&self.clock)))
    }

    /// Deletes full budgets, which are equivalent to new ones; at most once a second.
    fn sweep(&self) {
        let now = clock::Clock::now(&self.clock).as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let due = self.sweep_at.load(Ordering::Relaxed);
        let next = now.saturating_add(SWEEP_MILLIS);
        let exchange = |due| {
            self.sweep_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if now >= due && exchange(due) {
            self.limiter.retain_recent();
        }
    }
}

/// The time since the start, by a clock of this crate.
#[derive(Clone)]
struct Elapsed {
    born: Instant,
    clock: Arc<dyn Clock>,
}

impl clock::Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.clock.monotonic().saturating_duration_since(self.born)
    }
}

const SWEEP_MILLIS: u64 = 1000;
