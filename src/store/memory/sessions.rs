//! Sessions in this process.

use std::cmp::Reverse;

use super::MemoryStore;
use crate::{
    error::StoreError,
    principal::SessionId,
    server::refresh::{Family, RefreshOutcome, RefreshPolicy, apply, confirm, decide},
    store::port::{
        CreateOutcome, LISTED, LoadedSession, NewSessionRecord, RevokeReason, Rotation,
        SessionRecord, SessionStore,
    },
};

impl SessionStore for MemoryStore {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let epoch = state.epoch(&session.subject);
        if session.epoch.is_some_and(|read| read != epoch) {
            return Ok(CreateOutcome::EpochMoved);
        }
        if state.sessions.contains_key(&session.id) {
            return Ok(CreateOutcome::Exists);
        }
        state.make_room(now)?;
        let record = SessionRecord {
            id: session.id,
            subject: session.subject,
            kind: session.kind,
            epoch,
            family: Family {
                generation: 0,
                parent: None,
                confirmed: None,
                rotated_at: None,
                reissues: 0,
                used_at: now,
                idle: session.idle,
                expires_at: now.plus(session.lifetime),
                revoked: false,
            },
            created_at: now,
            revoked: None,
            details: session.details,
        };
        state.insert(record.clone());
        Ok(CreateOutcome::Created(record))
    }

    async fn peek(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let session = state.sessions.get(&id).map(|row| row.record.clone());
        Ok(session.map(|session| LoadedSession { session, now }))
    }

    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> Result<Option<Rotation>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let Some(row) = state.sessions.get_mut(&id) else {
            return Ok(None);
        };
        let outcome = decide(&row.record.family, presented, &policy, now);
        row.record.family = apply(&row.record.family, presented, outcome, now);
        if let RefreshOutcome::Reused(_) = outcome {
            row.revoke(RevokeReason::ReuseKind, now);
            self.emit(id, now);
        }
        Ok(Some(Rotation {
            outcome,
            session: row.record.clone(),
            now,
        }))
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        if let Some(row) = self.lock().sessions.get_mut(&id) {
            row.record.family = confirm(&row.record.family, generation);
        }
        Ok(())
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let Some(row) = state.sessions.get_mut(&id) else {
            return Ok(false);
        };
        let alive = row.is_alive(now);
        if row.revoke(reason, now) {
            self.emit(id, now);
        }
        Ok(alive)
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let mut ended = Vec::new();
        for id in state.ids_of(subject).filter(|id| *id != keep) {
            if let Some(row) = state.sessions.get_mut(&id) {
                if row.is_alive(now) {
                    ended.push(id);
                }
                if row.revoke(reason, now) {
                    self.emit(id, now);
                }
            }
        }
        Ok(ended)
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        Ok(self.end_all(&mut state, subject, reason, now))
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        Ok(self.lock().epoch(subject))
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let rows = state.ids_of(subject);
        let rows = rows.filter_map(|id| state.sessions.get(&id));
        let mut alive: Vec<_> = rows.filter(|row| row.is_alive(now)).collect();
        alive.sort_by_key(|row| (Reverse(row.record.family.used_at), row.record.id));
        alive.truncate(LISTED);
        Ok(alive.into_iter().map(|row| row.record.clone()).collect())
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        state.forget_epochs(now);
        let ended = state
            .sessions
            .values()
            .filter(|row| row.ended_long_ago(now));
        let ids: Vec<_> = ended
            .map(|row| row.record.id)
            .take(limit as usize)
            .collect();
        let sessions = state.remove(&ids);
        drop(state);
        let purged = sessions + self.shared.news.purge();
        let purged = purged + self.purge_one_time(limit) + self.shared.throttle.purge();
        Ok(purged)
    }
}
