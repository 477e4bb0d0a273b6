//! The budgets, bounded in number.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter, clock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};

use crate::clock::Clock;

pub(super) struct Buckets {
    limiter: RateLimiter<u64, DashMapStateStore<u64>, Elapsed, NoOpMiddleware<Duration>>,
    seed: RandomState,
    capacity: usize,
    clock: Elapsed,
    /// Milliseconds since the start when full budgets may be forgotten again.
    sweep_at: AtomicU64,
}

impl Buckets {
    pub(super) fn new(quota: Quota, capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let clock = Elapsed {
            born: clock.monotonic(),
            clock,
        };
        Self {
            limiter: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()),
            seed: RandomState::new(),
            capacity,
            clock,
            sweep_at: AtomicU64::new(0),
        }
    }

    /// Takes one request from the key's budget, or says how long there will be none.
    pub(super) fn take(&self, key: Option<&str>) -> Result<(), Duration> {
        let hashed = self.seed.hash_one(key);
        // Past the capacity newcomers share, so that inventing keys costs an attacker budgets and
        // the server no memory.
        let bucket = if self.has_room() {
            hashed
        } else {
            hashed % SHARED
        };
        self.limiter
            .check_key(&bucket)
            .map_err(|denied| denied.wait_time_from(clock::Clock::now(&self.clock)))
    }

    fn has_room(&self) -> bool {
        if self.limiter.len() < self.capacity {
            return true;
        }
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
            // A full budget is as good as none.
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.len() < self.capacity
    }
}

/// Time since the start, by a clock of this crate.
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

const SHARED: u64 = 1024;
const SWEEP_MILLIS: u64 = 1000;
