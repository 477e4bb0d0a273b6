//! Detection of proofs that were used before (RFC 9449 §11.1).

mod memory;
#[cfg(feature = "redis-replay")]
mod redis;

use std::{fmt, future::Future};

pub(crate) use self::memory::{Memory, Moment, Place};
#[cfg(feature = "redis-replay")]
pub use self::redis::RedisReplayStore;
use crate::{
    erased::erased,
    error::{ConfigError, StoreError},
    key::{Thumbprint, sha256_of},
    time::Timestamp,
};

/// A store of used proofs, for services with several nodes.
///
/// Each node detects the replays that it sees itself. A store detects a proof that was used on one node and
/// is sent to another one.
///
/// # Examples
///
/// ```
/// use std::{
///     collections::HashMap,
///     sync::{Mutex, PoisonError},
/// };
/// use tower_jwt_auth::{
///     error::StoreError,
///     time::Timestamp,
///     verify::proof::{ProofId, ReplayStore},
/// };
///
/// /// A store for tests. A real one is shared by the nodes, and forgets proofs.
/// #[derive(Default)]
/// struct InMemory(Mutex<HashMap<[u8; 32], Timestamp>>);
///
/// impl ReplayStore for InMemory {
///     async fn first_use(&self, proof: &ProofId, until: Timestamp) -> Result<bool, StoreError> {
///         let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         Ok(used.insert(*proof.as_bytes(), until).is_none())
///     }
/// }
/// ```
pub trait ReplayStore: Send + Sync + 'static {
    /// Records a proof. Returns `true` for its first use, and `false` if it was recorded before.
    ///
    /// The look and the record are one atomic step. The record must last until `until`, after which no
    /// node accepts the proof. The signature of the proof was verified before.
    ///
    /// # Errors
    ///
    /// Any error is answered with 503: a proof is never accepted without the check.
    fn first_use(
        &self,
        proof: &ProofId,
        until: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

erased! {
    pub(crate) trait ErasedReplayStore: ReplayStore {
        async fn first_use(&self, proof: &'a ProofId, until: Timestamp) -> Result<bool, StoreError>;
    }
}

/// The identity of a proof: a digest of its key and its identifier (`jti`).
///
/// Two clients may choose the same `jti`. The method and the target are not part of it, so that no other
/// spelling of them makes another proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofId {
    digest: [u8; 32],
    key: Thumbprint,
}

impl ProofId {
    pub(crate) fn new(key: Thumbprint, id: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            // The key has a fixed length, so that no two pairs have the same bytes.
            digest: sha256_of(&[&key, id.as_bytes()])?,
            key,
        })
    }

    /// Returns the digest, under which a store keeps the proof.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Returns the SHA-256 thumbprint of the client's key (RFC 7638), for limits per client.
    #[must_use]
    pub fn key_thumbprint(&self) -> &[u8; 32] {
        &self.key
    }
}

impl fmt::Debug for ProofId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofId").finish_non_exhaustive()
    }
}
