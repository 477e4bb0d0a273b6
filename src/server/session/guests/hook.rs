//! The application's hook for claimed guests.

use std::future::Future;

use crate::{erased::erased, error::StoreError};

/// A hook that transfers a guest's data, such as conversations or a cart, to a user.
///
/// It is called **at least once** for every claim: again after a failure, a crash or a timeout, and
/// possibly on two nodes concurrently. It must therefore be idempotent by `(guest, user)`, as
/// `UPDATE … SET owner = user WHERE owner = guest` is. Mark the transferred data as coming from a
/// guest.
pub trait ClaimHook: Send + Sync + 'static {
    /// Transfers the guest's data to the user.
    ///
    /// # Errors
    ///
    /// Any error leaves the user signed in, and the call is repeated without limit: after 30
    /// seconds at first, later at intervals of up to an hour. A call that exceeds the timeout
    /// counts as an error.
    fn on_claim(
        &self,
        guest: &str,
        user: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<H: ClaimHook> ClaimHook for std::sync::Arc<H> {
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        (**self).on_claim(guest, user).await
    }
}

erased! {
    pub(super) trait ErasedClaimHook: ClaimHook {
        async fn on_claim(&self, guest: &'a str, user: &'a str) -> Result<(), StoreError>;
    }
}
