//! The statements.

use super::PostgresStore;
use crate::{
    error::StoreError,
    principal::SessionId,
    revocation::{RETENTION, Revocation, RevocationLog},
    server::refresh::RefreshPolicy,
    store::{
        ENDED_FOR, REVOKED_FOR,
        port::{
            CreateOutcome, LISTED, LoadedSession, NewSessionRecord, RevokeReason, Rotation,
            SessionRecord, SessionStore,
        },
        sql::{Columns, columns, ended, kind_code, millis, rotate, rule, target},
    },
};

/// The server's time. It stands still during a statement, also while that waits for a lock, so that
/// all lines of it agree; `now()` would be the start of the transaction, `clock_timestamp()` moves.
macro_rules! now {
    () => {
        "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS bigint)"
    };
}
pub(super) use now;

/// A statement that had to wait sees the row as it is once it has the lock, because `read committed`
/// evaluates `cur` again for it; what is written comes from `cur` alone. A subject's epoch it sees as
/// of its start: a session that was rotated so is dead all the same, and its tokens are refused.
const ROTATE: &str = concat!(
    "WITH cur AS MATERIALIZED (
       SELECT s.*, ",
    now!(),
    " AS now, ",
    ended!(),
    " AS ended,
         CAST($2 AS bigint) AS presented, CAST($3 AS bigint) AS grace,
         CAST($4 AS bigint) AS late, CAST($5 AS bigint) AS max_reissues
       FROM auth_session s WHERE s.sid = $1 FOR NO KEY UPDATE OF s
     ), ",
    rotate!(),
    ", upd AS (
       UPDATE auth_session s SET gen = n.gen, parent_gen = n.parent_gen, rotated_at = n.rotated_at,
         used_at = n.used_at, reissues = n.reissues, revoked_at = n.revoked_at,
         revoke_reason = n.revoke_reason
       FROM next n WHERE s.sid = n.sid AND n.outcome IN
         ('rotated', 'ahead', 'reissued', 'late_parent', 'displaced_child', 'stale_lineage')
     ), log AS (
       INSERT INTO auth_revocation (kind, key, \"until\", at)
       SELECT 1, encode(sid, 'hex'), now + $6, now FROM next
       WHERE outcome IN ('late_parent', 'displaced_child', 'stale_lineage')
     )
     SELECT ",
    columns!(),
    ", now, outcome FROM next"
);

const CREATE: &str = concat!(
    "WITH subject AS (
       SELECT COALESCE((SELECT epoch FROM auth_subject WHERE sub = $2), 0) AS epoch
     ), ins AS (
       INSERT INTO auth_session
         (sid, sub, kind, ep, created_at, used_at, idle_ms, expires_at, details)
       SELECT $1, $2, $3, epoch, now, now, $5, now + $6, $7
       FROM subject, (SELECT ",
    now!(),
    " AS now) clock
       WHERE $4 IS NULL OR $4 = epoch
       ON CONFLICT (sid) DO NOTHING
       RETURNING *, 0 AS ended
     )
     SELECT epoch, ",
    columns!(),
    "
     FROM subject LEFT JOIN ins ON true"
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
     ) s"
);

/// Of another generation than the live one it proves nothing; and nothing is written twice.
const CONFIRM: &str = "UPDATE auth_session SET confirmed_gen = $2, reissues = 0
     WHERE sid = $1 AND gen = $2
       AND (confirmed_gen IS DISTINCT FROM $2 OR reissues > 0)";

macro_rules! revoke {
    ($which:literal) => {
        concat!(
            "WITH cur AS MATERIALIZED (
               SELECT s.sid, s.expires_at, s.used_at + s.idle_ms AS idle_at, ",
            now!(),
            " AS now
               FROM auth_session s
               WHERE ",
            $which,
            " AND s.revoked_at IS NULL AND ",
            ended!(),
            " = 0
               ORDER BY s.sid FOR NO KEY UPDATE OF s
             ), upd AS (
               UPDATE auth_session s SET revoked_at = cur.now, revoke_reason = $2
               FROM cur WHERE s.sid = cur.sid
             ), log AS (
               INSERT INTO auth_revocation (kind, key, \"until\", at)
               SELECT 1, encode(sid, 'hex'), now + $3, now FROM cur
             )
             SELECT sid FROM cur WHERE now < expires_at AND now < idle_at"
        )
    };
}

