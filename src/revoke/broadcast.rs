//! A feed within one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time,
};

use super::{Feed, Revocation, RevocationLog, RevocationSet, Target};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    error::StoreError,
};

/// Tells every set of this process what is revoked, at once. Cheap to clone.
///
/// It keeps what it was told until that ends, for those who begin to listen later.
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
    until: HashMap<Target, Timestamp>,
    sweep_at: usize,
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
        let now = Timestamp::from(self.shared.clock.now());
        let mut live = self
            .shared
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if live.until.len() >= live.sweep_at {
            live.until.retain(|_, until| *until > now);
            live.sweep_at = 2 * live.until.len().max(BACKLOG);
        }
        let until = live
            .until
            .entry(revocation.target().clone())
            .or_insert(revocation.until());
        *until = revocation.until().max(*until);
        // Under the lock, so that whoever loads misses nothing. Nobody listening is no error.
        let _ = self.shared.sender.send(revocation);
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
        for (target, until) in &live.until {
            set.insert(&Revocation::of(target.clone(), *until));
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
