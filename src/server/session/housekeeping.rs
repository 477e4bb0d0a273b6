//! Periodic deletion of expired rows.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::AbortHandle, time};

use super::Sessions;
use crate::{
    erased::Boxed,
    error::StoreError,
    event::{AuthEvent, Events},
    secret::random,
    task::{self, Task, caught},
};

/// Periodic deletion of expired rows from a store: created by [`Sessions::housekeeping`] and
/// [`Guests::housekeeping`](super::Guests::housekeeping).
///
/// A run deletes in small batches, as long as batches are full. The task then waits for five
/// minutes ([`every`](Self::every)) with a random deviation, so that nodes that start together do
/// not stay synchronized. Several nodes may run it concurrently. A failure is reported as
/// [`AuthEvent::HousekeepingFailed`] and retried after one second, then two, doubling up to the
/// interval.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_jwt_auth::{server::issue::{KeyRing, TokenIssuer}, key::{Algorithm, SigningKey}};
/// # use tower_jwt_auth::{secret::SecretKey, server::session::{Guests, Sessions}, store::MemoryStore};
/// # let issuer = TokenIssuer::builder(KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?)
/// #     .issuer("https://auth.example").audience("api").build()?;
/// # let store = MemoryStore::new();
/// # let sessions = Sessions::builder(issuer, store.clone())
/// #     .secret(SecretKey::generate()).build()?;
/// let guests = Guests::builder(sessions, store).build()?;
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
    events: Events,
}

type Job = Box<dyn Fn(u32) -> Boxed<'static, Result<u64, StoreError>> + Send + Sync>;

impl Sessions {
    /// Returns a housekeeping that deletes sessions and revocations that ended long ago.
    ///
    /// With this crate's stores it also deletes everything else in the store that expires, except
    /// guests ([`Guests::housekeeping`](super::Guests::housekeeping)).
    pub fn housekeeping(&self) -> Housekeeping {
        let store = Arc::clone(&self.inner.store);
        let housekeeping = Housekeeping {
            jobs: Vec::new(),
            every: EVERY,
            batch: BATCH,
            events: self.inner.events.clone(),
        };
        housekeeping.also(move |limit| {
            let store = Arc::clone(&store);
            async move { store.purge(limit).await }
        })
    }
}

impl Housekeeping {
    /// Adds a job, such as the [`purge`](crate::store::port::SessionStore::purge) of a second store that holds the
    /// login counters, or of one of your tables.
    ///
    /// The job receives the maximum number of rows to delete and returns the number of rows that it
    /// deleted. If both are equal, it is called again immediately.
    pub fn also<F>(mut self, job: impl Fn(u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<u64, StoreError>> + Send + 'static,
    {
        self.jobs.push(Box::new(move |limit| Box::pin(job(limit))));
        self
    }

    /// Sets the interval between runs; five minutes by default. Each interval deviates randomly by
    /// up to 10 %.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval.max(LEAST);
        self
    }

    /// Sets the number of rows that one statement deletes from each table; 500 by default. Other
    /// statements wait longer for a larger one.
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// Deletes everything that is due now, and returns the number of deleted rows: for a job with
    /// an external scheduler.
    ///
    /// # Errors
    ///
    /// The error of the first job that failed. The other jobs run as well.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the remaining rows for the next run.
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

    /// Starts the periodic deletion in a separate task, which ends when the handle is dropped.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn(self) -> Housekeeper {
        Housekeeper(task::spawn(&Handle::current(), self))
    }

    /// Repeats one job until it has nothing left to delete.
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
            // The sum over all tables is below the batch size, so no table was full.
            if rows < u64::from(self.batch) {
                return Ok(deleted);
            }
            // Gives waiting statements a turn.
            time::sleep(BREATH).await;
        }
    }

    fn failed(&self, error: &StoreError, retry_in: Duration) {
        #[cfg(feature = "tracing")]
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, ?retry_in, "housekeeping failed");
        }
        self.events.emit(|| AuthEvent::HousekeepingFailed {
            kind: error.kind(),
            retry_in,
        });
    }
}

impl Task for Housekeeping {
    const NAME: &'static str = "housekeeping";

    async fn run(&mut self) {
        let mut failures = 0;
        // A random delay first: nodes that are deployed together would otherwise run at the same
        // moment.
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

/// The handle of a housekeeping task. Dropping it ends the task.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct Housekeeper(AbortHandle);

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns a random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(u16::from_ne_bytes(random())) / f64::from(u16::MAX)
}

const EVERY: Duration = Duration::from_secs(5 * 60);
/// A shorter interval would be a busy loop.
const LEAST: Duration = Duration::from_millis(10);
const BATCH: u32 = 500;
const BREATH: Duration = Duration::from_millis(20);
/// A job that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// 2¹² s, a little more than an hour.
const LAST_DOUBLING: u32 = 12;
