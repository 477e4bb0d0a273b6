//! The use cases: keys are issued, listed, rolled, revoked and verified.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    ApiKey, ApiKeyError, ApiKeyFormat, ApiKeyId, ApiKeyRecord, ApiKeyStore, ApiKeysBuilder,
    NewApiKey,
    builder::{Limits, Log},
    examine::{Examined, Examiner},
};
use crate::{
    error::{AuthError, StoreError, StoreErrorKind},
    event::{AuthEvent, Events},
    principal::Principal,
    revoke::{LIFETIME, Revocation},
};

/// The keys of one service. Cheap to clone; all clones are one.
///
/// What writes runs in a task of its own: a caller who goes leaves nothing half done.
pub struct ApiKeys<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    store: Arc<S>,
    examiner: Arc<Examiner>,
    limits: Limits,
    log: Option<Arc<Log>>,
    events: Events,
}

impl<S: ApiKeyStore> ApiKeys<S> {
    /// Starts to build: keys of this form in this store.
    pub fn builder(format: ApiKeyFormat, store: S) -> ApiKeysBuilder<S> {
        ApiKeysBuilder::new(format, store)
    }

    pub(super) fn assemble(
        store: Arc<S>,
        examiner: Arc<Examiner>,
        limits: Limits,
        log: Option<Arc<Log>>,
        events: Events,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                examiner,
                limits,
                log,
                events,
            }),
        }
    }

    pub(super) fn examiner(&self) -> Arc<Examiner> {
        Arc::clone(&self.inner.examiner)
    }

    /// Makes a key. Its text is in the answer, and nowhere else ever again.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Lifetime`], [`ApiKeyError::Scope`], [`ApiKeyError::Name`],
    /// [`ApiKeyError::Store`].
    pub async fn issue(&self, new: NewApiKey) -> Result<ApiKey, ApiKeyError> {
        self.write(|inner| async move { inner.issue(new).await })
            .await
    }

    /// Returns the keys of an owner, the newest first, the dead ones included; at most 100.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Store`].
    pub async fn list(&self, owner: &str) -> Result<Vec<ApiKeyRecord>, ApiKeyError> {
        Ok(self.inner.store.list(owner).await?)
    }

    /// Gives a live key a new secret; the old one goes on for `overlap`, so that whoever uses it can
    /// change over. A secret that was being replaced already dies now.
    ///
    /// A key that leaked is revoked, or rolled with no overlap. Other processes accept the new
    /// secret after at most 5 s, and the old one up to a minute longer, as long as they
    /// [remember](ApiKeysBuilder::remember) keys.
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

    /// Revokes a key, at once in this process and wherever a revocation set hears of it.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::NotFound`]; [`ApiKeyError::Store`]: the key may or may not be revoked, try
    /// again.
    pub async fn revoke(&self, owner: &str, id: &ApiKeyId) -> Result<(), ApiKeyError> {
        let (owner, id) = (owner.to_owned(), id.clone());
        self.write(move |inner| async move { inner.revoke(&owner, &id).await })
            .await
    }

    /// Revokes all keys of an owner, immediately in this process and wherever a revocation set is told,
    /// and returns how many there were: for an account that is closed or disabled.
    ///
    /// Keys that were revoked a short while ago count again. A revoked key stays revoked: an owner who is
    /// only suspended is what [`owners`](ApiKeysBuilder::owners) is for.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Store`]: some keys may be revoked and some not. The call can be repeated.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize, ApiKeyError> {
        let owner = owner.to_owned();
        self.write(move |inner| async move { inner.revoke_all(&owner).await })
            .await
    }

    /// Whom a key stands for: for credentials that no layer sees, as in a WebSocket's first message.
    ///
    /// # Errors
    ///
    /// Why the key is refused, or that it cannot be decided now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn verify(&self, credential: &str) -> Result<Principal, AuthError> {
        let examiner = &self.inner.examiner;
        let row = match examiner.examine(credential.as_bytes()) {
            Examined::Done(verdict) => verdict?,
            Examined::Wait(wait, presented) => examiner.conclude(wait.await, &presented)?,
        };
        Ok(row.caller.clone())
    }

    /// Forgets what this process remembers of a key, after its row was changed by other means.
    pub fn forget(&self, id: &ApiKeyId) {
        self.inner.examiner.lookups.forget(id);
    }

    /// How many uses were not written down, because the queue was full or the store failed.
    #[must_use]
    pub fn lost_uses(&self) -> u64 {
        self.inner.examiner.uses.lost()
    }

    async fn write<T, F>(&self, work: impl FnOnce(Arc<Inner<S>>) -> F) -> Result<T, ApiKeyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiKeyError>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.inner))).await {
            Ok(outcome) => outcome,
            // It panicked, or the runtime shuts down.
            Err(lost) => Err(StoreError::interrupted(lost).into()),
        }
    }
}

