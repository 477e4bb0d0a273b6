//! The cache of keys, with one query per key at a time.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use tokio::{runtime, sync::oneshot, time::timeout};

use super::{ApiKeyId, ApiKeyRecord, builder::Owners, store::ErasedApiKeyStore};
use crate::{
    error::{AuthError, AuthErrorKind, StoreError},
    principal::{Principal, PrincipalKind},
    task::caught,
    time::Clock,
};

/// A key's row in the store, and its principal.
pub(crate) struct Row {
    pub(super) record: ApiKeyRecord,
    pub(super) caller: Principal,
    /// `true` if the owner is neither disabled nor deleted.
    pub(super) is_active: bool,
}

/// The result of a query: a row, no row, or an error.
pub(crate) type Answer = Result<Option<Arc<Row>>, AuthError>;

/// A cache of rows, and the queries in progress.
pub(super) struct Lookups {
    known: Cache<ApiKeyId, (Arc<Row>, Instant)>,
    /// A separate cache, so that invented identifiers do not evict keys.
    unknown: Cache<ApiKeyId, Instant>,
    flights: Mutex<HashMap<ApiKeyId, Arc<Flight>>>,
    fetch: Box<Fetch>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    kind: PrincipalKind,
}

type Fetch = dyn Fn(Landing) + Send + Sync;

/// A cached answer.
pub(super) struct Recalled {
    pub(super) row: Option<Arc<Row>>,
    fetched: Instant,
    age: Duration,
}

pub(super) enum Found {
    Recalled(Recalled),
    Wait(RowWait),
}

/// A query in progress, and its waiters.
#[derive(Default)]
struct Flight(Mutex<Vec<oneshot::Sender<Answer>>>);

/// The obligation to complete a query. Dropping it, as a panic does, completes the query with an
/// error.
struct Landing {
    id: ApiKeyId,
    flight: Arc<Flight>,
    lookups: Arc<Lookups>,
    landed: bool,
}

/// The answer of the store, which arrives from a separate task.
pub(super) struct RowWait(oneshot::Receiver<Answer>);

impl Lookups {
    pub(super) fn new(
        store: Arc<dyn ErasedApiKeyStore>,
        runtime: runtime::Handle,
        clock: Arc<dyn Clock>,
        keep: Duration,
        kind: PrincipalKind,
        owners: Option<Arc<Owners>>,
    ) -> Self {
        let fetch = move |landing: Landing| {
            let (store, owners) = (Arc::clone(&store), owners.clone());
            // The runtime of the request, because the one that `build` ran on may be idle or gone.
            let current = runtime::Handle::try_current();
            // A separate task, because other requests wait for the answer even if this client
            // disconnects.
            current.as_ref().unwrap_or(&runtime).spawn(async move {
                let find = async {
                    let record = store.find(&landing.id).await?;
                    Ok(match (record, owners) {
                        (Some(record), Some(owners)) => {
                            let is_active = owners(record.owner.clone()).await?;
                            Some((record, is_active))
                        }
                        (record, _) => record.map(|record| (record, true)),
                    })
                };
                let found = match timeout(PATIENCE, caught("API keys", find)).await {
                    Ok(Ok(found)) => found,
                    Ok(Err(panicked)) => Err(StoreError::interrupted(panicked)),
                    Err(late) => Err(StoreError::unavailable(late)),
                };
                landing.land(found);
            });
        };
        Self {
            known: Cache::new(CAPACITY),
            unknown: Cache::new(CAPACITY),
            flights: Mutex::default(),
            fetch: Box::new(fetch),
            clock,
            keep,
            kind,
        }
    }

    /// Returns the cached answer for a key while it is fresh.
    pub(super) fn recall(&self, id: &ApiKeyId) -> Option<Recalled> {
        let now = self.clock.monotonic();
        let recalled = |row, fetched| Recalled {
            row,
            fetched,
            age: now.saturating_duration_since(fetched),
        };
        if let Some((row, fetched)) = self.known.get(id) {
            let recalled = recalled(Some(row), fetched);
            return (recalled.age < self.keep).then_some(recalled);
        }
        let recalled = recalled(None, self.unknown.get(id)?);
        recalled.refuses().then_some(recalled)
    }

