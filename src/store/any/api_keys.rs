//! API keys.

use super::AnyStore;
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore},
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

    async fn roll(&self, from: &ApiKeyRecord, to: &ApiKeyRecord) -> Result<bool, StoreError> {
        each!(self, Self, store => store.roll(from, to))
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
