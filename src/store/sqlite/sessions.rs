//! The statements.

use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use crate::{
    error::StoreError,
    principal::SessionId,
    revocation::{Revocation, RevocationLog},
    server::refresh::{RefreshOutcome, RefreshPolicy},
    store::{
        ENDED_FOR, REVOKED_FOR,
        port::{
            CreateOutcome, LISTED, LoadedSession, NewSessionRecord, RevokeReason, Rotation,
            SessionRecord, SessionStore,
        },
        sql::{Columns, columns, ended, kind_code, millis, rotate, rule, target},
    },
};

/// The time. It stands still during a statement, from when that has its lock.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}
pub(super) use now;

/// [`columns`] of a row that was changed.
macro_rules! returned {
    () => {
        concat!(
            "sid, sub, kind, ep, gen, parent_gen, confirmed_gen, rotated_at, reissues, used_at, \
             idle_ms, expires_at, created_at, revoke_reason, details, ",
            now!(),
            " AS now, \
             CASE WHEN revoked_at IS NOT NULL OR ep < COALESCE( \
               (SELECT a.epoch FROM auth_subject a WHERE a.sub = auth_session.sub), 0) \
             THEN 1 ELSE 0 END AS ended"
        )
    };
}

macro_rules! judge {
    () => {
        concat!(
            "WITH cur AS MATERIALIZED (
               SELECT s.*, ",
            now!(),
            " AS now, ",
            ended!(),
            " AS ended,
                 CAST($2 AS bigint) AS presented, CAST($3 AS bigint) AS grace,
                 CAST($4 AS bigint) AS late, CAST($5 AS bigint) AS max_reissues
               FROM auth_session s WHERE s.sid = $1
             ), ",
            rotate!()
        )
    };
}

/// What would become of it: all there is to do where nothing is to be written.
const JUDGE: &str = concat!(judge!(), " SELECT ", columns!(), ", now, outcome FROM next");

/// The same with the lock, and the change. What RETURNING cannot see is written into the row.
const ROTATE: &str = concat!(
    judge!(),
    " UPDATE auth_session AS s SET gen = n.gen, parent_gen = n.parent_gen,
        rotated_at = n.rotated_at, used_at = n.used_at, reissues = n.reissues,
        revoked_at = n.revoked_at, revoke_reason = n.revoke_reason, last_outcome = n.outcome
      FROM next n WHERE s.sid = n.sid RETURNING ",
    returned!(),
    ", last_outcome AS outcome"
);

const CREATE: &str = concat!(
    "INSERT INTO auth_session (sid, sub, kind, ep, created_at, used_at, idle_ms, expires_at, details)
     SELECT $1, $2, $3, epoch, now, now, $5, now + $6, $7
     FROM (SELECT COALESCE((SELECT epoch FROM auth_subject WHERE sub = $2), 0) AS epoch, ",
    now!(), " AS now)
     WHERE $4 IS NULL OR $4 = epoch
     ON CONFLICT (sid) DO NOTHING RETURNING ", returned!()
);

const PEEK: &str = concat!(
    "SELECT ",
    columns!(),
    ", now FROM (
       SELECT s.*, ",
    now!(),
    " AS now, ",
    ended!(),
    " AS ended FROM auth_session s WHERE sid = $1
     )"
);

/// Of another generation than the live one it proves nothing; and nothing is written twice.
const CONFIRM: &str = "UPDATE auth_session SET confirmed_gen = $2, reissues = 0
     WHERE sid = $1 AND gen = $2 AND (confirmed_gen IS NOT $2 OR reissues > 0)";

macro_rules! revoke {
    ($which:literal) => {
        concat!(
            "UPDATE auth_session AS s SET revoked_at = ",
            now!(),
            ", revoke_reason = $2
             WHERE ",
            $which,
            " AND s.revoked_at IS NULL AND ",
            ended!(),
            " = 0
             RETURNING sid, revoked_at < expires_at AND revoked_at < used_at + idle_ms AS alive"
        )
    };
}

const REVOKE: &str = revoke!("s.sid = $1");
const REVOKE_OTHERS: &str = revoke!("s.sub = $1 AND s.sid <> $3");

const REVOKE_ALL: &str = "INSERT INTO auth_subject (sub, epoch) VALUES ($1, 1)
     ON CONFLICT (sub) DO UPDATE SET epoch = epoch + 1 RETURNING epoch";

/// Writes into the rows what their epochs say already.
const MARK: &str = concat!(
    "UPDATE auth_session SET revoked_at = ",
    now!(),
    ", revoke_reason = $3
     WHERE sid IN (
       SELECT sid FROM auth_session WHERE sub = $1 AND ep < $2 AND revoked_at IS NULL LIMIT 1000
     )"
);

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM (
       SELECT s.*, ",
    ended!(),
    " AS ended FROM auth_session s
       WHERE sub = $1 AND revoked_at IS NULL
     )
     WHERE ended = 0 AND ",
    now!(),
    " < expires_at AND ",
    now!(),
    " < used_at + idle_ms
     ORDER BY used_at DESC, sid LIMIT $2"
);

const PURGE_SESSIONS: &str = concat!(
    "DELETE FROM auth_session WHERE sid IN (
       SELECT sid FROM auth_session
       WHERE expires_at <= ",
    now!(),
    " - $2 OR revoked_at <= ",
    now!(),
    " - $3 LIMIT $1
     ) RETURNING 1"
);

const PURGE_REVOCATIONS: &str = concat!(
    "DELETE FROM auth_revocation WHERE seq IN (
       SELECT seq FROM auth_revocation WHERE \"until\" <= ",
    now!(),
    " LIMIT $1
     ) RETURNING 1"
);