    /// Starts a query, or joins the one in progress.
    ///
    /// `instead` is the cached answer that is not sufficient. A newer cached answer is returned
    /// without a query.
    pub(super) fn ask(
        self: &Arc<Self>,
        id: &ApiKeyId,
        instead: Option<&Recalled>,
    ) -> Result<Found, AuthError> {
        let (sender, receiver) = oneshot::channel();
        let mut flights = lock(&self.flights);
        // An answer that arrived between the cache miss and this lock is in the cache.
        if let Some(recalled) = self.recall(id)
            && instead.is_none_or(|old| old.fetched != recalled.fetched)
        {
            return Ok(Found::Recalled(recalled));
        }
        if let Some(flight) = flights.get(id) {
            lock(&flight.0).push(sender);
            return Ok(Found::Wait(RowWait(receiver)));
        }
        if flights.len() >= MAX_FLIGHTS {
            return Err(unavailable());
        }
        let flight = Arc::new(Flight(Mutex::new(vec![sender])));
        flights.insert(id.clone(), Arc::clone(&flight));
        drop(flights);
        (self.fetch)(Landing {
            id: id.clone(),
            flight,
            lookups: Arc::clone(self),
            landed: false,
        });
        Ok(Found::Wait(RowWait(receiver)))
    }

    /// Removes a key from the cache. The answer of a query in progress is not cached either.
    pub(super) fn forget(&self, id: &ApiKeyId) {
        let mut flights = lock(&self.flights);
        flights.remove(id);
        self.known.remove(id);
        self.unknown.remove(id);
    }

    fn row(&self, record: ApiKeyRecord, is_active: bool) -> Arc<Row> {
        let mut caller = Principal::builder()
            .kind(self.kind)
            .subject(&record.owner)
            .token_id(record.id.as_str())
            .by_key();
        for token in record.scope.iter() {
            caller = caller.scope(token);
        }
        if let Some(end) = record.expires_at {
            caller = caller.expires_at(end.to_calendar());
        }
        let caller = caller.build();
        Arc::new(Row {
            record,
            caller,
            is_active,
        })
    }
}

impl Recalled {
    /// Returns `true` if a refusal may rely on this answer. The key may have been rolled since an
    /// older one.
    pub(super) fn refuses(&self) -> bool {
        self.age < NEGATIVE
    }
}

impl Landing {
    fn land(mut self, found: Result<Option<(ApiKeyRecord, bool)>, StoreError>) {
        let answer = found
            .map(|found| found.map(|(record, is_active)| self.lookups.row(record, is_active)))
            .map_err(|error| AuthError::unavailable_by(AuthErrorKind::StoreUnavailable, 1, error));
        self.end(&answer);
    }

    fn end(&mut self, answer: &Answer) {
        self.landed = true;
        let Lookups { known, unknown, .. } = &*self.lookups;
        let mut flights = lock(&self.lookups.flights);
        // The answer is not cached if `forget` ran during the query.
        if flights
            .get(&self.id)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            flights.remove(&self.id);
            let now = self.lookups.clock.monotonic();
            match answer {
                Ok(Some(row)) => {
                    unknown.remove(&self.id);
                    known.insert(self.id.clone(), (Arc::clone(row), now));
                }
                Ok(None) => {
                    known.remove(&self.id);
                    unknown.insert(self.id.clone(), now);
                }
                Err(_) => {}
            }
        }
        drop(flights);
        // No request can join a query that was removed from the table.
        for waiter in std::mem::take(&mut *lock(&self.flight.0)) {
            // The waiting request may have been dropped.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.landed {
            self.end(&Err(unavailable()));
        }
    }
}

impl Future for RowWait {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(unavailable())))
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups")
            .field("known", &self.known.len())
            .field("unknown", &self.unknown.len())
            .finish_non_exhaustive()
    }
}

/// Returns the error of a query without an answer.
pub(super) fn unavailable() -> AuthError {
    AuthError::unavailable(AuthErrorKind::StoreUnavailable, 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave the map inconsistent, because every change is a single operation.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// About 10 MB of keys. An evicted key costs another query.
const CAPACITY: usize = 10_000;
/// The maximum number of concurrent queries. Further requests get a 503.
const MAX_FLIGHTS: usize = 1024;
/// The time that a request waits for the store before it gets a 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// The lifetime of a cached answer that refuses a key.
const NEGATIVE: Duration = Duration::from_secs(5);
