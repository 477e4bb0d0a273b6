//! The port to whatever keeps a secret that the server made itself.

use std::future::Future;

use super::Secret;
use crate::error::StoreError;

/// Keeps secrets that servers made, one for all nodes.
///
/// The refresh key alone goes there, where [`SecretKey`](super::SecretKey) was not configured:
/// whoever reads the store then holds one half of what a refresh token takes, and the other half is
/// with the clients alone.
pub trait SecretStore: Send + Sync + 'static {
    /// The secret of this name; `fresh`, kept from now on, where there was none.
    ///
    /// Of many who ask at once all get the same.
    fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> impl Future<Output = Result<Secret<Vec<u8>>, StoreError>> + Send;
}
