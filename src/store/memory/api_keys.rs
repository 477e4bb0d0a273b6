//! API keys.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use super::MemoryStore;
use crate::{
    error::StoreError,
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore, LISTED},
    revocation::RETENTION,
    time::Timestamp,
};

impl MemoryStore {
    fn api_keys(&self) -> MutexGuard<'_, HashMap<ApiKeyId, ApiKeyRecord>> {
        let keys = self.shared.api_keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiKeyStore for MemoryStore {
    async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
        Ok(self.api_keys().get(id).cloned())
    }

    async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let keys = self.api_keys();
        let theirs = keys.values().filter(|record| record.owner == owner);
        let mut records: Vec<_> = theirs.cloned().collect();
        records.sort_by(|a, b| (Reverse(a.created_at), &a.id).cmp(&(Reverse(b.created_at), &b.id)));
        records.truncate(LISTED);
        Ok(records)
    }

    async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
        let mut keys = self.api_keys();
        if keys.contains_key(&record.id) {
            return Ok(false);
        }
        keys.insert(record.id.clone(), record.clone());
        Ok(true)
    }

    async fn roll(&self, from: &ApiKeyRecord, to: &ApiKeyRecord) -> Result<bool, StoreError> {
        let mut keys = self.api_keys();
        let same = |record: &&mut ApiKeyRecord| {
            record.secret == from.secret && record.revoked_at == from.revoked_at
        };
        let Some(record) = keys.get_mut(&from.id).filter(same) else {
            return Ok(false);
        };
        record.secret = to.secret;
        record.previous = to.previous;
        record.display_start.clone_from(&to.display_start);
        Ok(true)
    }

    async fn revoke(&self, id: &ApiKeyId, owner: &str) -> Result<bool, StoreError> {
        let mut keys = self.api_keys();
        let now = self.now();
        let record = keys.get_mut(id).filter(|record| record.owner == owner);
        Ok(record
            .map(|record| record.revoked_at.get_or_insert(now))
            .is_some())
    }

    async fn revoke_all(&self, owner: &str) -> Result<Vec<ApiKeyId>, StoreError> {
        let mut keys = self.api_keys();
        let now = self.now();
        let theirs = keys.values_mut().filter(|record| record.owner == owner);
        let revoked = theirs.filter_map(|record| {
            let at = *record.revoked_at.get_or_insert(now);
            (at > now.minus(RETENTION)).then(|| record.id.clone())
        });
        Ok(revoked.collect())
    }

    async fn touch(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut keys = self.api_keys();
        for (id, at) in used {
            if let Some(record) = keys.get_mut(id) {
                record.last_used_at = record.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }
}
