//! The task that keeps a set up to date.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime,
    task::{self, AbortHandle},
    time,
};

use super::{Feed, RevocationSet};
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, StoreError},
    event::AuthEvent,
};

/// Ends the task when the last handle of its set is gone.
#[derive(Debug)]
pub(super) struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RevocationSet {
    /// A set that follows a feed, in a task of its own that ends with the set's last clone.
    ///
    /// Until the feed was loaded once, in full, the set answers that it does not know: 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn follow(feed: impl Feed) -> Result<Self, ConfigError> {
        Self::follow_with_clock(feed, SystemClock::new())
    }

    /// As [`follow`](Self::follow), with another clock.
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow).
    pub fn follow_with_clock(feed: impl Feed, clock: impl Clock) -> Result<Self, ConfigError> {
        let runtime = runtime::Handle::try_current()
            .map_err(|_| ConfigError::invalid("follow", "must be called within a tokio runtime"))?;
        let mut set = Self::unloaded(Arc::new(clock));
        let task = runtime.spawn(run(feed, set.clone()));
        set.follower = Some(Arc::new(Follower(task.abort_handle())));
        Ok(set)
    }

    /// Waits until the feed was loaded once, no longer than `timeout`; says whether it was.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn loaded(&self, timeout: Duration) -> bool {
        let loaded = async {
            while self.age().is_none() {
                time::sleep(POLL).await;
            }
        };
        time::timeout(timeout, loaded).await.is_ok()
    }
}

async fn run(mut feed: impl Feed, set: RevocationSet) {
    let mut backoff = FIRST_BACKOFF;
    let mut stale = Stale::default();
    loop {
        // What is revoked while a load goes on, it need not have seen.
        let begun = set.elapsed();
        let mut outcome = within(LOAD, feed.load(&set)).await;
        if outcome.is_ok() {
            set.synced(begun);
            stale.recovered(&set);
            backoff = FIRST_BACKOFF;
            set.expire();
            let mut expired = time::Instant::now();
            loop {
                outcome = within(NEXT, feed.next(&set)).await;
                if outcome.is_err() {
                    break;
                }
                set.synced(set.elapsed());
                // A feed that never has to wait must not keep the thread to itself.
                task::yield_now().await;
                if expired.elapsed() >= EXPIRE_EVERY {
                    set.expire();
                    expired = time::Instant::now();
                }
            }
        }
        if let Err(error) = &outcome {
            stale.lost(&set, error);
        }
        time::sleep(backoff).await;
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// Since when the feed is lost. However often it is tried, its loss is told once.
#[derive(Default)]
struct Stale(Option<Duration>);

impl Stale {
    fn lost(&mut self, set: &RevocationSet, error: &StoreError) {
        if self.0.is_none() {
            self.0 = Some(set.elapsed());
            set.tell(|| AuthEvent::RevocationsStale { error });
        }
    }

    fn recovered(&mut self, set: &RevocationSet) {
        if let Some(since) = self.0.take() {
            let after = set.elapsed().saturating_sub(since);
            set.tell(|| AuthEvent::RevocationsRecovered { after });
        }
    }
}

/// A feed that hangs is a feed that failed.
async fn within(
    limit: Duration,
    work: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), StoreError> {
    let outcome = time::timeout(limit, work).await;
    let outcome = outcome.unwrap_or_else(|late| Err(StoreError::unavailable(late)));
    #[cfg(feature = "tracing")]
    if let Err(error) = &outcome {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the revocation feed failed");
    }
    outcome
}

const POLL: Duration = Duration::from_millis(10);
const LOAD: Duration = Duration::from_secs(60);
/// Two seconds of waiting for news, and some for the store's answer.
const NEXT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
