//! The task that writes confirmations to the store.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use tokio::{runtime, sync::mpsc, time};

use crate::{
    error::ConfigError,
    layer::{Confirmations, confirmations::Shared},
    principal::SessionId,
    store::port::{ErasedSessionStore, SessionStore},
    task::{self, Backoff, Task, caught},
};

impl Confirmations {
    /// Starts a task on the current runtime, which writes to this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn new(store: impl SessionStore) -> Result<Self, ConfigError> {
        let runtime = runtime::Handle::try_current().map_err(|_| {
            ConfigError::invalid("confirmations", "must be made within a tokio runtime")
        })?;
        let (handle, queue, shared) = Self::channel();
        let writer = Writer {
            store: Arc::new(store),
            queue,
            waiting: Vec::new(),
            shared,
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
        };
        task::spawn(&runtime, writer);
        Ok(handle)
    }
}

/// The task that writes confirmations to the store.
struct Writer {
    store: Arc<dyn ErasedSessionStore>,
    queue: mpsc::Receiver<(SessionId, u64)>,
    waiting: Vec<(SessionId, u64)>,
    shared: Arc<Shared>,
    backoff: Backoff,
}

impl Task for Writer {
    const NAME: &'static str = "confirmations";

    async fn run(&mut self) {
        while self.queue.recv_many(&mut self.waiting, BATCH).await > 0 {
            // Older generations of a session are no longer the live one.
            let mut latest = HashMap::new();
            for (session, generation) in mem::take(&mut self.waiting) {
                let known = latest.entry(session).or_insert(generation);
                *known = generation.max(*known);
            }
            for (session, generation) in latest {
                self.write(session, generation).await;
            }
        }
    }
}

impl Writer {
    async fn write(&mut self, session: SessionId, generation: u64) {
        let write = caught(Self::NAME, async {
            self.store.confirm(session, generation).await
        });
        match time::timeout(LIMIT, write).await {
            Ok(Ok(Ok(()))) => self.backoff.reset(),
            _ => {
                self.shared.failed(&session);
                time::sleep(self.backoff.next()).await;
            }
        }
    }
}

const BATCH: usize = 256;
/// Keeps a hanging store from blocking the queue forever.
const LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
