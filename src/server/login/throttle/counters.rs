//! The counters over a store: load, decide, swap.

use std::time::Duration;

use tokio::time::Instant;

use super::{AttemptOutcome, Reserve, ThrottleKey, ThrottleRow, ThrottleRule, gate::Contender};
use crate::{error::StoreError, store::port::ThrottleStore, task::Contention, time::Timestamp};

/// An attempt that was counted and granted.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Reservation {
    pub(super) key: ThrottleKey,
    pub(super) rule: ThrottleRule,
    batch: Timestamp,
}

/// The reason why a counter has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Other nodes changed the row until the deadline. Nothing was counted.
    Contended,
    Store(StoreError),
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Counts an attempt. A refusal writes nothing.
///
/// Only one contender of a node calls the store for a key, so that the number of swaps that meet is
/// at most the number of nodes.
pub(super) async fn reserve<T: ThrottleStore>(
    store: &T,
    contender: &Contender<'_>,
    rule: &ThrottleRule,
    give_up: Instant,
) -> Result<Reserve<Reservation>, Unanswered> {
    let key = *contender.key();
    let mut contention = Contention::until(give_up);
    loop {
        let loaded = store.load(&key).await?;
        let mut row = loaded.row.unwrap_or_default();
        let batch = match row.reserve(rule, loaded.now) {
            Reserve::Granted(batch) => batch,
            Reserve::Pending(held) => return Ok(Reserve::Pending(held)),
            Reserve::Wait(wait) => return Ok(Reserve::Wait(wait)),
        };
        if store.swap(&key, loaded.row.as_ref(), Some(&row)).await? {
            let rule = *rule;
            return Ok(Reserve::Granted(Reservation { key, rule, batch }));
        }
        if !contention.wait().await {
            return Err(Unanswered::Contended);
        }
    }
}

/// Records the result of an attempt, and returns the wait that begins.
pub(super) async fn settle<T: ThrottleStore>(
    store: &T,
    contender: &Contender<'_>,
    reservation: Reservation,
    outcome: AttemptOutcome,
    give_up: Instant,
) -> Result<Duration, Unanswered> {
    let Reservation { key, rule, batch } = reservation;
    debug_assert_eq!(contender.key(), &key);
    let mut contention = Contention::until(give_up);
    loop {
        let loaded = store.load(&key).await?;
        // A missing row was cleared or has expired.
        let Some(from) = loaded.row else {
            return Ok(Duration::ZERO);
        };
        let mut row = from;
        let wait = row.settle(&rule, loaded.now, batch, outcome);
        let to: Option<&ThrottleRow> = (!row.is_spent(loaded.now)).then_some(&row);
        if row == from || store.swap(&key, Some(&from), to).await? {
            return Ok(wait);
        }
        if !contention.wait().await {
            return Err(Unanswered::Contended);
        }
    }
}
