//! Linked credentials.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use super::MemoryStore;
use crate::{
    error::StoreError,
    store::port::{CredentialRecord, CredentialStore, LISTED_CREDENTIALS, NewCredential},
};

/// The rows by kind and identifier.
pub(super) type Credentials = BTreeMap<(String, String), CredentialRecord>;

impl MemoryStore {
    fn linked(&self) -> MutexGuard<'_, Credentials> {
        let rows = self.shared.credentials.lock();
        rows.unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialStore for MemoryStore {
    async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError> {
        let mut rows = self.linked();
        let key = (new.kind, new.id);
        if rows.contains_key(&key) {
            return Ok(false);
        }
        let mut record = CredentialRecord::new(&key.0, &key.1, new.subject, self.now());
        record.data = new.data;
        rows.insert(key, record);
        Ok(true)
    }

    async fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let key = (kind.to_owned(), id.to_owned());
        Ok(self.linked().get(&key).cloned())
    }

    async fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let rows = self.linked();
        let theirs = rows
            .values()
            .filter(|row| row.kind == kind && row.subject == subject);
        let mut records: Vec<_> = theirs.cloned().collect();
        records.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        records.truncate(LISTED_CREDENTIALS);
        Ok(records)
    }

    async fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> Result<bool, StoreError> {
        let mut rows = self.linked();
        let now = self.now();
        let key = (from.kind.clone(), from.id.clone());
        let Some(row) = rows.get_mut(&key).filter(|row| is_unchanged(row, from)) else {
            return Ok(false);
        };
        data.clone_into(&mut row.data);
        row.revision += 1;
        row.used_at = Some(now);
        Ok(true)
    }

    async fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> Result<bool, StoreError> {
        let mut rows = self.linked();
        let key = (kind.to_owned(), id.to_owned());
        let theirs = rows.get(&key).is_some_and(|row| row.subject == subject);
        if theirs {
            rows.remove(&key);
        }
        Ok(theirs)
    }

    async fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        let mut rows = self.linked();
        let key = (kind.to_owned(), id.to_owned());
        let beside = (kept.kind.clone(), kept.id.clone());
        let theirs = rows
            .get(&key)
            .is_some_and(|row| row.subject == kept.subject);
        let stays = rows.get(&beside).is_some_and(|row| is_unchanged(row, kept));
        let unlinks = key != beside && theirs && stays;
        if unlinks {
            rows.remove(&key);
        }
        Ok(unlinks)
    }

    async fn unlink_credentials(&self, subject: &str) -> Result<u64, StoreError> {
        let mut rows = self.linked();
        let before = rows.len();
        rows.retain(|_, row| row.subject != subject);
        Ok((before - rows.len()) as u64)
    }
}

fn is_unchanged(row: &CredentialRecord, read: &CredentialRecord) -> bool {
    (row.revision, &row.subject, &row.data) == (read.revision, &read.subject, &read.data)
}
