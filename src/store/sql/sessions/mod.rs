//! Sessions.

use std::time::Duration;

use self::live::{ADVANCE_LIVE, ADVANCE_LIVE_WITH_USER};
use super::{
    Cells, Columns, Dialect, SqlStore, Statement, duration, kind_code, kind_of, millis, narrow,
    replace,
};
use crate::{
    error::StoreError,
    principal::SessionId,
    store::{
        ENDED_FOR, REVOKED_FOR,
        batch::{self, Advance},
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
            SessionStore, StoreId, UserStanding,
        },
        roles_of,
    },
};

/// The columns that [`Columns::record`] reads, in addition to `ended`.
macro_rules! columns {
    () => {
        "sid, sub, kind, ep, gen, parent_gen, confirmed_gen, rotated_at, reissues, used_at, \
         idle_ms, expires_at, created_at, revoke_reason, bound_key, details"
    };
}

/// [`columns`] of a row that a statement has written. The row is alive.
macro_rules! written {
    () => {
        concat!(columns!(), ", CAST(0 AS bigint) AS ended, {now} AS now")
    };
}

/// The epoch of a subject.
macro_rules! epoch {
    ($subject:literal) => {
        concat!(
            "COALESCE((SELECT a.epoch FROM auth_subject a WHERE a.sub = ",
            $subject,
            "), 0)"
        )
    };
}

/// The session `s` is alive. PostgreSQL reads the epoch as of the start of the statement, also if the
/// statement waits for the row. A session that is written after the epoch was raised stays revoked,
/// because its own epoch is older.
macro_rules! alive {
    () => {
        concat!(
            "s.revoked_at IS NULL AND {now} < s.expires_at AND {now} < s.used_at + s.idle_ms AND s.ep >= ",
            epoch!("s.sub")
        )
    };
}

/// The times that a refresh sets. `ends_by` is not before the end of the session. It changes at most
/// once an hour, so that most refreshes do not touch the index.
macro_rules! stamp {
    () => {
        "rotated_at = {now}, used_at = {now}, \
         ends_by = {least}(expires_at, (({now} + idle_ms) / 3600000 + 1) * 3600000)"
    };
}

// Declared after the macros that it uses.
mod live;

static ADVANCE: Statement = Statement::write(concat!(
    "UPDATE auth_session AS s SET gen = $5, parent_gen = $6, reissues = $7, ",
    stamp!(),
    " WHERE s.sid = $1 AND s.gen = $2 AND s.reissues = $3 \
     AND s.confirmed_gen IS NOT DISTINCT FROM $4 AND ",
    alive!(),
    " RETURNING ",
    written!()
));

macro_rules! load {
    ($columns:literal, $joined:literal) => {
        concat!(
            "SELECT s.sid, s.sub, kind, ep, gen, parent_gen, confirmed_gen, rotated_at, reissues, \
               used_at, idle_ms, expires_at, s.created_at, revoke_reason, bound_key, details, \
               CAST(CASE WHEN s.revoked_at IS NOT NULL OR s.ep < ",
            epoch!("s.sub"),
            " THEN 1 ELSE 0 END AS bigint) AS ended, {now} AS now",
            $columns,
            " FROM auth_session s",
            $joined,
            " WHERE s.sid = $1"
        )
    };
}

static LOAD: Statement = Statement::read(load!("", ""));

static LOAD_WITH_USER: Statement = Statement::read(load!(
    ", u.roles, u.disabled",
    " LEFT JOIN auth_user u ON u.sub = s.sub"
));

static CREATE: Statement = Statement::write(concat!(
    "INSERT INTO auth_session \
       (sid, sub, kind, ep, created_at, used_at, idle_ms, expires_at, ends_by, bound_key, details) \
     SELECT $1, $2, $3, c.epoch, c.now, c.now, $5, c.now + $6, c.now + {least}($5, $6), $7, $8 \
     FROM (SELECT ",
    epoch!("$2"),
    " AS epoch, {now} AS now) c \
     WHERE $4 IS NULL OR $4 = c.epoch \
     ON CONFLICT (sid) DO NOTHING RETURNING ",
    written!()
));

/// A confirmation of a generation that is not the live one has no effect. A repeated one writes
/// nothing.
static CONFIRM: Statement = Statement::write(
    "UPDATE auth_session SET confirmed_gen = $2, reissues = 0 \
     WHERE sid = $1 AND gen = $2 AND (confirmed_gen IS DISTINCT FROM $2 OR reissues > 0)",
);

macro_rules! revoke {
    ($which:expr) => {
        concat!(
            "UPDATE auth_session AS s SET revoked_at = {now}, revoke_reason = $2 WHERE ",
            $which,
            " AND s.revoked_at IS NULL AND s.ep >= ",
            epoch!("s.sub"),
            " RETURNING sid, ends_by, CAST(CASE WHEN {now} < expires_at \
               AND {now} < used_at + idle_ms THEN 1 ELSE 0 END AS bigint) AS alive"
        )
    };
}

