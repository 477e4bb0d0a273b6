//! Where revocations are written.

use std::future::Future;

use super::Revocation;
use crate::error::StoreError;

/// Keeps revocations until they end, and lets every node's [`Feed`](super::Feed) learn of them.
///
/// Ending a session writes its revocation by itself; this is for what has no session, a single
/// token for example.
pub trait RevocationLog: Send + Sync + 'static {
    /// Adds a revocation. Saying it twice does no harm.
    ///
    /// Success means that it was written, not that every node has heard of it.
    fn append(&self, revocation: Revocation)
    -> impl Future<Output = Result<(), StoreError>> + Send;
}
