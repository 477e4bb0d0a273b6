//! A revocation feed within one process.

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

use super::{Feed, RETENTION, Revocation, RevocationLog, RevocationSet, RevocationTarget};
use crate::{
    error::StoreError,
    time::{Clock, SystemClock, Timestamp},
};

/// Sends revocations to every revocation set in this process, without a delay. Cheap to clone.
///
/// A revocation is kept until its `until`, and for at least [`RETENTION`], so that sets that
/// subscribe later load it.
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
    kept: HashMap<RevocationTarget, Kept>,
    /// Revocations that are sent once only. Each place in a large map is a miss of all caches.
    once: Vec<(RevocationTarget, Kept)>,
    sweep_at: usize,
}

/// The lifetime of a revocation. Like an entry of a set, it ends when it has ended by both clocks.
#[derive(Clone, Copy)]
struct Kept {
    until: Timestamp,
    at: Instant,
}

impl Kept {
    fn lives(self, clock: &dyn Clock) -> bool {
        self.until > clock.now() || clock.monotonic().saturating_duration_since(self.at) < RETENTION
    }
}

impl Broadcast {
    /// Creates a broadcast without revocations.
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

    /// Creates a feed of the revocations sent so far and of those sent later.
    #[must_use]
    pub fn feed(&self) -> BroadcastFeed {
        BroadcastFeed {
            broadcast: self.clone(),
            news: self.shared.sender.subscribe(),
        }
    }

    /// Sends a revocation to all feeds.
    pub fn send(&self, revocation: Revocation) {
        self.send_and(revocation, |live, target, now| {
            let kept = live.kept.entry(target);
            kept.and_modify(|kept| {
                kept.until = kept.until.max(now.until);
                kept.at = now.at;
            })
            .or_insert(now);
        });
    }

    /// Sends a revocation whose target was not sent before.
    #[cfg(feature = "server")]
    pub(crate) fn send_once(&self, revocation: Revocation) {
        self.send_and(revocation, |live, target, now| {
            live.once.push((target, now));
        });
    }

    fn send_and(
        &self,
        revocation: Revocation,
        keep: impl FnOnce(&mut Live, RevocationTarget, Kept),
    ) {
        let shared = &self.shared;
        let mut live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.len() >= live.sweep_at {
            live.sweep(&*shared.clock);
        }
        let now = Kept {
            until: revocation.until(),
            at: shared.clock.monotonic(),
        };
        keep(&mut live, revocation.target().clone(), now);
        // Sent under the lock, so that a concurrent `load` misses nothing. The error means that
        // there is no receiver, which is fine.
        let _ = shared.sender.send(revocation);
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn len(&self) -> usize {
        let live = self.shared.live.lock();
        live.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Removes the revocations that have ended, and returns their number.
    pub(crate) fn purge(&self) -> u64 {
        let shared = &self.shared;
        let mut live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.sweep(&*shared.clock)
    }
}

impl Live {
    fn len(&self) -> usize {
        self.kept.len() + self.once.len()
    }

    fn sweep(&mut self, clock: &dyn Clock) -> u64 {
        let before = self.len();
        self.kept.retain(|_, kept| kept.lives(clock));
        self.once.retain(|(_, kept)| kept.lives(clock));
        self.sweep_at = 2 * self.len().max(BACKLOG);
        (before - self.len()) as u64
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

/// The revocation feed of a [`Broadcast`].
pub struct BroadcastFeed {
    broadcast: Broadcast,
    news: broadcast::Receiver<Revocation>,
}

impl Feed for BroadcastFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        let shared = &self.broadcast.shared;
        let live = shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        self.news = shared.sender.subscribe();
        let once = live.once.iter().map(|(target, kept)| (target, kept));
        let alive = live.kept.iter().chain(once);
        let alive = alive.filter(|(_, kept)| kept.lives(&*shared.clock));
        for (target, kept) in alive {
            set.insert(&Revocation::of(target.clone(), kept.until));
        }
        Ok(())
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        match time::timeout(WAIT, self.news.recv()).await {
            Ok(Ok(revocation)) => set.insert(&revocation),
            // The channel overflowed: `load` brings the revocations that this feed missed.
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
