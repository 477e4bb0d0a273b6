//! The background task that keeps a set up to date.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    runtime,
    task::{self, AbortHandle},
    time,
};

use super::{Feed, RevocationSet};
use crate::{
    error::{ConfigError, StoreError},
    event::AuthEvent,
    task::{self as background, Backoff, Task, caught},
    time::{Clock, SystemClock},
};

/// Ends the task when the last handle of its set is dropped.
#[derive(Debug)]
pub(super) struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RevocationSet {
    /// Creates a set that follows a feed. A background task drives the feed and ends with the set's
    /// last clone.
    ///
    /// Until the first complete load, the set's status is unavailable (503).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if called outside a tokio runtime.
    pub fn follow(feed: impl Feed) -> Result<Self, ConfigError> {
        Self::follow_with_clock(feed, SystemClock::new())
    }

    /// Creates a set that follows a feed, with a custom clock. See [`follow`](Self::follow).
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow).
    pub fn follow_with_clock(feed: impl Feed, clock: impl Clock) -> Result<Self, ConfigError> {
        let runtime = runtime::Handle::try_current()
            .map_err(|_| ConfigError::invalid("follow", "must be called within a tokio runtime"))?;
        let mut set = Self::unloaded(Arc::new(clock));
        let follow = Follow {
            feed,
            set: set.clone(),
            backoff: Backoff::new(FIRST_BACKOFF, LAST_BACKOFF),
            stale: Stale::default(),
        };
        let task = background::spawn(&runtime, follow);
        set.follower = Some(Arc::new(Follower(task)));
        Ok(set)
    }

    /// Waits until the feed was loaded for the first time, for at most `timeout`. Returns `true` if
    /// it was loaded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn loaded(&self, timeout: Duration) -> bool {
        let loaded = async {
            while self.age().is_none() {
                time::sleep(POLL).await;
            }
        };
        time::timeout(timeout, loaded).await.is_ok()
    }
}

/// The task that follows a feed.
struct Follow<F> {
    feed: F,
    set: RevocationSet,
    backoff: Backoff,
    stale: Stale,
}

impl<F: Feed> Task for Follow<F> {
    const NAME: &'static str = "revocation feed";

    async fn run(&mut self) {
        loop {
            let Err(error) = self.follow().await;
            self.stale.lost(&self.set, &error);
            time::sleep(self.backoff.next()).await;
        }
    }
}

impl<F: Feed> Follow<F> {
    /// Loads the feed and follows it until it fails.
    async fn follow(&mut self) -> Result<Infallible, StoreError> {
        let Self { feed, set, .. } = self;
        // A load may miss revocations that are added while it runs.
        let begun = set.elapsed();
        within(LOAD, async { feed.load(set).await }).await?;
        set.synced(begun);
        self.stale.recovered(set);
        self.backoff.reset();
        set.expire();
        let mut expired = time::Instant::now();
        loop {
            within(NEXT, async { feed.next(set).await }).await?;
            set.synced(set.elapsed());
            // A feed that never waits must not occupy the thread.
            task::yield_now().await;
            if expired.elapsed() >= EXPIRE_EVERY {
                set.expire();
                expired = time::Instant::now();
            }
        }
    }
}

/// The time at which the feed was lost. One loss causes one event, however many attempts fail.
#[derive(Default)]
struct Stale(Option<Duration>);

impl Stale {
    fn lost(&mut self, set: &RevocationSet, error: &StoreError) {
        if self.0.is_none() {
            self.0 = Some(set.elapsed());
            set.emit(|| AuthEvent::RevocationsStale { error });
        }
    }

    fn recovered(&mut self, set: &RevocationSet) {
        if let Some(since) = self.0.take() {
            let after = set.elapsed().saturating_sub(since);
            set.emit(|| AuthEvent::RevocationsRecovered { after });
        }
    }
}

/// Runs a step of the feed. A step that hangs or panics counts as failed.
async fn within(
    limit: Duration,
    work: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), StoreError> {
    let work = caught("revocation feed", work);
    let outcome = match time::timeout(limit, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => Err(StoreError::interrupted(panicked)),
        Err(late) => Err(StoreError::unavailable(late)),
    };
    #[cfg(feature = "tracing")]
    if let Err(error) = &outcome {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the revocation feed failed");
    }
    outcome
}

const POLL: Duration = Duration::from_millis(10);
const LOAD: Duration = Duration::from_secs(60);
/// Two seconds of waiting for revocations, plus time for the store's response.
const NEXT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
