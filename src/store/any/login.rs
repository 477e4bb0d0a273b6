//! Users, counters of login attempts, one-time tokens.

use super::AnyStore;
use crate::{
    error::StoreError,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::port::{
        LoadedThrottle, NewOneTime, NewUser, OneTimeDigest, OneTimePurpose, OneTimeStore,
        SpentOneTime, StoreId, ThrottleKey, ThrottleRow, ThrottleStore, UserAdmin, UserEntry,
        UserRecord, UserStore,
    },
};

impl UserStore for AnyStore {
    fn store_id(&self) -> Option<StoreId> {
        of_each!(self, store => UserStore::store_id(store))
    }

    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        each!(self, Self, store => store.find(identifier))
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        each!(self, Self, store => store.find_by_subject(subject))
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.replace_hash(subject, old, new))
    }

    fn can_set_first_hash(&self) -> bool {
        of_each!(self, store => UserStore::can_set_first_hash(store))
    }

    async fn set_first_hash(&self, subject: &str, new: &PasswordHash) -> Result<bool, StoreError> {
        each!(self, Self, store => store.set_first_hash(subject, new))
    }

    fn can_create(&self) -> bool {
        of_each!(self, store => UserStore::can_create(store))
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        each!(self, Self, store => store.create(user))
    }

    fn keeps_email(&self) -> bool {
        of_each!(self, store => UserStore::keeps_email(store))
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.verify_email(subject, address))
    }

    async fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.change_email(subject, from, to))
    }
}

impl UserAdmin for AnyStore {
    async fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> Result<Vec<UserEntry>, StoreError> {
        each!(self, Self, store => UserAdmin::users(store, after, limit))
    }

    async fn set_roles(&self, subject: &str, roles: &[String]) -> Result<bool, StoreError> {
        each!(self, Self, store => store.set_roles(subject, roles))
    }

    async fn set_disabled(&self, subject: &str, disabled: bool) -> Result<bool, StoreError> {
        each!(self, Self, store => store.set_disabled(subject, disabled))
    }

    async fn set_password(&self, subject: &str, hash: &PasswordHash) -> Result<bool, StoreError> {
        each!(self, Self, store => store.set_password(subject, hash))
    }
}

impl ThrottleStore for AnyStore {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        each!(self, Self, store => store.load(key))
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        each!(self, Self, store => store.swap(key, from, to))
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        each!(self, Self, store => store.clear(key))
    }
}

impl OneTimeStore for AnyStore {
    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        each!(self, Self, store => store.issue(token))
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        each!(self, Self, store => store.redeem(digest, purpose))
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        each!(self, Self, store => store.forget(subject, purpose))
    }
}
