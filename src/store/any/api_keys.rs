//! API keys.

use std::time::Duration;

use super::AnyStore;
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore, SecretDigest},
    time::Timestamp,
};

impl ApiKeyStore for AnyStore {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        each!(self, Self, store => ApiKeyStore::find(store, id))
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        each!(self, Self, store => ApiKeyStore::list(store, owner))
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        each!(self, Self, store => ApiKeyStore::create(store, record))
    }

    async fn roll(
        &self,
        id: &ApiKeyId,
        owner: &str,
        secret: &SecretDigest,
        display_start: &str,
        overlap: Duration,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.roll(id, owner, secret, display_start, overlap))
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        each!(self, Self, store => ApiKeyStore::revoke(store, id, owner))
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        each!(self, Self, store => ApiKeyStore::revoke_all(store, owner))
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        each!(self, Self, store => store.touch(used))
    }
}
