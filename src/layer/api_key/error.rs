//! The error of issuing, rolling and revoking keys.

use crate::error::StoreError;

/// The reason why a key was not issued, rolled or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The lifetime exceeds the maximum or is below one second, or keys without expiry are not
    /// allowed.
    #[error("the key's lifetime is not allowed")]
    Lifetime,
    /// The key requests a scope that keys may not have.
    #[error("the key's scope is not allowed")]
    Scope,
    /// The label is too long, or the owner is empty.
    #[error("the key's name or owner is not allowed")]
    Name,
    /// The overlap exceeds the maximum.
    #[error("the overlap is not allowed")]
    Overlap,
    /// The owner has no such key, or it was revoked or has expired.
    #[error("there is no such key")]
    NotFound,
    /// The store failed. The source error states whether the write may have happened.
    #[error("the store of API keys failed")]
    Store(#[from] StoreError),
}
