//! Issuing, listing, rolling, revoking and verifying keys.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    ApiKey, ApiKeyError, ApiKeyFormat, ApiKeyId, ApiKeyRecord, ApiKeyStore, ApiKeysBuilder,
    NewApiKey,
    builder::{Limits, Log},
    examine::{Examined, Examiner},
    store::ErasedApiKeyStore,
};
use crate::{
    error::{AuthError, StoreError, StoreErrorKind},
    event::{AuthEvent, Events},
    principal::Principal,
    revocation::{RETENTION, Revocation},
    task::Contention,
};

/// The API keys of one service. Cheap to clone; clones share all state.
///
/// Writes run in separate tasks, which complete even if the caller's future is dropped.
#[derive(Clone)]
pub struct ApiKeys {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn ErasedApiKeyStore>,
    pub(super) examiner: Arc<Examiner>,
    pub(super) limits: Limits,
    pub(super) log: Option<Arc<Log>>,
    pub(super) events: Events,
}

impl ApiKeys {
    /// Creates a builder of keys with this format in this store.
    pub fn builder(format: ApiKeyFormat, store: impl ApiKeyStore) -> ApiKeysBuilder {
        ApiKeysBuilder::new(format, Arc::new(store))
    }

    pub(super) fn examiner(&self) -> Arc<Examiner> {
        Arc::clone(&self.inner.examiner)
    }

    /// Issues a key. The returned value is the only place where its text exists.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Lifetime`], [`ApiKeyError::Scope`], [`ApiKeyError::Name`],
    /// [`ApiKeyError::Store`].
    pub async fn issue(&self, new: NewApiKey) -> Result<ApiKey, ApiKeyError> {
        self.write(|inner| async move { inner.issue(new).await })
            .await
    }

    /// Returns the keys of an owner, the newest first; at most 100. Revoked and expired keys are
    /// included.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Store`].
    pub async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, ApiKeyError> {
        Ok(self.inner.store.list(owner).await?)
    }

    /// Gives a live key a new secret. The current secret stays valid for `overlap`, so that clients
    /// can switch. An older secret that is still valid from an earlier roll is refused from now on.
    ///
    /// If a key has leaked, revoke it or roll it without overlap. Other processes accept the new
    /// secret after at most 5 s. They may accept the old one for up to a minute longer, because
    /// they [cache](ApiKeysBuilder::remember) keys.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Overlap`], [`ApiKeyError::NotFound`], [`ApiKeyError::Store`].
    pub async fn roll(
        &self,
        owner: &str,
        id: &ApiKeyId,
        overlap: Duration,
    ) -> Result<ApiKey, ApiKeyError> {
        if overlap > self.inner.limits.overlap {
            return Err(ApiKeyError::Overlap);
        }
        let (owner, id) = (owner.to_owned(), id.clone());
        self.write(move |inner| async move { inner.roll(&owner, id, overlap).await })
            .await
    }

    /// Revokes a key, immediately in this process and wherever a revocation set receives the entry.
    ///
    /// # Errors
    ///
    /// - [`ApiKeyError::NotFound`]: the owner has no such key.
    /// - [`ApiKeyError::Store`]: the key may or may not be revoked. Call again.
    pub async fn revoke(&self, owner: &str, id: &ApiKeyId) -> Result<(), ApiKeyError> {
        let (owner, id) = (owner.to_owned(), id.clone());
        self.write(move |inner| async move { inner.revoke(&owner, &id).await })
            .await
    }

