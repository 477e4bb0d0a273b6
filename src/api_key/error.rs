//! Why a key was not made, rolled or revoked.

use crate::error::StoreError;

/// Why a key was not made, rolled or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The key would live longer than keys may, or not at all.
    #[error("the key's lifetime is not allowed")]
    Lifetime,
    /// The key asks for a scope that keys may not have.
    #[error("the key's scope is not allowed")]
    Scope,
    /// The key's name is too long, or it has no owner.
    #[error("the key's name or owner is not allowed")]
    Name,
    /// The old secret would go on for longer than is allowed.
    #[error("the overlap is not allowed")]
    Overlap,
    /// The owner has no such key, or it was revoked or expired.
    #[error("there is no such key")]
    NotFound,
    /// The store could not do it. Whether it wrote, its own error says.
    #[error("the store of API keys failed")]
    Store(#[from] StoreError),
}
