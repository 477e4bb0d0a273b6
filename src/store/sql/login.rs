//! Rows of users.

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::Columns;
use crate::{
    error::StoreError,
    server::login::{Identifier, PasswordHash},
    store::{
        port::{UserEntry, UserRecord},
        roles_of,
    },
};

/// What [`user`](Columns::user) reads. The epoch is the sessions' own, read at the same moment.
macro_rules! find_user {
    ($column:literal) => {
        concat!(
            "SELECT u.sub, u.hash, u.roles, u.disabled, \
             COALESCE((SELECT a.epoch FROM auth_subject a WHERE a.sub = u.sub), 0) AS epoch \
             FROM auth_user u WHERE u.",
            $column,
            " = $1"
        )
    };
}

pub(in crate::store) use find_user;

/// Changes one column of a user's row.
macro_rules! set_user {
    ($column:literal) => {
        concat!(
            "UPDATE auth_user SET ",
            $column,
            " = $2 WHERE sub = $1 RETURNING 1"
        )
    };
}

pub(in crate::store) use set_user;

pub(in crate::store) const USERS: &str = "SELECT sub, identifier, roles, disabled, created_at FROM auth_user \
     WHERE identifier > $1 ORDER BY identifier LIMIT $2";

pub(in crate::store) const REPLACE_HASH: &str =
    "UPDATE auth_user SET hash = $3 WHERE sub = $1 AND hash = $2 RETURNING 1";

impl<'r, R> Columns<'r, R>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    /// A user, from [`find_user`].
    pub(in crate::store) fn user(&self) -> Result<UserRecord, StoreError> {
        Ok(UserRecord {
            subject: self.text("sub")?,
            password: self.maybe_text("hash")?.map(PasswordHash::new),
            roles: roles_of(&self.text("roles")?)?,
            disabled: self.number("disabled")? != 0,
            epoch: Some(self.epoch("epoch")?),
        })
    }

    /// A line of a list, from [`USERS`].
    pub(in crate::store) fn user_entry(&self) -> Result<UserEntry, StoreError> {
        let identifier =
            Identifier::existing(&self.text("identifier")?).map_err(StoreError::invalid)?;
        Ok(UserEntry {
            subject: self.text("sub")?,
            identifier,
            roles: roles_of(&self.text("roles")?)?,
            disabled: self.number("disabled")? != 0,
            created_at: self.time("created_at")?,
        })
    }
}
