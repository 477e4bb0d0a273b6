//! Sessions: one script per method of the port.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use super::{
    RedisStore,
    packed::{code_of, number_or_none, record},
    refreshes::Refreshes,
    scripts,
};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    principal::SessionId,
    revocation::RETENTION,
    store::{
        batch::{self, Advance},
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
            SessionStore, StoreId, UserStanding,
        },
        roles_of,
    },
    time::Timestamp,
};

impl SessionStore for RedisStore {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let epoch = session.epoch.map(|epoch| epoch.to_string());
        let mut call = scripts::CREATE.key(self.keys.session(session.id));
        call.key(&self.keys.epochs)
            .key(self.keys.index(&session.subject))
            .key(&self.keys.since)
            .arg(epoch.unwrap_or_default())
            .arg(&session.subject)
            .arg(code_of(session.kind))
            .arg(millis(session.idle))
            .arg(millis(session.lifetime))
            .arg(session.bound_key.as_deref().unwrap_or_default())
            .arg(&session.details)
            .arg(session.id.to_string());
        let (what, now, epoch): (String, i64, u32) = self.link.run(&call, Repeat::Never).await?;
        let now = Timestamp::from_millis(now);
        Ok(match what.as_str() {
            "moved" => CreateOutcome::EpochMoved,
            "exists" => CreateOutcome::Exists,
            _ => CreateOutcome::Created(SessionRecord::started(session, epoch, now)),
        })
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let mut call = scripts::LOAD.key(self.keys.session(id));
        call.key(&self.keys.epochs);
        let loaded: Option<Loaded> = self.link.run(&call, Repeat::Harmless).await?;
        loaded.map(|loaded| peek(id, loaded)).transpose()
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let mut call = scripts::ADVANCE.key(self.keys.session(id));
        call.key(&self.keys.epochs)
            .arg(exact(from.generation)?)
            .arg(from.reissues)
            .arg(number_or_none(from.confirmed))
            .arg(exact(to.generation)?)
            .arg(number_or_none(to.parent))
            .arg(to.reissues);
        // Only the caller knows whether the policy allows a repetition.
        let loaded: Option<Loaded> = self.link.run(&call, Repeat::Never).await?;
        let advanced = |loaded| {
            let mut advanced = peek(id, loaded)?;
            let family = &mut advanced.session.family;
            family.generation = to.generation;
            family.parent = to.parent;
            family.reissues = to.reissues;
            family.rotated_at = Some(advanced.now);
            family.used_at = advanced.now;
            Ok(advanced)
        };
        loaded.map(advanced).transpose()
    }

    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let advance = advance_of(id, live, grace, bound_key)?;
        let advanced = batch::advance(&self.refreshing(false), &self.refreshes, &advance).await?;
        Ok(advanced.map(|(session, _)| session))
    }

    async fn advance_live_with_user(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        let advance = advance_of(id, live, grace, bound_key)?;
        batch::advance(&self.refreshing(true), &self.refreshes_with_user, &advance).await
    }

    fn users(&self) -> Option<StoreId> {
        Some(self.id)
    }

    async fn load_with_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        let mut call = scripts::LOAD_WITH_USER.key(self.keys.session(id));
        call.key(&self.keys.epochs)
            .key(&self.keys.subjects)
            .arg(self.keys.of("u", ""));
        let loaded: Option<WithUser> = self.link.run(&call, Repeat::Harmless).await?;
        let Some((now, over, row, roles, disabled)) = loaded else {
            return Ok(None);
        };
        let user = match roles {
            Some(roles) => Some(UserStanding::new(
                roles_of(&roles)?,
                disabled.is_some_and(|code| code != 0),
            )),
            None => None,
        };
        Ok(Some((peek(id, (now, over, row))?, user)))
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        let mut call = scripts::CONFIRM.key(self.keys.session(id));
        call.key(&self.keys.epochs).arg(generation);
        let _: Option<u8> = self.link.run(&call, Repeat::Harmless).await?;
        Ok(())
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let mut call = scripts::REVOKE.key(self.keys.session(id));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(reason.code())
            .arg(millis(RETENTION))
            .arg(id.to_string())
            .arg(self.keys.indexes());
        let alive: Option<bool> = self.link.run(&call, Repeat::Never).await?;
        Ok(alive.unwrap_or_default())
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        let epoch = new.epoch.map(|epoch| epoch.to_string());
        let mut call = scripts::REPLACE.key(self.keys.session(old));
        call.key(&self.keys.epochs)
            .key(self.keys.session(new.id))
            .key(self.keys.index(&new.subject))
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(epoch.unwrap_or_default())
            .arg(&new.subject)
            .arg(code_of(new.kind))
            .arg(millis(new.idle))
            .arg(millis(new.lifetime))
            .arg(new.bound_key.as_deref().unwrap_or_default())
            .arg(&new.details)
            .arg(new.id.to_string())
            .arg(old.to_string())
            .arg(RevokeReason::Replaced.code())
            .arg(millis(RETENTION));
        let replaced: Option<(String, i64, u32)> = self.link.run(&call, Repeat::Never).await?;
        let Some((what, now, epoch)) = replaced else {
            return Ok(None);
        };
        let now = Timestamp::from_millis(now);
        Ok(match what.as_str() {
            "moved" => Some(CreateOutcome::EpochMoved),
            "exists" => Some(CreateOutcome::Exists),
            "created" => Some(CreateOutcome::Created(SessionRecord::started(
                new, epoch, now,
            ))),
            _ => None,
        })
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut call = scripts::REVOKE_OTHERS.key(self.keys.index(subject));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(subject)
            .arg(keep.to_string())
            .arg(reason.code())
            .arg(millis(RETENTION))
            .arg(self.keys.sessions())
            .arg(ENDED);
        let mut all = Vec::new();
        loop {
            let (more, ended): (bool, Vec<String>) = self.link.run(&call, Repeat::Never).await?;
            for id in &ended {
                all.push(id.parse().map_err(StoreError::invalid)?);
            }
            if !more {
                return Ok(all);
            }
        }
    }

    /// The rows are not marked: their epochs revoke them, and their keys expire.
    async fn revoke_all(&self, subject: &str, _: RevokeReason) -> Result<u32, StoreError> {
        let mut call = scripts::REVOKE_ALL.key(&self.keys.epochs);
        call.key(&self.keys.news)
            .key(&self.keys.revoked)
            .key(self.keys.index(subject))
            .arg(subject)
            .arg(millis(RETENTION));
        self.link.run(&call, Repeat::Never).await
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        let mut call = scripts::EPOCH.key(&self.keys.epochs);
        call.arg(subject);
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        let mut alive = Vec::new();
        let mut from = 0;
        loop {
            let mut call = scripts::LIST.key(self.keys.index(subject));
            call.key(&self.keys.epochs)
                .arg(self.keys.sessions())
                .arg(from)
                .arg(STEP);
            let (read, rows): (usize, Vec<(String, Vec<u8>)>) =
                self.link.run(&call, Repeat::Harmless).await?;
            for (id, row) in rows {
                let id = id.parse().map_err(StoreError::invalid)?;
                alive.push(record(id, &row, false)?);
            }
            from += read;
            alive.sort_by_key(|session| (Reverse(session.family.used_at), session.id));
            // A session that moved in the index between two steps was read twice.
            alive.dedup_by_key(|session| session.id);
            alive.truncate(limit as usize);
            if read < STEP {
                return Ok(alive);
            }
        }
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let mut call = scripts::PURGE.key(&self.keys.revoked);
        call.key(&self.keys.news).arg(limit);
        self.link.run(&call, Repeat::Harmless).await
    }
}

