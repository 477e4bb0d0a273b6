//! The port to where the counters are kept.

use std::{future::Future, time::Duration};

use super::{ThrottleKey, ThrottleRule};
use crate::{clock::Timestamp, error::StoreError};

/// Where the counters of login attempts are kept, shared by all processes of a service.
///
/// What each method does to a row is [`ThrottleRow`](super::ThrottleRow)'s; the store adds atomicity
/// and its own clock, so that the clocks of two processes cannot disagree.
///
/// # Cancel safety
///
/// An attempt whose reservation or settlement is lost counts as failed when its hold is over: losing
/// one never lets a guess go uncounted. For the same reason no call is repeated after an unknown
/// outcome.
pub trait ThrottleStore: Send + Sync + 'static {
    /// [`ThrottleRow::reserve`](super::ThrottleRow::reserve) on this key's row, atomically.
    fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> impl Future<Output = Result<Reserve<Reservation>, StoreError>> + Send;

    /// [`ThrottleRow::settle`](super::ThrottleRow::settle) on the reservation's row, atomically.
    fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Forgets a row.
    fn clear(&self, key: &ThrottleKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a counter says to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete: yes, no, not yet known")]
pub enum Reserve<T> {
    /// Go on; settle this afterwards.
    Granted(T),
    /// Attempts that are open decide; they are settled after this long at the latest.
    Pending(Duration),
    /// Refused for so long.
    Wait(Duration),
}

/// An attempt that was counted and let through.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reservation {
    key: ThrottleKey,
    rule: ThrottleRule,
    batch: Timestamp,
}

impl Reservation {
    /// What a store gives for a row that let an attempt through.
    pub fn new(key: ThrottleKey, rule: ThrottleRule, batch: Timestamp) -> Self {
        Self { key, rule, batch }
    }

    /// Which row it belongs to.
    #[must_use]
    pub fn key(&self) -> &ThrottleKey {
        &self.key
    }

    /// The rule it was let through by.
    #[must_use]
    pub fn rule(&self) -> &ThrottleRule {
        &self.rule
    }

    /// Which batch of the row it belongs to.
    #[must_use]
    pub fn batch(&self) -> Timestamp {
        self.batch
    }
}

/// What came of an attempt that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete: yes, no, nobody knows")]
pub enum AttemptOutcome {
    /// The password was wrong, or the account may not sign in.
    Failed,
    /// The password was right.
    Succeeded,
    /// The password was not looked at.
    Undecided,
}

/// What a settled attempt brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The wait that begins now; zero for none.
    pub wait: Duration,
}

impl Settled {
    /// A wait that begins now.
    #[must_use]
    pub fn wait(wait: Duration) -> Self {
        Self { wait }
    }
}