const REVOKE: &str = revoke!("s.sid = $1");
// In the order of their names, so that two of these do not lock each other out.
const REVOKE_OTHERS: &str = revoke!("s.sub = $1 AND s.sid <> $4");

const REVOKE_ALL: &str = concat!(
    "WITH up AS (
       INSERT INTO auth_subject (sub, epoch) VALUES ($1, 1)
       ON CONFLICT (sub) DO UPDATE SET epoch = auth_subject.epoch + 1
       RETURNING epoch, ",
    now!(),
    " AS now
     ), log AS (
       INSERT INTO auth_revocation (kind, key, epoch, \"until\", at)
       SELECT 3, $1, epoch, now + $2, now FROM up
     )
     SELECT epoch FROM up"
);

/// Writes into the rows what their epochs say already. Those that somebody is changing now are left
/// to their ends.
const MARK: &str = concat!(
    "WITH cur AS MATERIALIZED (
       SELECT sid FROM auth_session WHERE sub = $1 AND ep < $2 AND revoked_at IS NULL
       LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
     )
     UPDATE auth_session s SET revoked_at = ",
    now!(),
    ", revoke_reason = $3
     FROM cur WHERE s.sid = cur.sid"
);

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM (
       SELECT s.*, ",
    ended!(),
    " AS ended FROM auth_session s
       WHERE sub = $1 AND revoked_at IS NULL
     ) s
     WHERE ended = 0 AND ",
    now!(),
    " < expires_at AND ",
    now!(),
    " < used_at + idle_ms
     ORDER BY used_at DESC, sid LIMIT $2"
);

const PURGE_SESSIONS: &str = concat!(
    "WITH old AS MATERIALIZED (
       SELECT sid FROM auth_session
       WHERE expires_at <= ",
    now!(),
    " - $2 OR revoked_at <= ",
    now!(),
    " - $3
       LIMIT $1 FOR UPDATE SKIP LOCKED
     ), gone AS (
       DELETE FROM auth_session s USING old WHERE s.sid = old.sid RETURNING 1
     )
     SELECT count(*) AS count FROM gone"
);

const PURGE_REVOCATIONS: &str = concat!(
    "WITH old AS MATERIALIZED (
       SELECT seq FROM auth_revocation WHERE \"until\" <= ",
    now!(),
    "
       LIMIT $1 FOR UPDATE SKIP LOCKED
     ), gone AS (
       DELETE FROM auth_revocation r USING old WHERE r.seq = old.seq RETURNING 1
     )
     SELECT count(*) AS count FROM gone"
);

const PURGE_COUNTERS: &str = concat!(
    "WITH old AS MATERIALIZED (
       SELECT key FROM auth_throttle WHERE kept_until <= ",
    now!(),
    "
       LIMIT $1 FOR UPDATE SKIP LOCKED
     ), gone AS (
       DELETE FROM auth_throttle t USING old WHERE t.key = old.key RETURNING 1
     )
     SELECT count(*) AS count FROM gone"
);

const PURGE_ONE_TIME: &str = concat!(
    "WITH old AS MATERIALIZED (
       SELECT digest FROM auth_one_time WHERE expires_at <= ",
    now!(),
    "
       LIMIT $1 FOR UPDATE SKIP LOCKED
     ), gone AS (
       DELETE FROM auth_one_time t USING old WHERE t.digest = old.digest RETURNING 1
     )
     SELECT count(*) AS count FROM gone"
);

