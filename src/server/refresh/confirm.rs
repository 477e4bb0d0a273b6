//! Confirmations: the proof that a refresh token reached its client.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::{runtime, sync::mpsc, time};

use crate::store::port::SessionStore;
use crate::{
    error::ConfigError,
    principal::{Principal, SessionId},
    task::{self, Backoff, Task, caught},
};

/// Records in the store which refresh tokens have reached their clients. Cheap to clone.
///
/// A client that uses an access token has received the refresh token that was issued with it. From
/// then on the previous refresh token is spent, and presenting it again is theft. The policy
/// [`balanced`](super::RefreshPolicy::balanced) relies on this proof.
///
/// Every layer that accepts the sessions' access tokens calls [`saw`](Self::saw) with the caller.
/// The call is a lookup in memory. The first use of a generation is put into a bounded queue, which
/// a separate task writes to the store. A request never waits for the write. When the last handle
/// is dropped, the task writes the rest of the queue and ends.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{Principal, server::refresh::Confirmations, store::MemoryStore};
///
/// let confirmations = Confirmations::new(MemoryStore::new())?;
/// let caller = Principal::builder().subject("alice").build();
/// confirmations.saw(&caller);
/// assert_eq!(confirmations.dropped(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Confirmations {
    queue: mpsc::Sender<(SessionId, u64)>,
    shared: Arc<Shared>,
    issuer: Option<Arc<str>>,
}

struct Shared {
    /// The latest queued generation of each session.
    seen: Cache<SessionId, u64>,
    dropped: AtomicU64,
    failed: AtomicU64,
}

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
        let (queue, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            seen: Cache::new(SEEN),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let writer = Writer {
            store,
            queue: receiver,
            waiting: Vec::new(),
            shared: Arc::clone(&shared),
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
        };
        task::spawn(&runtime, writer);
        Ok(Self {
            queue,
            shared,
            issuer: None,
        })
    }

    /// Returns a handle that ignores the tokens of other issuers.
    ///
    /// A layer that accepts several issuers needs it, because session ids are unique only within
    /// their issuer.
    #[must_use]
    pub fn of_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into().into());
        self
    }

    /// Records the caller of an authenticated request. It never waits.
    ///
    /// Callers without a session of this crate are ignored.
    pub fn saw(&self, caller: &Principal) {
        if self.issuer.is_some() && caller.issuer() != self.issuer.as_deref() {
            return;
        }
        let Some(generation) = caller.refresh_generation() else {
            return;
        };
        let Some(Ok(session)) = caller.session_id().map(str::parse) else {
            return;
        };
        let seen = &self.shared.seen;
        if seen
            .get(&session)
            .is_some_and(|latest| latest >= generation)
        {
            return;
        }
        match self.queue.try_send((session, generation)) {
            Ok(()) => seen.insert(session, generation),
            // The session is not marked as seen, so that the next request with the token tries
            // again.
            Err(_) => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Returns the number of confirmations dropped because the queue was full. The next request
    /// with the same token tries again.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of writes that failed or panicked. The next request with the same token
    /// tries again.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Confirmations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmations")
            .field("dropped", &self.dropped())
            .field("failed", &self.failed())
            .finish_non_exhaustive()
    }
}

/// The task that writes confirmations to the store.
struct Writer<S> {
    store: S,
    queue: mpsc::Receiver<(SessionId, u64)>,
    waiting: Vec<(SessionId, u64)>,
    shared: Arc<Shared>,
    backoff: Backoff,
}

impl<S: SessionStore> Task for Writer<S> {
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

impl<S: SessionStore> Writer<S> {
    async fn write(&mut self, session: SessionId, generation: u64) {
        let write = caught(Self::NAME, async {
            self.store.confirm(session, generation).await
        });
        match time::timeout(LIMIT, write).await {
            Ok(Ok(Ok(()))) => self.backoff.reset(),
            _ => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                self.shared.seen.remove(&session);
                time::sleep(self.backoff.next()).await;
            }
        }
    }
}

const QUEUE: usize = 4096;
const BATCH: usize = 256;
/// About 1 MB. An evicted session is confirmed again, which is harmless.
const SEEN: usize = 20_000;
/// Keeps a hanging store from blocking the queue forever.
const LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
