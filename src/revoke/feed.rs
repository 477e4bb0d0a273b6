//! Where a node learns what was revoked elsewhere.

use std::future::Future;

use super::RevocationSet;
use crate::error::StoreError;

/// Brings revocations from a store into this process.
///
/// A [`RevocationSet`] that [follows](RevocationSet::follow) a feed drives it: `load` until it
/// succeeds, then `next` over and over, and `load` again after a failure. What a feed brings twice
/// does no harm.
pub trait Feed: Send + 'static {
    /// Brings everything that is revoked now, and remembers where to go on from.
    ///
    /// What has ended by the store's clock is left out: the set, whose own clock may be wrong, keeps
    /// everything for [`LIFETIME`](super::LIFETIME) that it is told.
    ///
    /// # Errors
    ///
    /// Any: the set stays what it was, and it is tried again.
    fn load(&mut self, set: &RevocationSet) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Brings what was revoked since, waiting for news no longer than two seconds. That it returns
    /// proves that the set is up to date.
    ///
    /// It may be dropped at any point; `load` follows then.
    ///
    /// # Errors
    ///
    /// Any: the set keeps what it has, and grows stale until a `load` succeeds.
    fn next(&mut self, set: &RevocationSet) -> impl Future<Output = Result<(), StoreError>> + Send;
}
