//! The store port for API keys.

use std::future::Future;

use crate::{
    erased::erased,
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord},
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

    /// Replaces the secret of a key: writes `secret`, `previous` and `display_start` of `to` if
    /// `secret` and `revoked_at` are still those of `from`. Returns `false` if the key was rolled or
    /// revoked in the meantime, or does not exist, and then changes nothing.
    ///
    /// Both records have the same identifier. The store decides nothing: the caller has checked the
    /// owner and the state of `from`.
    fn roll(
        &self,
        from: &ApiKeyRecord,
        to: &ApiKeyRecord,
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

erased! {
    pub(super) trait ErasedApiKeyStore: ApiKeyStore {
        async fn find(&self, id: &'a ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError>;
        async fn list(&self, owner: &'a str) -> Result<Vec<ApiKeyRecord>, StoreError>;
        async fn create(&self, record: &'a ApiKeyRecord) -> Result<bool, StoreError>;
        async fn roll(
            &self,
            from: &'a ApiKeyRecord,
            to: &'a ApiKeyRecord,
        ) -> Result<bool, StoreError>;
        async fn revoke(&self, id: &'a ApiKeyId, owner: &'a str) -> Result<bool, StoreError>;
        async fn revoke_all(&self, owner: &'a str) -> Result<Vec<ApiKeyId>, StoreError>;
        async fn touch(&self, used: &'a [(ApiKeyId, Timestamp)]) -> Result<(), StoreError>;
    }
}

/// The maximum number of keys in a list.
pub(crate) const LISTED: usize = 100;
