//! The destination of new revocations.

use std::future::Future;

use super::Revocation;
use crate::error::StoreError;

/// A store that keeps revocations until they end, and delivers them to every node's
/// [`Feed`](super::Feed).
///
/// Ending a session appends its revocation automatically. Use this trait for revocations without a
/// session, for example of a single token.
pub trait RevocationLog: Send + Sync + 'static {
    /// Appends a revocation. Appending the same one again is harmless.
    ///
    /// `Ok` means that the revocation was written. Other nodes receive it later, through their
    /// feeds.
    fn append(&self, revocation: Revocation)
    -> impl Future<Output = Result<(), StoreError>> + Send;
}
