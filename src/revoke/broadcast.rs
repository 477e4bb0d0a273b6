//! A feed within one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time,
};

use super::{Feed, LIFETIME, Revocation, RevocationLog, RevocationSet, Target};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::StoreError,
};

/// Tells every set of this process what is revoked, at once. Cheap to clone.
///
/// It keeps what it was told until that ends, and for [`LIFETIME`] at least, for those who begin to
/// listen later.
#[derive(Clone)]
pub struct Broadcast {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    live: Mutex<Live>,
    sender: broadcast::Sender<Revocation>,
}

#[derive(Default)]
struct Live {
    told: HashMap<Target, Told>,
    sweep_at: usize,
}

/// As an entry of a set, it ends when both clocks say so.
#[derive(Clone, Copy)]
struct Told {
    until: Timestamp,
    at: Instant,
}

impl Told {
    fn lives(self, clock: &dyn Clock) -> bool {
        self.until > Timestamp::from(clock.now())
            || clock.monotonic().saturating_duration_since(self.at) < LIFETIME
    }
}

impl Broadcast {
    /// A broadcast that has nothing to tell yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        Self {
            shared: Arc::new(Shared {
                clock,
                live: Mutex::default(),
                sender,
            }),
        }
    }

    /// A feed of what it has been told and will be told.
    #[must_use]
    pub fn feed(&self) -> BroadcastFeed {
        BroadcastFeed {
            broadcast: self.clone(),
            news: self.shared.sender.subscribe(),
        }
    }

    /// Tells it to all who listen.
    pub fn send(&self, revocation: Revocation) {
        let shared = &self.shared;
        let mut live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.told.len() >= live.sweep_at {
            live.sweep(&*shared.clock);
        }
        let now = Told {
            until: revocation.until(),
            at: shared.clock.monotonic(),
        };
        let told = live.told.entry(revocation.target().clone());
        told.and_modify(|told| {
            told.until = told.until.max(now.until);
            told.at = now.at;
        })
        .or_insert(now);
        // Under the lock, so that whoever loads misses nothing. Nobody listening is no error.
        let _ = shared.sender.send(revocation);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn len(&self) -> usize {
        let live = self.shared.live.lock();
        live.unwrap_or_else(PoisonError::into_inner).told.len()
    }

    /// Forgets what has ended; says how much that was.
    pub(crate) fn purge(&self) -> u64 {
        let shared = &self.shared;
        let mut live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.sweep(&*shared.clock)
    }
}

impl Live {
    fn sweep(&mut self, clock: &dyn Clock) -> u64 {
        let before = self.told.len();
        self.told.retain(|_, told| told.lives(clock));
        self.sweep_at = 2 * self.told.len().max(BACKLOG);
        (before - self.told.len()) as u64
    }
}

impl Default for Broadcast {
    fn default() -> Self {
        Self::new()
    }
}

impl RevocationLog for Broadcast {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        self.send(revocation);
        Ok(())
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").finish_non_exhaustive()
    }
}

/// What a [`Broadcast`] tells.
pub struct BroadcastFeed {
    broadcast: Broadcast,
    news: broadcast::Receiver<Revocation>,
}

impl Feed for BroadcastFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        let shared = &self.broadcast.shared;
        let live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        self.news = shared.sender.subscribe();
        let alive = live
            .told
            .iter()
            .filter(|(_, told)| told.lives(&*shared.clock));
        for (target, told) in alive {
            set.insert(&Revocation::of(target.clone(), told.until));
        }
        Ok(())
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        match time::timeout(WAIT, self.news.recv()).await {
            Ok(Ok(revocation)) => set.insert(&revocation),
            // Too many at once: what was missed is loaded.
            Ok(Err(RecvError::Lagged(_))) => return self.load(set).await,
            Ok(Err(closed)) => return Err(StoreError::unavailable(closed)),
            Err(_) => {}
        }
        Ok(())
    }
}

impl fmt::Debug for BroadcastFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastFeed").finish_non_exhaustive()
    }
}

const BACKLOG: usize = 1024;
const WAIT: Duration = Duration::from_secs(2);
