//! The revocation checks of one socket.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::time::{self, Instant};

use crate::{
    layer::middleware::PATIENCE,
    principal::Principal,
    revocation::{Changes, CheckResult, RevocationCheck, RevocationChecks, RevocationStatus},
    task::{caught, end_of_wait},
};

/// The revocation checks of a socket, and their latest results.
pub(super) struct Checked {
    /// The checks that notify of changes. A call takes some tens of nanoseconds, so they are called
    /// whenever the status is read.
    watched: RevocationChecks,
    changes: Vec<Changes>,
    /// The checks without notifications, which are called at intervals.
    polled: RevocationChecks,
    every: Duration,
    /// The time of the next call.
    due: Instant,
    /// The call in progress. It survives a `closed` that is dropped in a `select!`. The mutex is
    /// never locked; it makes the guard `Sync`.
    call: Mutex<Option<Call>>,
    /// The result of the latest call.
    latest: RevocationStatus,
}

type Call = Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

impl Checked {
    /// Subscribes to changes, and calls the checks after that, so that no change in between is
    /// missed.
    pub(super) fn new(checks: &RevocationChecks, caller: &Principal, every: Duration) -> Self {
        let (watched, changes, polled) = checks.split(caller);
        let mut checked = Self {
            watched,
            changes,
            polled,
            every,
            due: Instant::now(),
            call: Mutex::new(None),
            latest: RevocationStatus::Valid,
        };
        checked.start(caller);
        checked
    }

    pub(super) fn status(&self, caller: &Principal) -> RevocationStatus {
        self.latest.and(match self.watched.check(caller) {
            CheckResult::Ready(status) => status,
            // A check that notifies of changes has its result in memory.
            CheckResult::Pending(_) => RevocationStatus::unavailable(1),
        })
    }

    /// Waits for the result of the call in progress.
    pub(super) async fn settle(&mut self) {
        if let Some(call) = self.call() {
            let status = call.await;
            self.finish(status);
        }
    }

    /// Waits until the status may have changed, at most for `limit`.
    ///
    /// # Cancel safety
    ///
    /// A call in progress continues with the next wait.
    pub(super) async fn changed(&mut self, caller: &Principal, limit: Duration) {
        if self.call().is_none() && self.due <= Instant::now() {
            self.start(caller);
        }
        let call = self.call.get_mut().unwrap_or_else(PoisonError::into_inner);
        let limit = match call.is_some() || self.polled.is_empty() {
            true => limit,
            false => limit.min(self.due.saturating_duration_since(Instant::now())),
        };
        let waits = self.changes.iter_mut();
        let mut waits: Vec<_> = waits.map(|changes| Box::pin(changes.changed())).collect();
        let next = poll_fn(|cx| {
            let mut waits = waits.iter_mut();
            if waits.any(|wait| wait.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(None);
            }
            match call {
                Some(call) => call.as_mut().poll(cx).map(Some),
                None => Poll::Pending,
            }
        });
        // A timeout leads to another look at the clock.
        let next = time::timeout(limit, next).await;
        drop(waits);
        if let Ok(Some(status)) = next {
            self.finish(status);
        }
    }

    fn start(&mut self, caller: &Principal) {
        match self.polled.check(caller) {
            CheckResult::Ready(status) => self.finish(status),
            CheckResult::Pending(check) => {
                let call = async move {
                    let check = time::timeout(PATIENCE, caught("revocation check", check));
                    match check.await {
                        Ok(Ok(status)) => status,
                        // The check took too long or panicked.
                        Ok(Err(_)) | Err(_) => RevocationStatus::unavailable(1),
                    }
                };
                *self.slot() = Some(Box::pin(call));
            }
        }
    }

    fn finish(&mut self, status: RevocationStatus) {
        *self.slot() = None;
        self.latest = status;
        self.due = end_of_wait(Instant::now(), self.every);
    }

    fn call(&mut self) -> Option<&mut Call> {
        self.slot().as_mut()
    }

    fn slot(&mut self) -> &mut Option<Call> {
        self.call.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
