//! The store port for API keys.

use std::{future::Future, time::Duration};

use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, SecretDigest},
    time::Timestamp,
};

/// A store of API keys.
///
/// Every method except [`revoke_all`](Self::revoke_all) is one atomic operation. The result `false`
/// is not an error: the row does not exist or is not in the required state, and nothing was
/// written.
///
/// # Cancel safety
///
/// A dropped future leaves a write either done or not done, never half done.
pub trait ApiKeyStore: Send + Sync + 'static {
    /// Returns the key with this identifier, in any state.
    fn find(
        &self,
        id: &ApiKeyId,
    ) -> impl Future<Output = Result<Option<ApiKeyRecord>, StoreError>> + Send;

    /// Returns the keys of an owner in any state, the newest first; at most 100.
    fn list(
        &self,
        owner: &str,
    ) -> impl Future<Output = Result<Vec<ApiKeyRecord>, StoreError>> + Send;

    /// Inserts a new key. Returns `false` if its identifier is taken. Never overwrites.
    fn create(
        &self,
        record: &ApiKeyRecord,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Replaces the secret of a live key of this owner. The current secret stays valid for
    /// `overlap`, by the store's clock.
    ///
    /// An older secret that is still valid from an earlier roll is dropped: a key never has more
    /// than two. Returns `false` if the key is unknown, revoked or expired, or has another owner.
    fn roll(
        &self,
        id: &ApiKeyId,
        owner: &str,
        secret: &SecretDigest,
        display_start: &str,
        overlap: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Revokes a key of this owner. Returns `false` if there is none. A key that was revoked before
    /// keeps its time of revocation, and the result is `true`.
    fn revoke(
        &self,
        id: &ApiKeyId,
        owner: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Revokes all keys of this owner, including those beyond the limit of [`list`](Self::list),
    /// and returns their identifiers.
    ///
    /// A key that was revoked before keeps its time of revocation. Its identifier is returned if
    /// that was less than [`RETENTION`](crate::revocation::RETENTION) ago, so that a call whose answer
    /// was lost can be repeated. A store may work in steps: a call that fails may have revoked some
    /// keys.
    fn revoke_all(
        &self,
        owner: &str,
    ) -> impl Future<Output = Result<Vec<ApiKeyId>, StoreError>> + Send;

    /// Records the times at which keys were last used. A time is never moved back; unknown keys are
    /// ignored.
    ///
    /// Called in the background, at most once a minute per key.
    fn touch(
        &self,
        used: &[(ApiKeyId, Timestamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The maximum number of keys in a list.
#[cfg(feature = "server")]
pub(crate) const LISTED: usize = 100;
