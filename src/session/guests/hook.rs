//! What the application does when a guest turns out to be somebody.

use std::future::Future;

use crate::error::StoreError;

/// Gives the user what the guest had: its conversations, its cart.
///
/// It is called **at least once** for every claim, perhaps again after a failure, a crash or a slow
/// answer, and perhaps twice at once on two nodes. So it must be idempotent by `(guest, user)`: one
/// `UPDATE … SET owner = user WHERE owner = guest` is. What is moved is better marked as coming from
/// a guest.
pub trait ClaimHook: Send + Sync + 'static {
    /// Moves what belongs to the guest to the user.
    ///
    /// # Errors
    ///
    /// Any: the user is signed in all the same, and it is tried again, after 30 seconds at first,
    /// then after up to an hour, without end. An answer that takes too long counts as one.
    fn on_claim(
        &self,
        guest: &str,
        user: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Moves nothing: the default.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct NoClaimHook;

impl ClaimHook for NoClaimHook {
    async fn on_claim(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<H: ClaimHook> ClaimHook for std::sync::Arc<H> {
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        (**self).on_claim(guest, user).await
    }
}
