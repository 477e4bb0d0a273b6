//! The store port for login counters.

use std::future::Future;

pub use crate::server::login::throttle::{ThrottleKey, ThrottleRow};
use crate::{error::StoreError, time::Timestamp};

/// A store of login counters, shared by all processes of a service.
///
/// The store compares and sets. It decides nothing: the limits and the transitions of a counter are
/// in this crate, which loads a row, computes the next one, and swaps the two. A swap that returns
/// `false` is repeated from the load, after a random pause.
///
/// # Implementing
///
/// - A row is stored as its [text](ThrottleRow::to_text), and compared by that text.
/// - [`swap`](Self::swap) is one atomic operation. Of several concurrent swaps from the same row,
///   exactly one returns `true`.
/// - The store's clock is the only clock, in whole milliseconds, so that differing clocks of the
///   processes have no effect.
/// - A row may be deleted from its [`expires_at`](ThrottleRow::expires_at) on, and not before.
///
/// [`throttle_store_contract!`](crate::throttle_store_contract) tests these rules.
///
/// # Cancel safety
///
/// A dropped future swaps in full or not at all. An attempt whose reservation or settlement is lost
/// counts as failed when its hold is over, so a lost call never allows an uncounted guess. For the
/// same reason no call is repeated if its result is unknown.
pub trait ThrottleStore: Send + Sync + 'static {
    /// Reads the row of a key, and the store's time. Does not wait for writers.
    fn load(
        &self,
        key: &ThrottleKey,
    ) -> impl Future<Output = Result<LoadedThrottle, StoreError>> + Send;

    /// Replaces a row if it still equals `from`. `None` stands for a missing row: in `from` the row
    /// is inserted, in `to` it is deleted. Returns `false` if the row differs from `from`, and then
    /// changes nothing.
    fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes the row of a key in any state.
    fn clear(&self, key: &ThrottleKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A row, and the current time of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedThrottle {
    /// The row; `None` if it does not exist.
    pub row: Option<ThrottleRow>,
    /// The store's time.
    pub now: Timestamp,
}

impl LoadedThrottle {
    /// Creates the result of a load.
    #[must_use]
    pub fn new(row: Option<ThrottleRow>, now: Timestamp) -> Self {
        Self { row, now }
    }
}
