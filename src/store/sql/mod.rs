//! The ports in SQL, once for every dialect.
//!
//! A port is an `impl<D: Dialect> Port for SqlStore<D>` over [`Statement`]s, which are values. A
//! [`Dialect`] runs a statement and supplies the few words that differ; its module also has the
//! migrations and the feed. What ends a session is followed by its revocation through a trigger, in
//! both dialects, so that the two are one step.
//!
//! Times are whole milliseconds since 1970 in columns of 64 bits. Every number is a `bigint`.

mod api_keys;
mod guests;
mod key_ring;
mod log;
mod one_time;
mod row;
mod sessions;
mod statement;
mod throttle;
mod users;

use std::{fmt, future::Future};

use self::row::{duration, kind_code, kind_of, millis, narrow, target};
#[cfg(feature = "sqlite")]
pub(in crate::store) use self::statement::Does;
pub(in crate::store) use self::{
    row::{Cells, Columns, cells},
    statement::{Statement, Value, Words},
};
use crate::error::StoreError;
use crate::store::port::StoreId;

/// A store in an SQL database: [`SqliteStore`](super::SqliteStore) and
/// [`PostgresStore`](super::PostgresStore). Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct SqlStore<D> {
    pub(in crate::store) db: D,
    id: StoreId,
}

impl<D> SqlStore<D> {
    pub(in crate::store) fn over(db: D) -> Self {
        Self {
            db,
            id: StoreId::new(),
        }
    }
}

/// A database, and the words in which it differs from the others.
pub(in crate::store) trait Dialect:
    Clone + fmt::Debug + Send + Sync + 'static
{
    /// A row.
    type Row: Cells;

    /// The texts of `{now}`, `{least}`, `{locked}`, `{unlocked}` and `{each}` in statements.
    ///
    /// - `{now}`: the server's time. It does not change during a statement.
    /// - `{least}`: the function that returns the least of its arguments.
    /// - `{locked}`: at the end of a selection, locks its rows for a change, and waits for them.
    /// - `{unlocked}`: as `{locked}`, but leaves out rows that another transaction has locked.
    /// - `{each}`: the rows of the JSON array `$1`, as `u (value)`.
    const WORDS: Words;

    /// Runs one statement, which is one transaction. Returns all its rows.
    fn rows(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// The first row of a statement.
    fn row(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Option<Self::Row>, StoreError>> + Send {
        async move { Ok(self.rows(statement, values).await?.into_iter().next()) }
    }

    /// The row of a statement that always has one.
    fn only_row(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Self::Row, StoreError>> + Send {
        async move {
            let row = self.row(statement, values).await?;
            row.ok_or_else(|| StoreError::invalid("a statement without its row"))
        }
    }

    /// Returns `true` if the statement returned a row: something was changed.
    fn changed(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.row(statement, values).await?.is_some()) }
    }

    /// The number of rows that a statement returned.
    fn count(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move { Ok(self.rows(statement, values).await?.len() as u64) }
    }
}

impl<D: fmt::Debug> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.db.fmt(f)
    }
}
