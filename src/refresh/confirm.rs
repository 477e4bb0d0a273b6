//! Proof that a refresh token has arrived.

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

use super::SessionStore;
use crate::{
    error::ConfigError,
    principal::Principal,
    task::{self, Backoff, Task, caught},
    token::SessionId,
};

/// Notes in the store which refresh tokens have reached their clients. Cheap to clone.
///
/// An access token that is used proves that the refresh token arrived that came with it. From then
/// on its predecessor is spent for good: somebody who presents it is a thief. The policy
/// [`balanced`](super::RefreshPolicy::balanced) rests on that.
///
/// Every layer that accepts the sessions' access tokens tells it about its callers. That costs a
/// look-up in memory; the first time that a generation is seen it goes into a bounded queue, and a
/// task of its own writes it down. A request never waits for that. The task ends with the last
/// handle, after it has written what it was told.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{Principal, refresh::Confirmations, store::MemoryStore};
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
    /// The latest generation of each session that was queued.
    seen: Cache<SessionId, u64>,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Confirmations {
    /// Writes to this store, in a task of its own on the current runtime.
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

    /// A handle that looks at the tokens of this issuer alone.
    ///
    /// Names of sessions are unique within their issuer only, so a layer that accepts several
    /// issuers needs this.
    #[must_use]
    pub fn of_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into().into());
        self
    }

    /// Tells it about the caller of an authenticated request. It never waits.
    ///
    /// Callers without a session of this crate are passed over.
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
            // Not noted as seen: the token's next request tries again.
            Err(_) => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// How often the queue was full. The next request with the same token tried again.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How often the store failed or panicked. The next request with the same token tried again.
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

/// The task that writes confirmations down.
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
            // The latest generation alone can be the live one.
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
/// About 1 MB. A session that is pushed out is confirmed once more, which does no harm.
const SEEN: usize = 20_000;
/// A store that hangs must not hold up the others for good.
const LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