    /// Revokes all keys of an owner, immediately in this process and wherever a revocation set
    /// receives the entries, and returns the number of keys: for an account that is closed or
    /// disabled.
    ///
    /// Keys that were revoked a short while ago count again. A revoked key stays revoked: for an
    /// owner who is only suspended, use [`owners`](ApiKeysBuilder::owners).
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Store`]: some keys may be revoked and some not. The call can be repeated.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize, ApiKeyError> {
        let owner = owner.to_owned();
        self.write(move |inner| async move { inner.revoke_all(&owner).await })
            .await
    }

    /// Verifies a key and returns its principal, for credentials that no layer sees, such as one in
    /// a WebSocket's first message.
    ///
    /// # Errors
    ///
    /// The refusal of the key, or the reason why the key cannot be verified now.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn verify(&self, credential: &str) -> Result<Principal, AuthError> {
        let examiner = &self.inner.examiner;
        let row = match examiner.examine(credential.as_bytes()) {
            Examined::Done(verdict) => verdict?,
            Examined::Wait(wait, presented) => examiner.conclude(wait.await, &presented)?,
        };
        Ok(row.caller.clone())
    }

    /// Removes a key from this process's cache, after its row was changed by other means.
    pub fn forget(&self, id: &ApiKeyId) {
        self.inner.examiner.lookups.forget(id);
    }

    /// Returns the number of uses that were not recorded because the queue was full or the store
    /// failed.
    #[must_use]
    pub fn lost_uses(&self) -> u64 {
        self.inner.examiner.uses.lost()
    }

    async fn write<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, ApiKeyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiKeyError>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.inner))).await {
            Ok(outcome) => outcome,
            // The task panicked, or the runtime is shutting down.
            Err(lost) => Err(StoreError::interrupted(lost).into()),
        }
    }
}

impl Inner {
    async fn issue(&self, new: NewApiKey) -> Result<ApiKey, ApiKeyError> {
        let now = self.examiner.clock.now();
        let template = new.checked(&self.limits, now)?;
        for _ in 0..ATTEMPTS {
            let key = self.examiner.format.mint();
            let record = template.of(&key, now);
            let created = match self.store.create(&record).await {
                // A read shows whether the row was written: no other key has this secret.
                Err(error) if error.kind() == StoreErrorKind::Interrupted => {
                    self.holds(&key).await? || self.store.create(&record).await?
                }
                created => created?,
            };
            if created {
                self.events.emit(|| AuthEvent::ApiKeyCreated {
                    owner: &record.owner,
                    id: key.id().as_str(),
                });
                return Ok(key);
            }
            // The identifier is taken: try another one.
        }
        Err(StoreError::invalid("every identifier is taken").into())
    }

    async fn roll(
        &self,
        owner: &str,
        id: ApiKeyId,
        overlap: Duration,
    ) -> Result<ApiKey, ApiKeyError> {
        let key = self.examiner.format.mint_for(id);
        let rolled = self.replace_secret(&key, owner, overlap).await;
        // Also after an error, because the row may have been written.
        self.examiner.lookups.forget(key.id());
        if !rolled? {
            return Err(ApiKeyError::NotFound);
        }
        self.events.emit(|| AuthEvent::ApiKeyRolled {
            owner,
            id: key.id().as_str(),
        });
        Ok(key)
    }

    /// Loads, decides and swaps until the key has not changed in between.
    async fn replace_secret(
        &self,
        key: &ApiKey,
        owner: &str,
        overlap: Duration,
    ) -> Result<bool, StoreError> {
        let mut contention = Contention::new();
        let mut again = true;
        loop {
            let Some(from) = self.store.find(key.id()).await? else {
                return Ok(false);
            };
            // The write of a call whose answer was lost: no other key has this secret. A second roll
            // would replace the old secret that the overlap keeps valid.
            if from.secret == *key.digest() {
                return Ok(true);
            }
            let now = self.examiner.clock.now();
            let Some(to) = from.rolled(key, owner, now, overlap) else {
                return Ok(false);
            };
            match self.store.roll(&from, &to).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if again && error.kind() == StoreErrorKind::Interrupted => {
                    again = false;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if !contention.wait().await {
                return Err(StoreError::unavailable(
                    "other nodes keep changing the same key",
                ));
            }
        }
    }

    async fn revoke(&self, owner: &str, id: &ApiKeyId) -> Result<(), ApiKeyError> {
        let revoked = self.store.revoke(id, owner).await;
        // Also after an error, because the row may have been written.
        self.examiner.lookups.forget(id);
        if !revoked? {
            return Err(ApiKeyError::NotFound);
        }
        if let Some(log) = &self.log {
            let now = self.examiner.clock.now();
            // Longer than any process caches the row.
            log(Revocation::token(id.as_str(), now.plus(RETENTION))).await?;
        }
        self.emit_revoked(owner, id);
        Ok(())
    }

    async fn revoke_all(&self, owner: &str) -> Result<usize, ApiKeyError> {
        let mut revoked = self.store.revoke_all(owner).await;
        if matches!(&revoked, Err(error) if error.kind() == StoreErrorKind::Interrupted) {
            revoked = self.store.revoke_all(owner).await;
        }
        let revoked = revoked?;
        for id in &revoked {
            self.examiner.lookups.forget(id);
        }
        let until = self.examiner.clock.now().plus(RETENTION);
        // A write to the log that fails must not keep the other keys out of it.
        let mut logged = Ok(());
        for id in &revoked {
            if let Some(log) = &self.log {
                logged = logged.and(log(Revocation::token(id.as_str(), until)).await);
            }
            self.emit_revoked(owner, id);
        }
        logged?;
        Ok(revoked.len())
    }

    /// Returns `true` if the store has this key's secret.
    async fn holds(&self, key: &ApiKey) -> Result<bool, StoreError> {
        let row = self.store.find(key.id()).await?;
        Ok(row.is_some_and(|row| row.secret == *key.digest()))
    }

    fn emit_revoked(&self, owner: &str, id: &ApiKeyId) {
        self.events.emit(|| AuthEvent::ApiKeyRevoked {
            owner,
            id: id.as_str(),
        });
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("examiner", &self.inner.examiner)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

/// An identifier has 59 random bits.
const ATTEMPTS: usize = 3;
