//! The port's methods, a script each.

use std::time::Duration;

use super::{RedisStore, link::Repeat, scripts};
use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    revocation::RETENTION,
    server::refresh::{Family, RefreshOutcome, RefreshPolicy},
    store::port::{
        CreateOutcome, LISTED, LoadedSession, NewSessionRecord, RevokeReason, Rotation,
        SessionRecord, SessionStore,
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
            .arg(&session.details)
            .arg(session.id.to_string());
        let (what, _, over, fields): Answer = self.link.run(&call, Repeat::Never).await?;
        Ok(match what.as_str() {
            "moved" => CreateOutcome::EpochMoved,
            "exists" => CreateOutcome::Exists,
            _ => CreateOutcome::Created(record(session.id, &fields, over)?),
        })
    }

    async fn peek(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let mut call = scripts::PEEK.key(self.keys.session(id));
        call.key(&self.keys.epochs);
        let answer: Option<Answer> = self.link.run(&call, Repeat::Harmless).await?;
        let peek = |(_, now, over, fields): Answer| {
            Ok(LoadedSession {
                session: record(id, &fields, over)?,
                now: Timestamp::from_millis(now),
            })
        };
        answer.map(peek).transpose()
    }

    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> Result<Option<Rotation>, StoreError> {
        // The numbers of the scripts are exact up to here.
        if presented >= 1 << 53 {
            return Err(StoreError::invalid("a generation of 2⁵³ or more"));
        }
        let mut call = scripts::ROTATE.key(self.keys.session(id));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(presented)
            .arg(millis(policy.grace_window()))
            .arg(millis(policy.late_parent_window()))
            .arg(policy.max_reissues())
            .arg(millis(RETENTION))
            .arg(id.to_string())
            .arg(RevokeReason::ReuseKind.code());
        // Whether it may be repeated depends on the policy, and is for the caller to say.
        let answer: Option<Answer> = self.link.run(&call, Repeat::Never).await?;
        let rotation = |(what, now, over, fields): Answer| {
            let outcome = RefreshOutcome::from_name(&what);
            Ok(Rotation {
                outcome: outcome.ok_or_else(|| StoreError::invalid("an unknown outcome"))?,
                session: record(id, &fields, over)?,
                now: Timestamp::from_millis(now),
            })
        };
        answer.map(rotation).transpose()
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        let mut call = scripts::CONFIRM.key(self.keys.session(id));
        call.arg(generation);
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let mut call = scripts::REVOKE.key(self.keys.session(id));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(reason.code())
            .arg(millis(RETENTION))
            .arg(id.to_string());
        self.link.run(&call, Repeat::Never).await
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
            .arg(keep.to_string())
            .arg(reason.code())
            .arg(millis(RETENTION))
            .arg(self.keys.sessions());
        let ended: Vec<String> = self.link.run(&call, Repeat::Never).await?;
        let names = ended.iter().map(|id| id.parse());
        names.collect::<Result<_, _>>().map_err(StoreError::invalid)
    }

    /// The rows are not marked: their epoch says it, and they go by themselves.
    async fn revoke_all(&self, subject: &str, _: RevokeReason) -> Result<u32, StoreError> {
        let mut call = scripts::REVOKE_ALL.key(&self.keys.epochs);
        call.key(&self.keys.news)
            .key(&self.keys.revoked)
            .arg(subject)
            .arg(millis(RETENTION));
        self.link.run(&call, Repeat::Never).await
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        let mut call = scripts::EPOCH.key(&self.keys.epochs);
        call.arg(subject);
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let mut call = scripts::LIST.key(self.keys.index(subject));
        call.key(&self.keys.epochs)
            .arg(self.keys.sessions())
            .arg(LISTED);
        let rows: Vec<(String, Fields)> = self.link.run(&call, Repeat::Harmless).await?;
        let record = |(id, fields): (String, Fields)| {
            let id = id.parse().map_err(StoreError::invalid)?;
            record(id, &fields, false)
        };
        rows.into_iter().map(record).collect()
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let mut call = scripts::PURGE.key(&self.keys.revoked);
        call.key(&self.keys.news).arg(limit);
        self.link.run(&call, Repeat::Harmless).await
    }
}

type Fields = Vec<Option<String>>;

/// What happened, the server's time, whether the session is over, and its fields.
type Answer = (String, i64, bool, Fields);

/// The fields in the order of `common.lua`.
fn record(
    id: SessionId,
    fields: &[Option<String>],
    over: bool,
) -> Result<SessionRecord, StoreError> {
    let [
        subject,
        kind,
        epoch,
        generation,
        parent,
        confirmed,
        rotated_at,
        reissues,
        used_at,
        idle,
        expires_at,
        created_at,
        reason,
        details,
    ] = fields
    else {
        return Err(StoreError::invalid("a session has other fields"));
    };
    let at = |field| number(field).map(Timestamp::from_millis);
    let reason: Option<i16> = maybe(reason)?;
    Ok(SessionRecord {
        id,
        subject: text(subject)?,
        kind: kind_of(number(kind)?)?,
        epoch: number(epoch)?,
        family: Family {
            generation: number(generation)?,
            parent: maybe(parent)?,
            confirmed: maybe(confirmed)?,
            rotated_at: maybe(rotated_at)?.map(Timestamp::from_millis),
            reissues: number(reissues)?,
            used_at: at(used_at)?,
            idle: Duration::from_millis(number(idle)?),
            expires_at: at(expires_at)?,
            revoked: over,
        },
        created_at: at(created_at)?,
        // One whose number is newer than this code was ended all the same.
        revoked: reason.and_then(RevokeReason::from_code),
        details: text(details)?,
    })
}

fn text(field: &Option<String>) -> Result<String, StoreError> {
    field.clone().ok_or_else(missing)
}

pub(super) fn number<T: std::str::FromStr>(field: &Option<String>) -> Result<T, StoreError> {
    maybe(field)?.ok_or_else(missing)
}

pub(super) fn maybe<T: std::str::FromStr>(field: &Option<String>) -> Result<Option<T>, StoreError> {
    let parse = |text: &str| {
        let number = text.parse();
        number
            .map_err(|_| StoreError::invalid("a field of a session is not the number it should be"))
    };
    field.as_deref().map(parse).transpose()
}

pub(super) fn missing() -> StoreError {
    StoreError::invalid("a session lacks a field")
}

fn code_of(kind: PrincipalKind) -> i16 {
    match kind {
        PrincipalKind::User => 0,
        PrincipalKind::Guest => 1,
        PrincipalKind::Service => 2,
    }
}

fn kind_of(code: i16) -> Result<PrincipalKind, StoreError> {
    match code {
        0 => Ok(PrincipalKind::User),
        1 => Ok(PrincipalKind::Guest),
        2 => Ok(PrincipalKind::Service),
        _ => Err(StoreError::invalid("an unknown kind of subject")),
    }
}

/// Longer than anything lives, and exact in a script.
pub(super) fn millis(duration: Duration) -> u64 {
    let longest = 1 << 50;
    u64::try_from(duration.as_millis()).map_or(longest, |millis| millis.min(longest))
}