impl SessionStore for PostgresStore {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let expected = session.epoch.map(i64::from);
        let row = self
            .only_row(|| {
                sqlx::query(CREATE)
                    .bind(session.id.as_bytes().as_slice())
                    .bind(&session.subject)
                    .bind(kind_code(session.kind))
                    .bind(expected)
                    .bind(millis(session.idle))
                    .bind(millis(session.lifetime))
                    .bind(&session.details)
            })
            .await?;
        let row = Columns(&row);
        let epoch = row.number("epoch")?;
        Ok(if row.maybe("created_at")?.is_some() {
            CreateOutcome::Created(row.record()?)
        } else if expected.is_some_and(|expected| expected != epoch) {
            CreateOutcome::EpochMoved
        } else {
            CreateOutcome::Exists
        })
    }

    async fn peek(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let row = self
            .row(|| sqlx::query(PEEK).bind(id.as_bytes().as_slice()))
            .await?;
        row.map(|row| Columns(&row).peek()).transpose()
    }

    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        policy: RefreshPolicy,
    ) -> Result<Option<Rotation>, StoreError> {
        let [presented, grace, late, max_reissues] = rule(presented, &policy)?;
        let row = self
            .row(|| {
                sqlx::query(ROTATE)
                    .bind(id.as_bytes().as_slice())
                    .bind(presented)
                    .bind(grace)
                    .bind(late)
                    .bind(max_reissues)
                    .bind(millis(RETENTION))
            })
            .await?;
        row.map(|row| Columns(&row).rotation()).transpose()
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        // What is more than a column holds was never issued.
        let Ok(generation) = i64::try_from(generation) else {
            return Ok(());
        };
        self.rows(|| {
            sqlx::query(CONFIRM)
                .bind(id.as_bytes().as_slice())
                .bind(generation)
        })
        .await?;
        Ok(())
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let row = self
            .row(|| {
                sqlx::query(REVOKE)
                    .bind(id.as_bytes().as_slice())
                    .bind(reason.code())
                    .bind(millis(RETENTION))
            })
            .await?;
        Ok(row.is_some())
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let rows = self
            .rows(|| {
                sqlx::query(REVOKE_OTHERS)
                    .bind(subject)
                    .bind(reason.code())
                    .bind(millis(RETENTION))
                    .bind(keep.as_bytes().as_slice())
            })
            .await?;
        rows.iter().map(|row| Columns(row).session_id()).collect()
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        let row = self
            .only_row(|| {
                sqlx::query(REVOKE_ALL)
                    .bind(subject)
                    .bind(millis(RETENTION))
            })
            .await?;
        let epoch = Columns(&row).epoch("epoch")?;
        // All of them have ended by now, whatever becomes of this.
        let _ = self
            .rows(|| {
                sqlx::query(MARK)
                    .bind(subject)
                    .bind(i64::from(epoch))
                    .bind(reason.code())
            })
            .await;
        Ok(epoch)
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        let row = self
            .row(|| sqlx::query("SELECT epoch FROM auth_subject WHERE sub = $1").bind(subject))
            .await?;
        row.map_or(Ok(0), |row| Columns(&row).epoch("epoch"))
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = self
            .rows(|| sqlx::query(LIST).bind(subject).bind(LISTED as i64))
            .await?;
        rows.iter().map(|row| Columns(row).record()).collect()
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let sessions = self
            .only_row(|| {
                sqlx::query(PURGE_SESSIONS)
                    .bind(i64::from(limit))
                    .bind(millis(ENDED_FOR))
                    .bind(millis(REVOKED_FOR))
            })
            .await?;
        let mut purged = Columns(&sessions).count()?;
        for others in [PURGE_REVOCATIONS, PURGE_COUNTERS, PURGE_ONE_TIME] {
            let row = self
                .only_row(|| sqlx::query(others).bind(i64::from(limit)))
                .await?;
            purged += Columns(&row).count()?;
        }
        Ok(purged)
    }
}

impl RevocationLog for PostgresStore {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        let (kind, key, epoch) = target(&revocation);
        self.rows(|| {
            sqlx::query(concat!(
                "INSERT INTO auth_revocation (kind, key, epoch, \"until\", at)
                 VALUES ($1, $2, $3, $4, ",
                now!(),
                ")"
            ))
            .bind(kind)
            .bind(key.clone())
            .bind(epoch)
            .bind(revocation.until().as_millis())
        })
        .await?;
        Ok(())
    }
}
