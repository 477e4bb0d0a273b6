//! Sessions.

use std::{cmp::Reverse, time::Duration};

use super::{MemoryStore, State};
use crate::{
    error::StoreError,
    event::RefreshOutcome,
    principal::{PrincipalKind, SessionId},
    server::refresh::{RefreshPolicy, apply, confirm, decide},
    store::port::{
        CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
        SessionStore, StoreId, UserStanding,
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
        let record = SessionRecord::started(session, epoch, now);
        state.insert(record.clone(), now);
        Ok(CreateOutcome::Created(record))
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let session = state.sessions.get(&id).map(|row| row.record.clone());
        Ok(session.map(|session| LoadedSession::new(session, now)))
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let Some(row) = state.sessions.get(&id).filter(|row| row.is_alive(now)) else {
            return Ok(None);
        };
        let family = &row.record.family;
        let seen = (family.generation, family.reissues, family.confirmed);
        if seen != (from.generation, from.reissues, from.confirmed) {
            return Ok(None);
        }
        let next = Family {
            generation: to.generation,
            parent: to.parent,
            reissues: to.reissues,
            rotated_at: Some(now),
            used_at: now,
            ..family.clone()
        };
        Ok(state
            .change(id, next)
            .map(|session| LoadedSession::new(session, now)))
    }

    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        Ok(self.lock().advance_live(self, id, live, grace, bound_key))
    }

    async fn advance_live_with_user(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        // The users are locked first, as elsewhere. The subject of a session never changes.
        let subject = self.lock().subject_of(id);
        let Some((kind, subject)) = subject else {
            return Ok(None);
        };
        let users = self.lock_users();
        let user = users.standing(&subject);
        if kind == PrincipalKind::User && user.as_ref().is_none_or(|user| user.disabled) {
            return Ok(None);
        }
        let advanced = self.lock().advance_live(self, id, live, grace, bound_key);
        Ok(advanced.map(|session| (session, user)))
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn users(&self) -> Option<StoreId> {
        Some(self.shared.id)
    }

    async fn load_with_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        let Some(loaded) = self.load(id).await? else {
            return Ok(None);
        };
        let user = self.lock_users().standing(&loaded.session.subject);
        Ok(Some((loaded, user)))
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
        let alive = state.sessions.get(&id).is_some_and(|row| row.is_alive(now));
        if state.end(id, reason, now) {
            self.emit(id, now);
        }
        Ok(alive)
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let epoch = state.epoch(&new.subject);
        if new.epoch.is_some_and(|read| read != epoch) {
            return Ok(Some(CreateOutcome::EpochMoved));
        }
        if state.sessions.contains_key(&new.id) {
            return Ok(Some(CreateOutcome::Exists));
        }
        let alive = state.sessions.get(&old).filter(|row| row.is_alive(now));
        if alive.is_none_or(|row| row.record.subject != new.subject) {
            return Ok(None);
        }
        state.make_room(now)?;
        if state.end(old, RevokeReason::Replaced, now) {
            self.emit(old, now);
        }
        let record = SessionRecord::started(new, epoch, now);
        state.insert(record.clone(), now);
        Ok(Some(CreateOutcome::Created(record)))
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut state = self.lock();
        let now = self.now();
        let mut ended = state.alive_of(subject, now);
        ended.retain(|id| *id != keep);
        for id in &ended {
            if state.end(*id, reason, now) {
                self.emit(*id, now);
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

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        let state = self.lock();
        let now = self.now();
        let ids = state.alive_of(subject, now);
        let rows = ids.iter().filter_map(|id| state.sessions.get(id));
        let mut alive: Vec<_> = rows.collect();
        alive.sort_by_key(|row| (Reverse(row.record.family.used_at), row.record.id));
        alive.truncate(limit as usize);
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

impl State {
    fn subject_of(&self, id: SessionId) -> Option<(PrincipalKind, String)> {
        let record = &self.sessions.get(&id)?.record;
        Some((record.kind, record.subject.clone()))
    }

    /// `store` supplies the time.
    fn advance_live(
        &mut self,
        store: &MemoryStore,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Option<LoadedSession> {
        let now = store.now();
        let record = &self.sessions.get(&id)?.record;
        let family = &record.family;
        let policy = RefreshPolicy::within(grace);
        if family.generation != live
            || record.bound_key.as_deref() != bound_key
            || decide(family, live, &policy, now) != RefreshOutcome::Rotated
        {
            return None;
        }
        let next = apply(family, live, RefreshOutcome::Rotated, now);
        let session = self.change(id, next)?;
        Some(LoadedSession::new(session, now))
    }
}
