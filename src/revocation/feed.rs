//! The source of revocations by other nodes.

use std::future::Future;

use super::RevocationSet;
use crate::error::StoreError;

/// A source that copies revocations from a store into a set of this process.
///
/// A [`RevocationSet`] that [follows](RevocationSet::follow) a feed calls `load` until it succeeds,
/// then `next` repeatedly, and `load` again after a failure. A feed may insert the same revocation
/// repeatedly; that is harmless.
pub trait Feed: Send + 'static {
    /// Inserts all current revocations into the set, and remembers the position at which `next`
    /// continues.
    ///
    /// Leave out the revocations that have ended by the store's clock. The local clock may be
    /// wrong, so the set keeps everything inserted for at least [`RETENTION`](super::RETENTION).
    ///
    /// # Errors
    ///
    /// Any error: the set is unchanged or partly loaded, and `load` is called again.
    fn load(&mut self, set: &RevocationSet) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Inserts the revocations since the last call, and waits for new ones for at most two seconds.
    /// A successful return means that the set is up to date.
    ///
    /// The future may be dropped at any point. The next call is then `load`.
    ///
    /// # Errors
    ///
    /// Any error: the set keeps its entries and is out of date until a `load` succeeds.
    fn next(&mut self, set: &RevocationSet) -> impl Future<Output = Result<(), StoreError>> + Send;
}
