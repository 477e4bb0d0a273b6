//! The background task that follows the ring in its store.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    task::AbortHandle,
    time::{self, Instant},
};

use super::{error::SharedRingError, live::Live, sync::Node};
use crate::{
    error::StoreError,
    event::AuthEvent,
    store::port::KEY_RING_WAIT,
    task::{Backoff, Task, caught},
};

/// The keys of a ring, and the task that follows the ring while a clone of this value exists.
#[derive(Clone)]
pub(in crate::server::issue) struct Following {
    live: Arc<Live>,
    _follower: Arc<Follower>,
}

/// Ends the task.
struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Following {
    pub(super) fn new(live: Arc<Live>, task: AbortHandle) -> Self {
        Self {
            live,
            _follower: Arc::new(Follower(task)),
        }
    }

    pub(in crate::server::issue) fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// The task that loads the ring whenever it may have changed.
pub(super) struct Follow {
    node: Arc<Node>,
    backoff: Backoff,
    /// The time at which the ring was lost. One loss causes one event, however many attempts fail.
    lost: Option<Instant>,
}

impl Follow {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            backoff: Backoff::new(FIRST_PAUSE, LAST_PAUSE),
            lost: None,
        }
    }

    /// Waits until the ring may have changed, a change is due, or a request needs the ring.
    async fn news(&self) -> Result<(), StoreError> {
        let live = &self.node.live;
        let changed = caught(
            Self::NAME,
            self.node
                .access
                .store
                .key_ring_changed(live.keys().revision),
        );
        let mut changed = pin!(changed);
        let mut woken = pin!(live.wake.notified());
        let mut due = pin!(time::sleep(self.until_due()));
        poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() || due.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match changed.as_mut().poll(cx) {
                Poll::Ready(Ok(outcome)) => Poll::Ready(outcome),
                Poll::Ready(Err(panicked)) => Poll::Ready(Err(StoreError::interrupted(panicked))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Returns the time until the next change of the ring, and at most the time after which the ring
    /// is read in any case.
    fn until_due(&self) -> Duration {
        let live = &self.node.live;
        let now = live.now();
        let next = live.keys().ring.next_event(now, &live.schedule);
        let until = next.map_or(Duration::MAX, |at| at.since(now));
        until.clamp(SHORTEST_PAUSE, KEY_RING_WAIT + SLACK)
    }

    fn failed(&mut self, error: &SharedRingError) {
        if self.lost.is_none() {
            self.lost = Some(Instant::now());
            let events = &self.node.live.events;
            events.emit(|| AuthEvent::KeyRingStale { error });
        }
        #[cfg(feature = "tracing")]
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the key ring could not be read from its store");
        }
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        if let Some(since) = self.lost.take() {
            let after = since.elapsed();
            let events = &self.node.live.events;
            events.emit(|| AuthEvent::KeyRingRecovered { after });
        }
    }
}

impl Task for Follow {
    const NAME: &'static str = "key ring";

    async fn run(&mut self) {
        loop {
            // An error of the signal is an error of the load that follows.
            let news = self.news().await;
            let node = Arc::clone(&self.node);
            let loaded = caught(Self::NAME, async move { node.sync().await }).await;
            self.node.live.end_waits();
            match loaded {
                Ok(Ok(())) if news.is_ok() => self.recovered(),
                Ok(Ok(())) => {
                    self.recovered();
                    time::sleep(FIRST_PAUSE).await;
                }
                Ok(Err(error)) => {
                    self.failed(&error);
                    time::sleep(self.backoff.next()).await;
                }
                Err(panicked) => {
                    self.failed(&StoreError::interrupted(panicked).into());
                    time::sleep(self.backoff.next()).await;
                }
            }
        }
    }
}

/// The time by which the task lets the store's signal come first.
const SLACK: Duration = Duration::from_secs(1);
/// A change that is due is made by one node. The others load the ring after it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
