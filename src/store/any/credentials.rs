//! Linked credentials.

use super::AnyStore;
use crate::{
    error::StoreError,
    store::port::{CredentialRecord, CredentialStore, NewCredential},
};

impl CredentialStore for AnyStore {
    async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError> {
        each!(self, Self, store => store.link_credential(new))
    }

    async fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        each!(self, Self, store => store.find_credential(kind, id))
    }

    async fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        each!(self, Self, store => store.credentials(kind, subject))
    }

    async fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.update_credential(from, data))
    }

    async fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.unlink_credential(kind, id, subject))
    }

    async fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.unlink_credential_beside(kind, id, kept))
    }

    async fn unlink_credentials(&self, subject: &str) -> Result<u64, StoreError> {
        each!(self, Self, store => store.unlink_credentials(subject))
    }
}
