//! The worker for claims that were not yet delivered to the application.

use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time,
};

use super::{Guests, SessionError, claim};
use crate::{
    error::StoreError,
    task::{self, Task, caught},
};

/// The result of one run of the pending claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimRun {
    /// The number of claims that the hook accepted.
    pub settled: u32,
    /// The number of claims that failed. They become due again later.
    pub failed: u32,
}

/// The handle of the claim worker. Dropping it ends the task.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct ClaimWorker(AbortHandle);

impl Drop for ClaimWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guests {
    /// Calls the hook for the claims that are due, 100 at most. Several nodes may run it
    /// concurrently.
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](crate::server::session::SessionErrorKind::StoreUnavailable).
    pub async fn run_pending_claims(&self) -> Result<ClaimRun, SessionError> {
        let due = self.store().due_claims(AT_ONCE).await?;
        let mut calls = JoinSet::new();
        for due in due {
            let guests = self.clone();
            calls.spawn(async move {
                match claim::take(guests.store(), due).await {
                    Ok(Some((guest, user))) => Some(guests.settle(&guest, &user).await),
                    Ok(None) => None,
                    Err(error) => {
                        note(&error);
                        Some(false)
                    }
                }
            });
        }
        let mut retried = ClaimRun::default();
        while let Some(settled) = calls.join_next().await {
            match settled {
                Ok(Some(true)) => retried.settled += 1,
                // Another worker has the claim.
                Ok(None) => {}
                Ok(Some(false)) | Err(_) => retried.failed += 1,
            }
        }
        Ok(retried)
    }

    /// Runs the pending claims every 15 seconds ([`claims_every`]) in a separate task, until the
    /// handle is dropped.
    ///
    /// A claim is retried if the hook or the store fails or panics.
    ///
    /// [`claims_every`]: super::GuestsBuilder::claims_every
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn_claim_worker(&self) -> ClaimWorker {
        ClaimWorker(task::spawn(&Handle::current(), Worker(self.clone())))
    }

    /// Calls the hook and marks the claim as delivered. Returns `false` if the claim has to be
    /// retried.
    pub(super) async fn settle(&self, guest: &str, user: &str) -> bool {
        let call = caught("claim hook", async {
            match &self.inner.hook {
                Some(hook) => hook.on_claim(guest, user).await,
                None => Ok(()),
            }
        });
        let outcome = match time::timeout(self.inner.hook_timeout, call).await {
            Ok(Ok(Ok(()))) => claim::settle(self.store(), guest, user).await,
            Ok(Ok(Err(failed))) => Err(failed),
            Ok(Err(panicked)) => Err(StoreError::interrupted(panicked)),
            Err(late) => Err(StoreError::unavailable(late)),
        };
        if let Err(error) = &outcome {
            note(error);
        }
        outcome.is_ok()
    }
}

fn note(error: &StoreError) {
    #[cfg(feature = "tracing")]
    {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "a guest claim failed and will be retried");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

/// The task of [`Guests::spawn_claim_worker`].
struct Worker(Guests);

impl Task for Worker {
    const NAME: &'static str = "pending claims";

    async fn run(&mut self) {
        loop {
            let work = caught(Self::NAME, self.0.run_pending_claims());
            // A claim that fails becomes due again.
            match work.await {
                #[cfg(feature = "tracing")]
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the pending claims could not be read");
                }
                _ => {}
            }
            time::sleep(self.0.inner.claims_every).await;
        }
    }
}

const AT_ONCE: u32 = 100;