static REVOKE: Statement = Statement::revoke(revoke!("s.sid = $1"));

/// One step. Sessions that ended by time are left out, because their access tokens have expired.
static REVOKE_OTHERS: Statement = Statement::revoke(revoke!(concat!(
    "s.sid IN ( \
       SELECT o.sid FROM auth_session o WHERE o.sub = $1 AND o.revoked_at IS NULL AND o.ep = ",
    epoch!("$1"),
    " AND o.ends_by > {now} AND o.ends_by >= $4 AND o.sid <> $3 \
       ORDER BY o.ends_by LIMIT $5 {locked} \
     )"
)));

static REVOKE_ALL: Statement = Statement::revoke(
    "INSERT INTO auth_subject (sub, epoch) VALUES ($1, 1) \
     ON CONFLICT (sub) DO UPDATE SET epoch = auth_subject.epoch + 1 RETURNING epoch",
);

/// Marks the rows that an epoch has revoked, so that they leave the index. Rows that another
/// transaction has locked stay in the index until their ends.
static MARK: Statement = Statement::write(
    "UPDATE auth_session SET revoked_at = {now}, revoke_reason = $3 WHERE sid IN ( \
       SELECT sid FROM auth_session WHERE sub = $1 AND ep < $2 AND revoked_at IS NULL \
         AND ends_by > {now} LIMIT $4 {unlocked} \
     ) RETURNING sid",
);

static EPOCH: Statement = Statement::read("SELECT epoch FROM auth_subject WHERE sub = $1");

/// PostgreSQL overestimates the live sessions of a subject with many that have ended. `+ 0` keeps it from
/// reading the index of all expiries as well, and `{serial}` from starting parallel workers.
static LIST: Statement = Statement::read(concat!(
    "SELECT ",
    columns!(),
    ", CAST(0 AS bigint) AS ended FROM auth_session s \
     WHERE s.sub = $1 AND s.revoked_at IS NULL AND s.ep = ",
    epoch!("$1"),
    " AND s.ends_by > {now} AND {now} < s.expires_at + 0 AND {now} < s.used_at + s.idle_ms \
     {serial} ORDER BY s.used_at DESC, s.sid LIMIT $2"
));

static PURGE_SESSIONS: Statement = Statement::write(
    "DELETE FROM auth_session WHERE sid IN ( \
       SELECT sid FROM auth_session \
       WHERE expires_at <= {now} - $2 OR revoked_at <= {now} - $3 LIMIT $1 {unlocked} \
     ) RETURNING sid",
);

macro_rules! purge {
    ($table:literal, $key:literal, $until:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE ",
            $key,
            " IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE ",
            $until,
            " <= {now} LIMIT $1 {unlocked}) RETURNING ",
            $key
        )
    };
}

/// Deletes expired rows of the other tables.
static PURGE_OTHERS: [Statement; 3] = [
    Statement::write(purge!("auth_revocation", "seq", "\"until\"")),
    Statement::write(purge!("auth_throttle", "key", "kept_until")),
    Statement::write(purge!("auth_one_time", "digest", "expires_at")),
];

