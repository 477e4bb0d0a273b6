//! Deletes what ended long ago, again and again.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::AbortHandle, time};

use super::{ClaimHook, GrantSource, GuestStore, Guests, SessionEvent, Sessions};
use crate::{
    error::StoreError,
    refresh::SessionStore,
    secret::random,
    task::{self, Task, caught},
};

/// Deletes what ended long ago from a store: made by [`Sessions::housekeeping`] and
/// [`Guests::housekeeping`].
///
/// It deletes in small batches and goes on while one was full, then rests for
/// five minutes ([`every`](Self::every)), more or less, so that nodes that start together do not stay
/// together. Several nodes may do so at once. A failure is told
/// ([`SessionEvent::HousekeepingFailed`]), and tried again after a second, then after two, and so
/// on.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_jwt_auth::{issue::{KeyRing, TokenIssuer}, key::{Algorithm, SigningKey}};
/// # use tower_jwt_auth::{secret::SecretKey, session::{Guests, Sessions}, store::MemoryStore};
/// # let issuer = TokenIssuer::builder(KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?)
/// #     .issuer("https://auth.example").audience("api").build()?;
/// # let sessions = Sessions::builder(issuer, MemoryStore::new())
/// #     .secret(SecretKey::generate()).build()?;
/// let guests = Guests::builder(sessions).build()?;
/// // Kept for as long as the server runs.
/// let housekeeper = guests.housekeeping().spawn();
/// # drop(housekeeper);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is deleted before `spawn`"]
pub struct Housekeeping {
    jobs: Vec<Job>,
    every: Duration,
    batch: u32,
    tell: Arc<dyn Fn(&SessionEvent) + Send + Sync>,
}

type Job = Box<dyn Fn(u32) -> Deleted + Send + Sync>;
type Deleted = Pin<Box<dyn Future<Output = Result<u64, StoreError>> + Send>>;

impl<S: SessionStore, G: GrantSource> Sessions<S, G> {
    /// Deletes sessions and revocations that ended long ago, and with this crate's stores whatever
    /// else they keep that ends, except guests ([`Guests::housekeeping`]).
    pub fn housekeeping(&self) -> Housekeeping {
        let sessions = self.clone();
        let told = self.clone();
        let housekeeping = Housekeeping {
            jobs: Vec::new(),
            every: EVERY,
            batch: BATCH,
            tell: Arc::new(move |event| told.inner.tell(event)),
        };
        housekeeping.also(move |limit| {
            let sessions = sessions.clone();
            async move { sessions.inner.store.purge(limit).await }
        })
    }
}

impl<S, G, H> Guests<S, G, H>
where
    S: SessionStore + GuestStore,
    G: GrantSource,
    H: ClaimHook,
{
    /// As [`Sessions::housekeeping`], and guests that expired a day ago.
    pub fn housekeeping(&self) -> Housekeeping {
        let sessions = self.sessions().clone();
        self.sessions().housekeeping().also(move |limit| {
            let sessions = sessions.clone();
            async move { sessions.inner.store.purge_guests(limit).await }
        })
    }
}

impl Housekeeping {
    /// Deletes something else as well: a store's
    /// [`purge`](SessionStore::purge) where counters of logins are kept apart from the sessions, a
    /// table of one's own.
    ///
    /// It is told how many rows it may delete and says how many it did; it is called again at once
    /// where those are as many.
    pub fn also<F>(mut self, job: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<u64, StoreError>> + Send + 'static,
    {
        self.jobs.push(Box::new(move |limit| Box::pin(job(limit))));
        self
    }

    /// How long it rests when there is nothing left to delete; five minutes by default. Each time a tenth more or less.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(LEAST);
        self
    }

    /// How many rows it deletes at a time from each table; 500 by default. A statement that deletes
    /// more keeps others waiting for longer.
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// Deletes all that is due now, and says how many rows that were: for a job that something else
    /// starts.
    ///
    /// # Errors
    ///
    /// The first store's that failed; the others were asked all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves some rows for the next time.
    pub async fn run_once(&self) -> Result<u64, StoreError> {
        let (mut deleted, mut failed) = (0, None);
        for job in &self.jobs {
            match self.finish(job).await {
                Ok(rows) => deleted += rows,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(deleted), Err)
    }

    /// Starts, in a task of its own, which ends when the handle is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn(self) -> Housekeeper {
        Housekeeper(task::spawn(&Handle::current(), self))
    }

    /// One job until there is nothing left for it.
    async fn finish(&self, job: &Job) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let work = caught(Self::NAME, async { job(self.batch).await });
            let rows = match time::timeout(PATIENCE, work).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(panicked)) => return Err(StoreError::interrupted(panicked)),
                Err(late) => return Err(StoreError::unavailable(late)),
            };
            deleted += rows;
            // All tables together: so none of them was full.
            if rows < u64::from(self.batch) {
                return Ok(deleted);
            }
            // Whoever waits for the store comes first.
            time::sleep(BREATH).await;
        }
    }

    fn failed(&self, error: &StoreError, retry_in: Duration) {
        #[cfg(feature = "tracing")]
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, ?retry_in, "what ended long ago could not be deleted");
        }
        (self.tell)(&SessionEvent::HousekeepingFailed {
            kind: error.kind(),
            retry_in,
        });
    }
}

impl Task for Housekeeping {
    const NAME: &'static str = "housekeeping";

    async fn run(&mut self) {
        let mut failures = 0;
        // Not at once: nodes that are started together would all come at the same moment.
        time::sleep(self.every.mul_f64(fraction())).await;
        loop {
            let rest = match self.run_once().await {
                Ok(_) => {
                    failures = 0;
                    self.every
                }
                Err(error) => {
                    let wait = self.every.min(FIRST_WAIT.saturating_mul(1 << failures));
                    failures = LAST_DOUBLING.min(failures + 1);
                    self.failed(&error, wait);
                    wait
                }
            };
            time::sleep(rest.mul_f64(0.9 + 0.2 * fraction())).await;
        }
    }
}

impl fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Housekeeping")
            .field("jobs", &self.jobs.len())
            .field("every", &self.every)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// A task that deletes what ended long ago; ends when it is dropped.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct Housekeeper(AbortHandle);

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// From 0 to 1, another one for every node.
fn fraction() -> f64 {
    f64::from(u16::from_ne_bytes(random())) / f64::from(u16::MAX)
}

const EVERY: Duration = Duration::from_secs(5 * 60);
/// Less would be a loop without rest.
const LEAST: Duration = Duration::from_millis(10);
const BATCH: u32 = 500;
const BREATH: Duration = Duration::from_millis(20);
/// A store that hangs is a store that failed.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// A bit more than an hour.
const LAST_DOUBLING: u32 = 12;
