//! Claims that the application has yet to be told of.

use std::time::Duration;

use tokio::{
    task::{AbortHandle, JoinSet},
    time,
};

use super::{ClaimHook, GrantSource, GuestStore, Guests, SessionError};
use crate::refresh::SessionStore;

/// What came of telling the application once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retried {
    /// How many claims it took.
    pub settled: u32,
    /// How many it did not: they come again later.
    pub failed: u32,
}

/// A task that tells the application again and again; ends when it is dropped.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct ClaimWorker(AbortHandle);

impl Drop for ClaimWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<S, G, H> Guests<S, G, H>
where
    S: SessionStore + GuestStore,
    G: GrantSource,
    H: ClaimHook,
{
    /// Tells the application of the claims that are due, 100 at most. Nodes may do so at once.
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](crate::session::SessionErrorKind::StoreUnavailable).
    pub async fn run_pending_claims(&self) -> Result<Retried, SessionError> {
        let due = self.store().due_claims(AT_ONCE).await?;
        let mut told = JoinSet::new();
        for claim in due {
            let guests = self.clone();
            told.spawn(async move { guests.settle(&claim.guest, &claim.user).await });
        }
        let mut retried = Retried::default();
        while let Some(settled) = told.join_next().await {
            match settled {
                Ok(true) => retried.settled += 1,
                _ => retried.failed += 1,
            }
        }
        Ok(retried)
    }

    /// Runs the pending claims every 15 seconds, until the handle is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn_claim_worker(&self) -> ClaimWorker {
        let guests = self.clone();
        let task = tokio::spawn(async move {
            loop {
                // Whatever fails now is due again.
                let _ = guests.run_pending_claims().await;
                time::sleep(EVERY).await;
            }
        });
        ClaimWorker(task.abort_handle())
    }

    /// Tells the application; `false` where it has to be told again.
    pub(super) async fn settle(&self, guest: &str, user: &str) -> bool {
        let told = self.inner.hook.on_claim(guest, user);
        let told = time::timeout(self.inner.hook_timeout, told).await;
        let outcome = match told {
            Ok(Ok(())) => self.store().settle_claim(guest, user).await.map(drop),
            Ok(Err(failed)) => Err(failed),
            Err(late) => Err(crate::error::StoreError::unavailable(late)),
        };
        #[cfg(feature = "tracing")]
        if let Err(error) = &outcome {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "a claim could not be handed over");
        }
        outcome.is_ok()
    }
}

const AT_ONCE: u32 = 100;
const EVERY: Duration = Duration::from_secs(15);
