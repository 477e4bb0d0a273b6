//! The end of all keys of an owner, by the store alone.

use super::ApiKeyStore;
use crate::{
    error::{StoreError, StoreErrorKind},
    revocation::{RETENTION, Revocation, RevocationLog},
    time::{Clock, SystemClock},
};

/// Revokes all keys of an owner, and appends them to the store's revocations. A process that has cached a key
/// refuses it when it receives the revocation, or when it reads the row again.
pub(crate) async fn revoke_all_in<S>(store: &S, owner: &str) -> Result<(), StoreError>
where
    S: ApiKeyStore + RevocationLog,
{
    let mut revoked = store.revoke_all(owner).await;
    if matches!(&revoked, Err(error) if error.kind() == StoreErrorKind::Interrupted) {
        revoked = store.revoke_all(owner).await;
    }
    let until = SystemClock::new().now().plus(RETENTION);
    for id in revoked? {
        let revocation = Revocation::token(id.as_str(), until);
        store.append(revocation).await?;
    }
    Ok(())
}