/// The server's time, the revocation of the session, and its row.
pub(super) type Loaded = (i64, bool, Vec<u8>);

/// The same, with the roles of the user and the flag `disabled`.
type WithUser = (i64, bool, Vec<u8>, Option<String>, Option<u8>);

pub(super) fn peek(id: SessionId, (now, over, row): Loaded) -> Result<LoadedSession, StoreError> {
    let session = record(id, &row, over)?;
    Ok(LoadedSession::new(session, Timestamp::from_millis(now)))
}

impl RedisStore {
    fn refreshing(&self, reads_user: bool) -> Refreshes {
        Refreshes {
            link: Arc::clone(&self.link),
            keys: Arc::clone(&self.keys),
            reads_user,
        }
    }
}

fn advance_of(
    id: SessionId,
    live: u64,
    grace: Duration,
    bound_key: Option<&str>,
) -> Result<Advance, StoreError> {
    Ok(Advance {
        id,
        live: exact(live)?,
        grace_millis: exact(millis(grace))?,
        bound_key: bound_key.map(str::to_owned),
    })
}

/// Returns the number if a number of a script represents it exactly.
fn exact(number: u64) -> Result<i64, StoreError> {
    let number = i64::try_from(number)
        .ok()
        .filter(|number| *number < 1 << 53);
    number.ok_or_else(|| StoreError::invalid("the generation is 2⁵³ or more"))
}

/// Returns the milliseconds, limited to a number that is exact in a script.
pub(super) fn millis(duration: Duration) -> u64 {
    let longest = 1 << 50;
    u64::try_from(duration.as_millis()).map_or(longest, |millis| millis.min(longest))
}

/// The number of sessions that one script reads. It takes a fraction of a millisecond.
const STEP: usize = 100;
/// The number of sessions that one script ends. Each takes several commands, during which other clients
/// wait: about a millisecond together. With `appendfsync always` each script waits for the disk, so that
/// smaller steps take longer in total.
const ENDED: usize = 50;
