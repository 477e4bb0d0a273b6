//! Confirmations: the proof that a refresh token reached its client.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::sync::Cache;
use tokio::sync::mpsc;

use crate::principal::{Principal, SessionId};

/// Records in the store which refresh tokens have reached their clients. Cheap to clone.
///
/// A client that uses an access token has received the refresh token that was issued with it. From
/// then on the previous refresh token is spent, and presenting it again is theft. The policy
/// [`balanced`](crate::server::refresh::RefreshPolicy::balanced) relies on this proof.
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
/// use tower_jwt_auth::{Principal, layer::Confirmations, store::MemoryStore};
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

pub(crate) struct Shared {
    /// The latest queued generation of each session.
    seen: Cache<SessionId, u64>,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Confirmations {
    /// Returns a handle and the two ends that its writer needs.
    #[cfg(feature = "server")]
    pub(crate) fn channel() -> (Self, mpsc::Receiver<(SessionId, u64)>, Arc<Shared>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            seen: Cache::new(SEEN),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let handle = Self {
            queue,
            shared: Arc::clone(&shared),
            issuer: None,
        };
        (handle, receiver, shared)
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

#[cfg(feature = "server")]
impl Shared {
    /// Counts a failed write, and forgets the session so that its next request tries again.
    pub(crate) fn failed(&self, session: &SessionId) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.seen.remove(session);
    }
}

#[cfg(feature = "server")]
const QUEUE: usize = 4096;
/// About 1 MB. An evicted session is confirmed again, which is harmless.
#[cfg(feature = "server")]
const SEEN: usize = 20_000;
