//! The store port for login counters.

use std::{future::Future, time::Duration};

use crate::server::login::{ThrottleKey, ThrottleRule};
use crate::{error::StoreError, time::Timestamp};

/// A store of login counters, shared by all processes of a service.
///
/// [`ThrottleRow`](crate::server::login::ThrottleRow) specifies the effect of each method on a row. The store adds
/// atomicity and its clock, so that differing clocks of the processes have no effect.
///
/// # Cancel safety
///
/// An attempt whose reservation or settlement is lost counts as failed when its hold is over, so a
/// lost call never allows an uncounted guess. For the same reason no call is repeated if its result
/// is unknown.
pub trait ThrottleStore: Send + Sync + 'static {
    /// Applies [`ThrottleRow::reserve`](crate::server::login::ThrottleRow::reserve) to this key's row, atomically.
    fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> impl Future<Output = Result<Reserve<Reservation>, StoreError>> + Send;

    /// Applies [`ThrottleRow::settle`](crate::server::login::ThrottleRow::settle) to the reservation's row,
    /// atomically.
    fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> impl Future<Output = Result<Settled, StoreError>> + Send;

    /// Deletes a row.
    fn clear(&self, key: &ThrottleKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The result of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete: yes, no, not yet known")]
pub enum Reserve<T> {
    /// The attempt may proceed. Settle this value afterwards.
    Granted(T),
    /// The open attempts decide. They are settled after this time at the latest.
    Pending(Duration),
    /// The attempt is refused for this time.
    Wait(Duration),
}

/// An attempt that was counted and granted.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reservation {
    key: ThrottleKey,
    rule: ThrottleRule,
    batch: Timestamp,
}

impl Reservation {
    /// Creates a reservation, for a store that granted an attempt.
    pub fn new(key: ThrottleKey, rule: ThrottleRule, batch: Timestamp) -> Self {
        Self { key, rule, batch }
    }

    /// Returns the key of the row.
    #[must_use]
    pub fn key(&self) -> &ThrottleKey {
        &self.key
    }

    /// Returns the rule of the reservation.
    #[must_use]
    pub fn rule(&self) -> &ThrottleRule {
        &self.rule
    }

    /// Returns the batch of the row to which the attempt belongs.
    #[must_use]
    pub fn batch(&self) -> Timestamp {
        self.batch
    }
}

/// The outcome of a granted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete: yes, no, nobody knows")]
pub enum AttemptOutcome {
    /// The password was wrong, or the account may not sign in.
    Failed,
    /// The password was right.
    Succeeded,
    /// The password was not checked.
    Undecided,
}

/// The effect of settling an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The wait that begins now; zero if there is none.
    pub wait: Duration,
}

impl Settled {
    /// Creates a result with a wait that begins now.
    #[must_use]
    pub fn wait(wait: Duration) -> Self {
        Self { wait }
    }
}