const PURGE_COUNTERS: &str = concat!(
    "DELETE FROM auth_throttle WHERE key IN (
       SELECT key FROM auth_throttle WHERE kept_until <= ",
    now!(),
    " LIMIT $1
     ) RETURNING 1"
);

const PURGE_ONE_TIME: &str = concat!(
    "DELETE FROM auth_one_time WHERE digest IN (
       SELECT digest FROM auth_one_time WHERE expires_at <= ",
    now!(),
    " LIMIT $1
     ) RETURNING 1"
);

impl SessionStore for SqliteStore {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let expected = session.epoch.map(i64::from);
        let insert = sqlx::query(CREATE)
            .bind(session.id.as_bytes().to_vec())
            .bind(session.subject.clone())
            .bind(kind_code(session.kind))
            .bind(expected)
            .bind(millis(session.idle))
            .bind(millis(session.lifetime))
            .bind(session.details);
        if let Some(row) = self.write(insert).await?.first() {
            return Ok(CreateOutcome::Created(Columns(row).record()?));
        }
        // Nothing was written; this only tells why. An epoch never comes back to what it was.
        let epoch = self.epoch(&session.subject).await?;
        Ok(match session.epoch {
            Some(expected) if expected != epoch => CreateOutcome::EpochMoved,
            _ => CreateOutcome::Exists,
        })
    }

    async fn peek(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let rows = self
            .read(sqlx::query(PEEK).bind(id.as_bytes().as_slice()))
            .await?;
        rows.first().map(|row| Columns(row).peek()).transpose()
    }

    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> Result<Option<Rotation>, StoreError> {
        let rule = rule(presented, &policy)?;
        let statement = |sql: &'static str| {
            let query = sqlx::query(sql).bind(id.as_bytes().to_vec());
            rule.into_iter()
                .fold(query, |query, number| query.bind(number))
        };
        let judged = self.read(statement(JUDGE)).await?;
        let Some(judged) = judged.first() else {
            return Ok(None);
        };
        let judged = Columns(judged).rotation()?;
        if !judged.outcome.writes() {
            return Ok(Some(judged));
        }
        // Decided once more under the lock; this decision is the one that counts.
        let rows = self.write(statement(ROTATE)).await?;
        let rotation = rows
            .first()
            .map(|row| Columns(row).rotation())
            .transpose()?;
        if let Some(RefreshOutcome::Reused(_)) = rotation.as_ref().map(|rotation| rotation.outcome)
        {
            self.news.notify_waiters();
        }
        Ok(rotation)
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        // What is more than a column holds was never issued.
        let Ok(generation) = i64::try_from(generation) else {
            return Ok(());
        };
        let confirm = sqlx::query(CONFIRM)
            .bind(id.as_bytes().as_slice())
            .bind(generation);
        self.write(confirm).await?;
        Ok(())
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let revoke = sqlx::query(REVOKE)
            .bind(id.as_bytes().as_slice())
            .bind(reason.code());
        let rows = self.revoke_by(revoke).await?;
        Ok(!alive(&rows)?.is_empty())
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let revoke = sqlx::query(REVOKE_OTHERS)
            .bind(subject)
            .bind(reason.code())
            .bind(keep.as_bytes().as_slice());
        alive(&self.revoke_by(revoke).await?)
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        let rows = self
            .revoke_by(sqlx::query(REVOKE_ALL).bind(subject))
            .await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StoreError::invalid("a statement without its row"))?;
        let epoch = Columns(row).epoch("epoch")?;
        let mark = sqlx::query(MARK)
            .bind(subject)
            .bind(i64::from(epoch))
            .bind(reason.code());
        // All of them have ended by now, whatever becomes of this.
        let _ = self.write(mark).await;
        Ok(epoch)
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        let epoch = sqlx::query("SELECT epoch FROM auth_subject WHERE sub = $1").bind(subject);
        let rows = self.read(epoch).await?;
        rows.first()
            .map_or(Ok(0), |row| Columns(row).epoch("epoch"))
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let list = sqlx::query(LIST).bind(subject).bind(LISTED as i64);
        let rows = self.read(list).await?;
        rows.iter().map(|row| Columns(row).record()).collect()
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let sessions = sqlx::query(PURGE_SESSIONS)
            .bind(i64::from(limit))
            .bind(millis(ENDED_FOR))
            .bind(millis(REVOKED_FOR));
        let mut purged = self.write(sessions).await?.len();
        for others in [PURGE_REVOCATIONS, PURGE_COUNTERS, PURGE_ONE_TIME] {
            purged += self
                .write(sqlx::query(others).bind(i64::from(limit)))
                .await?
                .len();
        }
        Ok(purged as u64)
    }
}

/// Which of those that were ended had been alive.
fn alive(rows: &[SqliteRow]) -> Result<Vec<SessionId>, StoreError> {
    let rows = rows.iter().map(Columns);
    let rows = rows.filter_map(|row| match row.number("alive") {
        Ok(0) => None,
        Ok(_) => Some(row.session_id()),
        Err(error) => Some(Err(error)),
    });
    rows.collect()
}

impl RevocationLog for SqliteStore {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        let (kind, key, epoch) = target(&revocation);
        let append = sqlx::query(concat!(
            "INSERT INTO auth_revocation (kind, key, epoch, \"until\", at)
             VALUES ($1, $2, $3, $4, ",
            now!(),
            ")"
        ));
        let append = append
            .bind(kind)
            .bind(key)
            .bind(epoch)
            .bind(revocation.until().as_millis());
        self.revoke_by(append).await?;
        Ok(())
    }
}
