//! The refresh of a session in its store: load, decide, compare and set.

#![cfg_attr(
    not(any(test, feature = "test-util")),
    allow(unreachable_pub, reason = "public for the tests of stores only")
)]

use super::decide::apply;
#[cfg(any(test, feature = "test-util"))]
use super::{decide::decide, policy::RefreshPolicy};
use crate::{
    error::StoreError,
    event::{RefreshOutcome, RevokeReason},
    store::port::{ErasedSessionStore, LoadedSession, SessionRecord},
    time::Timestamp,
};
#[cfg(any(test, feature = "test-util"))]
use crate::{principal::SessionId, store::port::SessionStore, task::Contention};

/// The result of a refresh in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// The decision.
    pub outcome: RefreshOutcome,
    /// The session after the decision.
    pub session: SessionRecord,
    /// The store's time at the last step.
    pub now: Timestamp,
    /// The store's time at which the decision was made.
    pub decided_at: Timestamp,
}

/// Writes the outcome for a session as it was loaded. Returns `None` if the session has changed since:
/// load and decide again.
///
/// A reuse is not compared: a spent generation stays spent, so it ends the session whatever happens to
/// it concurrently.
pub(crate) async fn write(
    store: &dyn ErasedSessionStore,
    loaded: LoadedSession,
    presented: u64,
    outcome: RefreshOutcome,
) -> Result<Option<Rotation>, StoreError> {
    let LoadedSession { mut session, now } = loaded;
    let next = apply(&session.family, presented, outcome, now);
    let decided_at = now;
    if let RefreshOutcome::Reused(_) = outcome {
        let ended = store.revoke(session.id, RevokeReason::Reuse).await?;
        session.family = next;
        session.revoked = session.revoked.or(Some(RevokeReason::Reuse));
        return Ok(Some(Rotation {
            // Another call has ended the session first.
            outcome: if ended {
                outcome
            } else {
                RefreshOutcome::Revoked
            },
            session,
            now,
            decided_at,
        }));
    }
    if !outcome.writes() {
        return Ok(Some(Rotation {
            outcome,
            session,
            now,
            decided_at,
        }));
    }
    let advanced = store.advance(session.id, &session.family, &next).await?;
    Ok(advanced.map(|advanced| Rotation {
        outcome,
        session: advanced.session,
        now: advanced.now,
        decided_at,
    }))
}

/// Refreshes a session in the store: the whole of a refresh except its tokens. Returns `None` if there
/// is no such session.
///
/// # Errors
///
/// As the store's, and [`Unavailable`](crate::error::StoreErrorKind::Unavailable) if other nodes keep
/// changing the session.
#[cfg(any(test, feature = "test-util"))]
pub async fn rotate(
    store: &impl SessionStore,
    id: SessionId,
    presented: u64,
    policy: RefreshPolicy,
) -> Result<Option<Rotation>, StoreError> {
    let live = store.advance_live(id, presented, policy.grace_window(), None);
    if let Some(advanced) = live.await? {
        return Ok(Some(Rotation {
            outcome: RefreshOutcome::Rotated,
            session: advanced.session,
            now: advanced.now,
            decided_at: advanced.now,
        }));
    }
    let mut contention = Contention::new();
    loop {
        let Some(loaded) = store.load(id).await? else {
            return Ok(None);
        };
        let outcome = decide(&loaded.session.family, presented, &policy, loaded.now);
        if let Some(done) = write(store, loaded, presented, outcome).await? {
            return Ok(Some(done));
        }
        if !contention.wait().await {
            return Err(contended());
        }
    }
}

/// The error of a refresh whose session other nodes keep changing.
pub(crate) fn contended() -> StoreError {
    StoreError::unavailable("the session changes too often")
}