impl<S: ApiKeyStore> Inner<S> {
    async fn issue(&self, new: NewApiKey) -> Result<ApiKey, ApiKeyError> {
        let now = self.examiner.clock.now().into();
        let template = new.checked(&self.limits, now)?;
        for _ in 0..ATTEMPTS {
            let key = self.examiner.format.mint();
            let record = template.of(&key, now);
            let created = match self.store.create(&record).await {
                // Whether it was written can be seen: nobody else has this secret.
                Err(error) if error.kind() == StoreErrorKind::Interrupted => {
                    self.holds(&key).await? || self.store.create(&record).await?
                }
                created => created?,
            };
            if created {
                self.tell(&record.owner, key.id(), "created");
                return Ok(key);
            }
            // Ten digits met twice: another identifier.
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
        let roll = || {
            let (id, secret, start) = (key.id(), key.digest(), key.display_start());
            self.store.roll(id, owner, secret, start, overlap)
        };
        let rolled = match roll().await {
            // Rolled twice, the new secret would push out the one that is to go on.
            Err(error) if error.kind() == StoreErrorKind::Interrupted => {
                self.holds(&key).await? || roll().await?
            }
            rolled => rolled?,
        };
        self.examiner.lookups.forget(key.id());
        if !rolled {
            return Err(ApiKeyError::NotFound);
        }
        self.tell(owner, key.id(), "rolled");
        Ok(key)
    }

    async fn revoke(&self, owner: &str, id: &ApiKeyId) -> Result<(), ApiKeyError> {
        let revoked = self.store.revoke(id, owner).await;
        // Also after an error: it may have been written.
        self.examiner.lookups.forget(id);
        if !revoked? {
            return Err(ApiKeyError::NotFound);
        }
        if let Some(log) = &self.log {
            let now = crate::clock::Timestamp::from(self.examiner.clock.now());
            // Longer than any process remembers the row.
            log(Revocation::token(id.as_str(), now.plus(LIFETIME))).await?;
        }
        self.tell(owner, id, "revoked");
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
        let until = crate::clock::Timestamp::from(self.examiner.clock.now()).plus(LIFETIME);
        for id in &revoked {
            if let Some(log) = &self.log {
                log(Revocation::token(id.as_str(), until)).await?;
            }
            self.tell(owner, id, "revoked");
        }
        Ok(revoked.len())
    }

    /// Whether the store has this very secret.
    async fn holds(&self, key: &ApiKey) -> Result<bool, StoreError> {
        let row = self.store.find(key.id()).await?;
        Ok(row.is_some_and(|row| row.secret == *key.digest()))
    }

    fn tell(&self, owner: &str, id: &ApiKeyId, event: &'static str) {
        self.events.tell(|| AuthEvent::ApiKey {
            owner,
            id: id.as_str(),
            event,
            network: None,
        });
    }
}

impl<S> Clone for ApiKeys<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S> fmt::Debug for ApiKeys<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("examiner", &self.inner.examiner)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

/// An identifier holds 59 random bits.
const ATTEMPTS: usize = 3;
