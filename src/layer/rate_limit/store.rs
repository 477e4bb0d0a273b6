//! The storage of the budgets.

use std::{
    array,
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore, keyed::ShrinkableKeyedStateStore},
};

/// Budgets by hashed key, up to a capacity.
///
/// Above the capacity new keys share budgets. An attacker who invents keys cannot make the server
/// allocate more memory, and cannot evict the budget of an existing client.
pub(super) struct Store {
    shards: [Mutex<Shard>; SHARDS],
    shared: Box<[InMemoryState; SHARED]>,
    capacity: usize,
    /// The number of keys with a separate budget. Requests of existing keys do not touch it.
    count: AtomicUsize,
}

/// The time at which each budget will be full again, in nanoseconds since the start.
type Shard = HashMap<u64, u64>;

impl Store {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: array::from_fn(|_| Mutex::default()),
            shared: Box::new(array::from_fn(|_| InMemoryState::default())),
            capacity,
            count: AtomicUsize::new(0),
        }
    }

    /// Counts a new key, if the capacity allows it.
    fn admit(&self) -> bool {
        let one_more = |count| (count < self.capacity).then_some(count + 1);
        self.count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }
}

impl StateStore for Store {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = lock(of(&self.shards, *key));
        if let Some(full_at) = shard.get_mut(key) {
            let (outcome, next) = f(Some(Nanos::from(*full_at)))?;
            *full_at = next.as_u64();
            return Ok(outcome);
        }
        let (outcome, next) = f(None)?;
        if self.admit() {
            shard.insert(*key, next.as_u64());
            return Ok(outcome);
        }
        drop(shard);
        of(&self.shared, *key).measure_and_replace(&NotKeyed::NonKey, f)
    }
}

impl ShrinkableKeyedStateStore<u64> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        let drop_below = drop_below.as_u64();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, full_at| *full_at > drop_below);
            self.count
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
            if shard.capacity() > 4 * shard.len() {
                let room = 2 * shard.len();
                shard.shrink_to(room);
            }
        }
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[expect(clippy::indexing_slicing, reason = "a remainder of `N` is below `N`")]
fn of<T, const N: usize>(all: &[T; N], key: u64) -> &T {
    &all[key as usize % N]
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 64;
const SHARED: usize = 1024;
