//! A store that fails when a test says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tower_jwt_auth::{
    error::StoreError,
    principal::SessionId,
    store::{
        MemoryStore,
        port::{
            CreateOutcome, Family, GuestChange, GuestStore, LoadedGuest, LoadedSession, NewGuest,
            NewSessionRecord, RevokeReason, SessionRecord, SessionStore,
        },
    },
};

#[derive(Clone)]
pub(crate) struct Flaky {
    pub(crate) store: MemoryStore,
    /// Sessions cannot be read; all else goes on.
    pub(crate) blind: Arc<AtomicBool>,
    /// A guest is promoted once, and the answer is lost.
    pub(crate) loses: Arc<AtomicBool>,
    /// Before so many sessions are created, somebody ends all of their subject's.
    pub(crate) crossed: Arc<AtomicUsize>,
}

impl SessionStore for Flaky {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let left = |left: usize| left.checked_sub(1);
        let order = Ordering::Relaxed;
        if self.crossed.fetch_update(order, order, left).is_ok() {
            let reason = RevokeReason::Logout;
            self.store.revoke_all(&session.subject, reason).await?;
        }
        self.store.create(session).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        match self.blind.load(Ordering::Relaxed) {
            true => Err(StoreError::unavailable("unplugged")),
            false => self.store.load(id).await,
        }
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        self.store.advance(id, from, to).await
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        self.store.confirm(id, generation).await
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        self.store.revoke(id, reason).await
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        self.store.replace(old, new).await
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store.revoke_others(subject, keep, reason).await
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        self.store.revoke_all(subject, reason).await
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        self.store.epoch(subject).await
    }

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        self.store.list(subject, limit).await
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        self.store.purge(limit).await
    }
}

impl GuestStore for Flaky {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        self.store.create_guest(guest).await
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        self.store.find_guest(subject).await
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        let promotes = change.ends_sessions() && change.to.claim.is_none();
        let done = self.store.change_guest(change).await;
        match promotes && self.loses.swap(false, Ordering::Relaxed) {
            true => Err(StoreError::interrupted("cut")),
            false => done,
        }
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        self.store.due_claims(limit).await
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        self.store.purge_guests(limit).await
    }
}