impl<D: Dialect> SessionStore for SqlStore<D> {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        let values = [
            session.id.as_bytes().into(),
            (&session.subject).into(),
            kind_code(session.kind).into(),
            session.epoch.map(i64::from).into(),
            millis(session.idle).into(),
            millis(session.lifetime).into(),
            session.bound_key.as_deref().into(),
            (&session.details).into(),
        ];
        if let Some(row) = self.db.row(&CREATE, &values).await? {
            return Ok(CreateOutcome::Created(Columns(&row).record()?));
        }
        // Nothing was written. The epoch never returns to an earlier number, so it gives the reason.
        let epoch = self.epoch(&session.subject).await?;
        Ok(match session.epoch {
            Some(expected) if expected != epoch => CreateOutcome::EpochMoved,
            _ => CreateOutcome::Exists,
        })
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let row = self.db.row(&LOAD, &[id.as_bytes().into()]).await?;
        row.map(|row| Columns(&row).loaded()).transpose()
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let values = [
            id.as_bytes().into(),
            wide(from.generation)?.into(),
            i64::from(from.reissues).into(),
            from.confirmed.map(wide).transpose()?.into(),
            wide(to.generation)?.into(),
            to.parent.map(wide).transpose()?.into(),
            i64::from(to.reissues).into(),
        ];
        let row = self.db.row(&ADVANCE, &values).await?;
        row.map(|row| Columns(&row).loaded()).transpose()
    }

    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let advance = advance_of(id, live, grace, bound_key)?;
        let refreshes = ADVANCE_LIVE.of(&self.db);
        let advanced = batch::advance(&refreshes, &self.refreshes, &advance).await?;
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
        let refreshes = ADVANCE_LIVE_WITH_USER.of(&self.db);
        batch::advance(&refreshes, &self.refreshes_with_user, &advance).await
    }

    fn users(&self) -> Option<StoreId> {
        Some(self.id)
    }

    async fn load_with_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        let row = self
            .db
            .row(&LOAD_WITH_USER, &[id.as_bytes().into()])
            .await?;
        let Some(row) = row.as_ref().map(Columns) else {
            return Ok(None);
        };
        let user = match row.maybe_text("roles")? {
            Some(roles) => Some(UserStanding::new(roles_of(&roles)?, row.flag("disabled")?)),
            None => None,
        };
        Ok(Some((row.loaded()?, user)))
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        // A generation that does not fit the column was never issued.
        let Ok(generation) = i64::try_from(generation) else {
            return Ok(());
        };
        let values = [id.as_bytes().into(), generation.into()];
        self.db.rows(&CONFIRM, &values).await?;
        Ok(())
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        let values = [id.as_bytes().into(), i64::from(reason.code()).into()];
        match self.db.row(&REVOKE, &values).await? {
            Some(row) => Columns(&row).flag("alive"),
            None => Ok(false),
        }
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        replace::replace(self, old, new).await
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut ended = Vec::new();
        // The place in the index, so that no step visits the sessions that an earlier step has ended.
        let mut from = 0;
        loop {
            let values = [
                subject.into(),
                i64::from(reason.code()).into(),
                keep.as_bytes().into(),
                from.into(),
                STEP.into(),
            ];
            let rows = self.db.rows(&REVOKE_OTHERS, &values).await?;
            for row in &rows {
                let row = Columns(row);
                if row.flag("alive")? {
                    ended.push(row.session_id()?);
                }
                from = row.number("ends_by")?.max(from);
            }
            if rows.len() < STEP as usize {
                return Ok(ended);
            }
        }
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        let row = self.db.only_row(&REVOKE_ALL, &[subject.into()]).await?;
        let epoch = Columns(&row).epoch("epoch")?;
        let values = [
            subject.into(),
            i64::from(epoch).into(),
            i64::from(reason.code()).into(),
            STEP.into(),
        ];
        // All sessions have ended already. A failure of this statement is harmless.
        while let Ok(rows) = self.db.rows(&MARK, &values).await
            && rows.len() == STEP as usize
        {}
        Ok(epoch)
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        match self.db.row(&EPOCH, &[subject.into()]).await? {
            Some(row) => Columns(&row).epoch("epoch"),
            None => Ok(0),
        }
    }

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        let values = [subject.into(), i64::from(limit).into()];
        let rows = self.db.rows(&LIST, &values).await?;
        rows.iter().map(|row| Columns(row).record()).collect()
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        let limit = i64::from(limit);
        let values = [
            limit.into(),
            millis(ENDED_FOR).into(),
            millis(REVOKED_FOR).into(),
        ];
        let mut purged = self.db.count(&PURGE_SESSIONS, &values).await?;
        for others in &PURGE_OTHERS {
            purged += self.db.count(others, &[limit.into()]).await?;
        }
        Ok(purged)
    }
}

impl<R: Cells> Columns<'_, R> {
    fn record(&self) -> Result<SessionRecord, StoreError> {
        let reason = self.maybe("revoke_reason")?;
        Ok(SessionRecord {
            id: self.session_id()?,
            subject: self.text("sub")?,
            kind: kind_of(self.number("kind")?)?,
            epoch: self.epoch("ep")?,
            family: Family {
                generation: narrow(self.number("gen")?)?,
                parent: self.maybe("parent_gen")?.map(narrow).transpose()?,
                confirmed: self.maybe("confirmed_gen")?.map(narrow).transpose()?,
                rotated_at: self.maybe_time("rotated_at")?,
                reissues: narrow(self.number("reissues")?)?,
                used_at: self.time("used_at")?,
                idle: duration(self.number("idle_ms")?)?,
                expires_at: self.time("expires_at")?,
                revoked: self.flag("ended")?,
            },
            created_at: self.time("created_at")?,
            // An unknown reason comes from newer code. `ended` does not depend on it.
            revoked: reason.and_then(|code| RevokeReason::from_code(i16::try_from(code).ok()?)),
            bound_key: self.maybe_text("bound_key")?,
            details: self.text("details")?,
        })
    }

    pub(super) fn loaded(&self) -> Result<LoadedSession, StoreError> {
        Ok(LoadedSession::new(self.record()?, self.time("now")?))
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
        live: wide(live)?,
        grace_millis: millis(grace),
        bound_key: bound_key.map(str::to_owned),
    })
}

fn wide(generation: u64) -> Result<i64, StoreError> {
    i64::try_from(generation).map_err(|_| StoreError::invalid("the generation was never issued"))
}

/// The maximum number of rows that one statement changes. Other writers wait for it.
const STEP: i64 = 500;
