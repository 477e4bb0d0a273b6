//! Records the last use of keys, outside the path of requests.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use tokio::{runtime, sync::mpsc, time};

use super::{ApiKeyId, ApiKeyRecord, store::ErasedApiKeyStore};
use crate::{
    event::{AuthEvent, Events},
    task::{self, Backoff, Task, caught},
    time::{Clock, Timestamp},
};

/// Records uses of keys, at most one per key and minute.
///
/// A use is put into a bounded queue, which a separate task writes to the store. When this value is
/// dropped, the task writes the rest of the queue and ends.
pub(super) struct Uses {
    queue: mpsc::Sender<(ApiKeyId, Timestamp)>,
    /// The time at which each key was last queued.
    recorded: Cache<ApiKeyId, Instant>,
    clock: Arc<dyn Clock>,
    events: Events,
    lost: Arc<AtomicU64>,
}

impl Uses {
    pub(super) fn new(
        store: Arc<dyn ErasedApiKeyStore>,
        runtime: &runtime::Handle,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let lost = Arc::default();
        let writer = Writer {
            store,
            queue: receiver,
            waiting: Vec::new(),
            lost: Arc::clone(&lost),
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
        };
        task::spawn(runtime, writer);
        Self {
            queue,
            recorded: Cache::new(RECORDED),
            clock,
            events,
            lost,
        }
    }

    /// Records a use. It never waits.
    pub(super) fn saw(&self, record: &ApiKeyRecord, now: Timestamp) {
        let moment = self.clock.monotonic();
        let recent = |recorded: Instant| moment.saturating_duration_since(recorded) < PERIOD;
        if self.recorded.get(&record.id).is_some_and(recent) {
            return;
        }
        // Another node may have recorded a use.
        if record
            .last_used_at
            .is_some_and(|last| now.since(last) < PERIOD)
        {
            return;
        }
        match self.queue.try_send((record.id.clone(), now)) {
            Ok(()) => {
                self.recorded.insert(record.id.clone(), moment);
                self.events.emit(|| AuthEvent::ApiKeyUsed {
                    owner: &record.owner,
                    id: record.id.as_str(),
                });
            }
            // The use is not marked as recorded, so that the key's next use tries again.
            Err(_) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The task that writes uses to the store.
struct Writer {
    store: Arc<dyn ErasedApiKeyStore>,
    queue: mpsc::Receiver<(ApiKeyId, Timestamp)>,
    waiting: Vec<(ApiKeyId, Timestamp)>,
    lost: Arc<AtomicU64>,
    backoff: Backoff,
}

impl Task for Writer {
    const NAME: &'static str = "API key uses";

    async fn run(&mut self) {
        while self.queue.recv_many(&mut self.waiting, BATCH).await > 0 {
            let mut latest = HashMap::new();
            for (id, at) in mem::take(&mut self.waiting) {
                let known = latest.entry(id).or_insert(at);
                *known = at.max(*known);
            }
            let used: Vec<_> = latest.into_iter().collect();
            let write = caught(Self::NAME, async { self.store.touch(&used).await });
            match time::timeout(PATIENCE, write).await {
                Ok(Ok(Ok(()))) => self.backoff.reset(),
                // Not retried: retries would add load to a failing store, and a lost minute is
                // acceptable.
                _ => {
                    let count = u64::try_from(used.len()).unwrap_or(u64::MAX);
                    self.lost.fetch_add(count, Ordering::Relaxed);
                    time::sleep(self.backoff.next()).await;
                }
            }
        }
    }
}

const QUEUE: usize = 4096;
const BATCH: usize = 256;
/// About 1 MB.
const RECORDED: usize = 20_000;
/// The minimum time between two recorded uses of a key.
const PERIOD: Duration = Duration::from_secs(60);
/// Keeps a hanging store from blocking the queue forever.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
