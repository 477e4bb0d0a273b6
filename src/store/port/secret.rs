//! The store of secrets that a server generated.

use std::future::Future;

use crate::error::StoreError;
use crate::secret::Secret;

/// A store of generated secrets, shared by all nodes.
///
/// Only the refresh key is stored, and only if no [`SecretKey`](crate::secret::SecretKey) is configured. A
/// reader of the store alone cannot forge refresh tokens, because a token also requires a part that
/// only its client has.
pub trait SecretStore: Send + Sync + 'static {
    /// Returns the secret with this name. If it does not exist, stores `fresh` and returns it.
    ///
    /// All concurrent callers receive the same secret.
    fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> impl Future<Output = Result<Secret<Vec<u8>>, StoreError>> + Send;
}
