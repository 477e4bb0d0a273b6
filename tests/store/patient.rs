//! A store whose clients come again.

use std::time::{Duration, Instant};

use tower_jwt_auth::{
    error::{StoreError, StoreErrorKind},
    layer::api_key::{ApiKeyId, ApiKeyRecord, ApiKeyStore},
    principal::SessionId,
    revocation::{Revocation, RevocationLog},
    secret::Secret,
    store::port::{
        CreateOutcome, Family, GuestChange, GuestStore, LoadedGuest, LoadedSession, NewGuest,
        NewSessionRecord, RevokeReason, SecretStore, SessionRecord, SessionStore,
    },
    time::Timestamp,
};

/// Repeats what the store said it could not do now, for a minute: nothing was written then.
///
/// A store lets nobody queue for long. Where a hundred come at once and the machine is busy, it turns
/// some of them away, and rightly so.
#[derive(Clone)]
pub(crate) struct Patient<S>(pub(crate) S);

macro_rules! repeat {
    ($($trait:ident {
        $(fn $method:ident($($name:ident: $kind:ty),*) -> $output:ty;)*
        $(plain fn $plain:ident() -> $value:ty;)*
    })*) => {$(
        impl<S: $trait> $trait for Patient<S> {
            $(fn $plain(&self) -> $value {
                $trait::$plain(&self.0)
            })*
            $(async fn $method(&self, $($name: $kind),*) -> Result<$output, StoreError> {
                let since = Instant::now();
                loop {
                    let answer = $trait::$method(&self.0, $(Clone::clone(&$name)),*).await;
                    match answer {
                        Err(error)
                            if error.kind() == StoreErrorKind::Unavailable
                                && since.elapsed() < Duration::from_secs(60) =>
                        {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        answer => return answer,
                    }
                }
            })*
        }
    )*};
}

repeat! {
    SessionStore {
        fn create(session: NewSessionRecord) -> CreateOutcome;
        fn load(id: SessionId) -> Option<LoadedSession>;
        fn advance(id: SessionId, from: &Family, to: &Family) -> Option<LoadedSession>;
        fn advance_live(
            id: SessionId, live: u64, grace: Duration, bound_key: Option<&str>
        ) -> Option<LoadedSession>;
        fn confirm(id: SessionId, generation: u64) -> ();
        fn revoke(id: SessionId, reason: RevokeReason) -> bool;
        fn replace(old: SessionId, new: NewSessionRecord) -> Option<CreateOutcome>;
        fn revoke_others(subject: &str, keep: SessionId, reason: RevokeReason) -> Vec<SessionId>;
        fn revoke_all(subject: &str, reason: RevokeReason) -> u32;
        fn epoch(subject: &str) -> u32;
        fn list(subject: &str, limit: u32) -> Vec<SessionRecord>;
        fn purge(limit: u32) -> u64;
    }
    RevocationLog {
        fn append(revocation: Revocation) -> ();
    }
    SecretStore {
        fn secret_or_insert(name: &str, fresh: &[u8]) -> Secret<Vec<u8>>;
    }
    GuestStore {
        fn create_guest(guest: NewGuest) -> bool;
        fn find_guest(subject: &str) -> Option<LoadedGuest>;
        fn change_guest(change: GuestChange) -> bool;
        fn due_claims(limit: u32) -> Vec<LoadedGuest>;
        fn purge_guests(limit: u32) -> u64;
    }
    ApiKeyStore {
        fn find(id: &ApiKeyId) -> Option<ApiKeyRecord>;
        fn list(owner: &str) -> Vec<ApiKeyRecord>;
        fn create(record: &ApiKeyRecord) -> bool;
        fn roll(from: &ApiKeyRecord, to: &ApiKeyRecord) -> bool;
        fn revoke(id: &ApiKeyId, owner: &str) -> bool;
        fn revoke_all(owner: &str) -> Vec<ApiKeyId>;
        fn touch(used: &[(ApiKeyId, Timestamp)]) -> ();
    }
}

#[cfg(feature = "server")]
mod login {
    use tower_jwt_auth::{
        server::login::{EmailAddress, Identifier, PasswordHash},
        store::port::{
            CredentialRecord, CredentialStore, FactorStore, LoadedThrottle, NewCredential,
            NewOneTime, NewUser, OneTimeDigest, OneTimePurpose, OneTimeStore, SpentOneTime,
            StoredFactors, ThrottleKey, ThrottleRow, ThrottleStore, UserAdmin, UserEntry,
            UserRecord, UserStore,
        },
    };

    use super::*;

    repeat! {
        ThrottleStore {
            fn load(key: &ThrottleKey) -> LoadedThrottle;
            fn swap(
                key: &ThrottleKey, from: Option<&ThrottleRow>, to: Option<&ThrottleRow>
            ) -> bool;
            fn clear(key: &ThrottleKey) -> ();
        }
        UserStore {
            fn find(identifier: &Identifier) -> Option<UserRecord>;
            fn find_by_subject(subject: &str) -> Option<UserRecord>;
            fn replace_hash(subject: &str, old: &PasswordHash, new: &PasswordHash) -> bool;
            fn find_by_email(address: &EmailAddress) -> Option<UserRecord>;
            fn set_first_hash(subject: &str, new: &PasswordHash) -> bool;
            fn create(user: NewUser) -> bool;
            fn verify_email(subject: &str, address: &EmailAddress) -> bool;
            fn change_email(subject: &str, from: &EmailAddress, to: &EmailAddress) -> bool;
            plain fn can_create() -> bool;
            plain fn can_set_first_hash() -> bool;
            plain fn keeps_email() -> bool;
        }
        UserAdmin {
            fn users(after: Option<&Identifier>, limit: u32) -> Vec<UserEntry>;
            fn set_roles(subject: &str, roles: &[String]) -> bool;
            fn set_disabled(subject: &str, disabled: bool) -> bool;
            fn set_password(subject: &str, hash: &PasswordHash) -> bool;
        }
        FactorStore {
            fn load_factors(subject: &str) -> StoredFactors;
            fn swap_factors(subject: &str, from: u64, to: u64, factors: &str) -> bool;
        }
        CredentialStore {
            fn link_credential(new: NewCredential) -> bool;
            fn find_credential(kind: &str, id: &str) -> Option<CredentialRecord>;
            fn credentials(kind: &str, subject: &str) -> Vec<CredentialRecord>;
            fn update_credential(from: &CredentialRecord, data: &str) -> bool;
            fn unlink_credential(kind: &str, id: &str, subject: &str) -> bool;
            fn unlink_credential_beside(kind: &str, id: &str, kept: &CredentialRecord) -> bool;
            fn unlink_credentials(subject: &str) -> u64;
        }
        OneTimeStore {
            fn issue(token: NewOneTime) -> ();
            fn redeem(digest: &OneTimeDigest, purpose: OneTimePurpose) -> Option<SpentOneTime>;
            fn forget(subject: &str, purpose: OneTimePurpose) -> ();
        }
    }
}
