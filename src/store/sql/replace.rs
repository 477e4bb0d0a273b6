//! The replacement of a session by a new one, in one statement.

use super::{Columns, Dialect, SqlStore, Statement, kind_code, millis};
use crate::{
    error::StoreError,
    principal::SessionId,
    store::port::{CreateOutcome, NewSessionRecord, SessionStore},
};

/// Inserts a session whose column `replaces` names the old one. A trigger ends the old one in the same
/// statement. In PostgreSQL it also cancels the insertion if a concurrent statement has ended the old
/// one. The reason 7 is `RevokeReason::Replaced`.
static REPLACE: Statement = Statement::revoke(
    "INSERT INTO auth_session \
       (sid, sub, kind, ep, created_at, used_at, idle_ms, expires_at, ends_by, bound_key, details, replaces) \
     SELECT $1, $2, $3, c.epoch, c.now, c.now, $5, c.now + $6, c.now + {least}($5, $6), $7, $8, $9 \
     FROM (SELECT COALESCE((SELECT a.epoch FROM auth_subject a WHERE a.sub = $2), 0) AS epoch, \
       {now} AS now) c \
     WHERE ($4 IS NULL OR $4 = c.epoch) AND EXISTS ( \
       SELECT 1 FROM auth_session s WHERE s.sid = $9 AND s.sub = $2 AND s.revoked_at IS NULL \
         AND s.ep >= c.epoch AND c.now < s.expires_at AND c.now < s.used_at + s.idle_ms \
     ) \
     ON CONFLICT (sid) DO NOTHING RETURNING sid",
);

pub(super) async fn replace<D: Dialect>(
    store: &SqlStore<D>,
    old: SessionId,
    session: NewSessionRecord,
) -> Result<Option<CreateOutcome>, StoreError> {
    let values = [
        session.id.as_bytes().into(),
        (&session.subject).into(),
        kind_code(session.kind).into(),
        session.epoch.map(i64::from).into(),
        millis(session.idle).into(),
        millis(session.lifetime).into(),
        session.bound_key.as_deref().into(),
        (&session.details).into(),
        old.as_bytes().into(),
    ];
    let replaced = store.db.row(&REPLACE, &values).await?;
    let found = store.load(session.id).await?;
    Ok(match (replaced, found) {
        (Some(row), Some(loaded)) => {
            debug_assert_eq!(Columns(&row).session_id().ok(), Some(session.id));
            Some(CreateOutcome::Created(loaded.session))
        }
        (None, Some(_)) => Some(CreateOutcome::Exists),
        _ => {
            let epoch = store.epoch(&session.subject).await?;
            let moved = session.epoch.is_some_and(|expected| expected != epoch);
            moved.then_some(CreateOutcome::EpochMoved)
        }
    })
}
