//! Claims that the application has yet to be told of.

use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time,
};

use super::{ClaimHook, GrantSource, GuestStore, Guests, SessionError};
use crate::{
    error::StoreError,
    refresh::SessionStore,
    task::{self, Task, caught},
};

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

    /// Runs the pending claims every 15 seconds ([`claims_every`]), until the handle is dropped.
    ///
    /// A hook or a store that fails or panics is asked again.
    ///
    /// [`claims_every`]: super::GuestsBuilder::claims_every
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn_claim_worker(&self) -> ClaimWorker {
        ClaimWorker(task::spawn(&Handle::current(), Worker(self.clone())))
    }

    /// Tells the application; `false` where it has to be told again.
    pub(super) async fn settle(&self, guest: &str, user: &str) -> bool {
        let told = caught("claim hook", async {
            self.inner.hook.on_claim(guest, user).await
        });
        let outcome = match time::timeout(self.inner.hook_timeout, told).await {
            Ok(Ok(Ok(()))) => self.store().settle_claim(guest, user).await.map(drop),
            Ok(Ok(Err(failed))) => Err(failed),
            Ok(Err(panicked)) => Err(StoreError::interrupted(panicked)),
            Err(late) => Err(StoreError::unavailable(late)),
        };
        #[cfg(feature = "tracing")]
        if let Err(error) = &outcome {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "a claim could not be handed over");
        }
        outcome.is_ok()
    }
}

/// The task of [`Guests::spawn_claim_worker`].
struct Worker<S, G, H>(Guests<S, G, H>);

impl<S, G, H> Task for Worker<S, G, H>
where
    S: SessionStore + GuestStore,
    G: GrantSource,
    H: ClaimHook,
{
    const NAME: &'static str = "pending claims";

    async fn run(&mut self) {
        loop {
            let work = caught(Self::NAME, self.0.run_pending_claims());
            // Whatever fails now is due again.
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
