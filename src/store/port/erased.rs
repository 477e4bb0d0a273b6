//! The ports behind a pointer: what the parts of a server keep of their stores.

use std::time::Duration;

use super::{
    CreateOutcome, CredentialRecord, CredentialStore, FactorStore, Family, GuestChange, GuestStore,
    KeyRingStore, LoadedGuest, LoadedSession, LoadedThrottle, NewCredential, NewGuest, NewOneTime,
    NewSessionRecord, NewUser, OneTimeDigest, OneTimePurpose, OneTimeStore, RevokeReason,
    SessionRecord, SessionStore, SpentOneTime, StoreId, StoredFactors, StoredKeyRing, ThrottleKey,
    ThrottleRow, ThrottleStore, UserRecord, UserStanding, UserStore,
};
use crate::{
    erased::erased,
    error::StoreError,
    principal::SessionId,
    server::login::{EmailAddress, Identifier, PasswordHash},
};

erased! {
    pub(crate) trait ErasedSessionStore: SessionStore {
        async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError>;
        async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError>;
        async fn advance(
            &self,
            id: SessionId,
            from: &'a Family,
            to: &'a Family,
        ) -> Result<Option<LoadedSession>, StoreError>;
        async fn advance_live(
            &self,
            id: SessionId,
            live: u64,
            grace: Duration,
            bound_key: Option<&'a str>,
        ) -> Result<Option<LoadedSession>, StoreError>;
        async fn advance_live_with_user(
            &self,
            id: SessionId,
            live: u64,
            grace: Duration,
            bound_key: Option<&'a str>,
        ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError>;
        async fn load_with_user(
            &self,
            id: SessionId,
        ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError>;
        async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError>;
        async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError>;
        async fn replace(
            &self,
            old: SessionId,
            new: NewSessionRecord,
        ) -> Result<Option<CreateOutcome>, StoreError>;
        async fn revoke_others(
            &self,
            subject: &'a str,
            keep: SessionId,
            reason: RevokeReason,
        ) -> Result<Vec<SessionId>, StoreError>;
        async fn revoke_all(
            &self,
            subject: &'a str,
            reason: RevokeReason,
        ) -> Result<u32, StoreError>;
        async fn epoch(&self, subject: &'a str) -> Result<u32, StoreError>;
        async fn list(
            &self,
            subject: &'a str,
            limit: u32,
        ) -> Result<Vec<SessionRecord>, StoreError>;
        async fn purge(&self, limit: u32) -> Result<u64, StoreError>;
        fn is_immediate(&self) -> bool;
        fn users(&self) -> Option<StoreId>;
    }
}

erased! {
    pub(crate) trait ErasedGuestStore: GuestStore {
        async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError>;
        async fn find_guest(&self, subject: &'a str) -> Result<Option<LoadedGuest>, StoreError>;
        async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError>;
        async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError>;
        async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError>;
        fn sessions(&self) -> Option<StoreId>;
    }
}

erased! {
    pub(crate) trait ErasedUserStore: UserStore {
        async fn find(&self, identifier: &'a Identifier) -> Result<Option<UserRecord>, StoreError>;
        async fn find_by_email(
            &self,
            address: &'a EmailAddress,
        ) -> Result<Option<UserRecord>, StoreError>;
        async fn find_by_subject(
            &self,
            subject: &'a str,
        ) -> Result<Option<UserRecord>, StoreError>;
        async fn replace_hash(
            &self,
            subject: &'a str,
            old: &'a PasswordHash,
            new: &'a PasswordHash,
        ) -> Result<bool, StoreError>;
        async fn set_first_hash(
            &self,
            subject: &'a str,
            new: &'a PasswordHash,
        ) -> Result<bool, StoreError>;
        async fn create(&self, user: NewUser) -> Result<bool, StoreError>;
        async fn verify_email(
            &self,
            subject: &'a str,
            address: &'a EmailAddress,
        ) -> Result<bool, StoreError>;
        async fn change_email(
            &self,
            subject: &'a str,
            from: &'a EmailAddress,
            to: &'a EmailAddress,
        ) -> Result<bool, StoreError>;
        fn store_id(&self) -> Option<StoreId>;
        fn can_create(&self) -> bool;
        fn can_set_first_hash(&self) -> bool;
        fn keeps_email(&self) -> bool;
    }
}

erased! {
    pub(crate) trait ErasedThrottleStore: ThrottleStore {
        async fn load(&self, key: &'a ThrottleKey) -> Result<LoadedThrottle, StoreError>;
        async fn swap(
            &self,
            key: &'a ThrottleKey,
            from: Option<&'a ThrottleRow>,
            to: Option<&'a ThrottleRow>,
        ) -> Result<bool, StoreError>;
        async fn clear(&self, key: &'a ThrottleKey) -> Result<(), StoreError>;
    }
}

erased! {
    pub(crate) trait ErasedOneTimeStore: OneTimeStore {
        async fn issue(&self, token: NewOneTime) -> Result<(), StoreError>;
        async fn redeem(
            &self,
            digest: &'a OneTimeDigest,
            purpose: OneTimePurpose,
        ) -> Result<Option<SpentOneTime>, StoreError>;
        async fn forget(
            &self,
            subject: &'a str,
            purpose: OneTimePurpose,
        ) -> Result<(), StoreError>;
    }
}

erased! {
    #[cfg_attr(not(feature = "aws-lc-rs"), allow(dead_code, reason = "only the shared ring uses it"))]
    pub(crate) trait ErasedKeyRingStore: KeyRingStore {
        async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError>;
        async fn swap_key_ring(
            &self,
            from: u64,
            to: u64,
            keys: &'a str,
        ) -> Result<bool, StoreError>;
        async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError>;
    }
}

erased! {
    pub(crate) trait ErasedFactorStore: FactorStore {
        async fn load_factors(&self, subject: &'a str) -> Result<StoredFactors, StoreError>;
        async fn swap_factors(
            &self,
            subject: &'a str,
            from: u64,
            to: u64,
            factors: &'a str,
        ) -> Result<bool, StoreError>;
    }
}

erased! {
    pub(crate) trait ErasedCredentialStore: CredentialStore {
        async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError>;
        async fn find_credential(
            &self,
            kind: &'a str,
            id: &'a str,
        ) -> Result<Option<CredentialRecord>, StoreError>;
        async fn credentials(
            &self,
            kind: &'a str,
            subject: &'a str,
        ) -> Result<Vec<CredentialRecord>, StoreError>;
        async fn update_credential(
            &self,
            from: &'a CredentialRecord,
            data: &'a str,
        ) -> Result<bool, StoreError>;
        async fn unlink_credential(
            &self,
            kind: &'a str,
            id: &'a str,
            subject: &'a str,
        ) -> Result<bool, StoreError>;
        async fn unlink_credential_beside(
            &self,
            kind: &'a str,
            id: &'a str,
            kept: &'a CredentialRecord,
        ) -> Result<bool, StoreError>;
        async fn unlink_credentials(&self, subject: &'a str) -> Result<u64, StoreError>;
    }
}
