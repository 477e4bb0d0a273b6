//! The statements that advance sessions from their live generations.

use std::collections::HashMap;

use crate::{
    error::StoreError,
    store::{
        batch::{Advance, Advanced, Advancer},
        port::{LoadedSession, UserStanding},
        roles_of,
        sql::{Columns, Dialect, Statement, Value},
    },
};

/// The condition of the hot path: the live generation of a session `s`, outside the grace window.
macro_rules! may_advance {
    ($live:literal, $grace:literal, $key:literal) => {
        concat!(
            "s.gen = ",
            $live,
            " AND ",
            alive!(),
            " AND s.bound_key IS NOT DISTINCT FROM ",
            $key,
            " AND (s.rotated_at IS NULL OR ",
            $grace,
            " = 0 OR s.rotated_at + ",
            $grace,
            " < {now} OR s.rotated_at - ",
            $grace,
            " > {now})"
        )
    };
}

/// The subject of a session `s` may sign in. Guests (1) and services (2) are not users. PostgreSQL reads
/// the user as of the start of the statement.
macro_rules! may_sign_in {
    () => {
        " AND (s.kind <> 0 OR EXISTS ( \
           SELECT 1 FROM auth_user a WHERE a.sub = s.sub AND a.disabled = 0))"
    };
}

/// The roles of the subject of a session that was changed.
macro_rules! roles {
    ($session:literal) => {
        concat!(
            ", (SELECT a.roles FROM auth_user a WHERE a.sub = ",
            $session,
            ".sub) AS roles"
        )
    };
}

macro_rules! advance_live {
    ($condition:expr, $columns:expr) => {
        Statement::write(concat!(
            "UPDATE auth_session AS s SET gen = gen + 1, parent_gen = gen, ",
            stamp!(),
            " WHERE s.sid = $1 AND ",
            may_advance!("$2", "$3", "$4"),
            $condition,
            " RETURNING ",
            written!(),
            $columns
        ))
    };
}

/// [`advance_live`] for each element of the array `$1`: a session id, its generation, the grace time and
/// the key.
macro_rules! advance_each {
    ($condition:expr, $columns:expr) => {
        Statement::write(concat!(
            "UPDATE auth_session SET gen = gen + 1, parent_gen = gen, ",
            stamp!(),
            " WHERE sid IN (SELECT s.sid FROM {each} JOIN auth_session s ON s.sid = {id} WHERE ",
            may_advance!(
                "CAST(u.value ->> 1 AS bigint)",
                "CAST(u.value ->> 2 AS bigint)",
                "u.value ->> 3"
            ),
            $condition,
            " {unlocked}) RETURNING ",
            written!(),
            $columns
        ))
    };
}

pub(super) static ADVANCE_LIVE: Statements = Statements {
    one: advance_live!("", ""),
    many: advance_each!("", ""),
    reads_user: false,
};

pub(super) static ADVANCE_LIVE_WITH_USER: Statements = Statements {
    one: advance_live!(may_sign_in!(), roles!("{written}")),
    many: advance_each!(may_sign_in!(), roles!("auth_session")),
    reads_user: true,
};

/// The statements of an advance. All return the changed rows.
pub(super) struct Statements {
    /// Takes the values of [`values`].
    one: Statement,
    /// Takes a JSON array of the values of [`as_json`].
    many: Statement,
    /// The rows contain the roles of the subjects that may sign in.
    reads_user: bool,
}

impl Statements {
    pub(super) fn of<D: Dialect>(&'static self, db: &D) -> Refreshes<D> {
        Refreshes {
            db: db.clone(),
            statements: self,
        }
    }
}

/// A database with the statements of an advance.
#[derive(Clone)]
pub(super) struct Refreshes<D> {
    db: D,
    statements: &'static Statements,
}

impl<D: Dialect> Advancer for Refreshes<D> {
    const LARGEST: usize = 128;
    // The time in the queue is limited.
    const WAITING: usize = usize::MAX;
    const WAITS_FOR_ROWS: bool = true;

    async fn one(&self, advance: &Advance) -> Advanced {
        let row = self.db.row(&self.statements.one, &values(advance)).await?;
        row.map(|row| self.read(&Columns(&row))).transpose()
    }

    async fn many(&self, advances: &[Advance]) -> Result<Vec<Advanced>, StoreError> {
        let array: Vec<_> = advances.iter().map(as_json).collect();
        let array = serde_json::to_string(&array).map_err(StoreError::invalid)?;
        let statement = &self.statements.many;
        let rows = self.db.rows(statement, &[(&array).into()]).await?;
        let rows = rows.iter().map(Columns);
        let mut rows: HashMap<_, _> = rows
            .filter_map(|row| Some((row.session_id().ok()?, row)))
            .collect();
        let advanced = advances.iter().map(|advance| {
            let row = rows.remove(&advance.id);
            row.map(|row| self.read(&row)).transpose()
        });
        Ok(advanced.collect())
    }
}

impl<D: Dialect> Refreshes<D> {
    fn read(
        &self,
        row: &Columns<'_, D::Row>,
    ) -> Result<(LoadedSession, Option<UserStanding>), StoreError> {
        let user = match self.statements.reads_user {
            true => row.maybe_text("roles")?,
            false => None,
        };
        let standing = |roles: String| Ok(UserStanding::new(roles_of(&roles)?, false));
        Ok((row.loaded()?, user.map(standing).transpose()?))
    }
}

fn values(advance: &Advance) -> [Value<'_>; 4] {
    [
        advance.id.as_bytes().into(),
        advance.live.into(),
        advance.grace_millis.into(),
        advance.bound_key.as_deref().into(),
    ]
}

/// The session id in hex, the generation, the grace time and the key.
fn as_json(advance: &Advance) -> (String, i64, i64, Option<&str>) {
    let key = advance.bound_key.as_deref();
    (
        advance.id.to_string(),
        advance.live,
        advance.grace_millis,
        key,
    )
}
