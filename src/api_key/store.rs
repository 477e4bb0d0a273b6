//! The port to where keys are kept.

use std::{future::Future, time::Duration};

use crate::{
    api_key::{ApiKeyId, ApiKeyRecord, SecretDigest},
    clock::Timestamp,
    error::StoreError,
};

/// Where API keys are kept.
///
/// Every method but [`revoke_all`](Self::revoke_all) is one atomic operation. What a method gives as `false` is no error: the row was
/// not there, or was not as it had to be, and nothing was written.
///
/// # Cancel safety
///
/// A future that is dropped leaves a write either done or not done, never half done.
pub trait ApiKeyStore: Send + Sync + 'static {
    /// The key with this identifier, in whatever state it is.
    fn find(
        &self,
        id: &ApiKeyId,
    ) -> impl Future<Output = Result<Option<ApiKeyRecord>, StoreError>> + Send;

    /// Returns the keys of a subject, the newest first, in whatever state they are; at most 100.
    fn list(
        &self,
        owner: &str,
    ) -> impl Future<Output = Result<Vec<ApiKeyRecord>, StoreError>> + Send;

    /// Keeps a new key; `false` where its identifier is taken. Never overwrites.
    fn create(
        &self,
        record: &ApiKeyRecord,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Replaces the secret of a live key of this owner, whose current secret goes on for `overlap`
    /// of the store's time.
    ///
    /// A secret that is being replaced already dies now: there are never more than two. `false` for
    /// a key that is unknown, revoked, expired or somebody else's.
    fn roll(
        &self,
        id: &ApiKeyId,
        owner: &str,
        secret: &SecretDigest,
        display_start: &str,
        overlap: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Revokes a key of this owner. `false` where there is none; a key that was revoked before
    /// keeps its time and counts as `true`.
    fn revoke(
        &self,
        id: &ApiKeyId,
        owner: &str,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Revokes all keys of this owner, those that no list shows included, and returns their identifiers.
    ///
    /// A key that was revoked before keeps its time. It is among the identifiers if that was less than
    /// [`LIFETIME`](crate::revoke::LIFETIME) ago, so that a call whose answer was lost can be repeated.
    /// A store may work in steps: a call that fails may have revoked some keys.
    fn revoke_all(
        &self,
        owner: &str,
    ) -> impl Future<Output = Result<Vec<ApiKeyId>, StoreError>> + Send;

    /// Notes when keys were used last. Never moves a time back; unknown keys are passed over.
    ///
    /// Called in the background, at most once a minute for one key.
    fn touch(
        &self,
        used: &[(ApiKeyId, Timestamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// How many keys of an owner are listed.
pub(crate) const LISTED: usize = 100;
