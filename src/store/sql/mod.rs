//! The ports in SQL, written once for both dialects.
//!
//! A port is an `impl<D: Dialect> Port for SqlStore<D>` over [`Statement`]s, which are values. A
//! [`Dialect`] runs a statement and supplies the few words that differ. Its module also contains the
//! migrations and the feed. In both dialects a trigger writes the revocation of a session that ends,
//! so that the end and the revocation are one step.
//!
//! Times are whole milliseconds since 1970 in columns of 64 bits. Every number is a `bigint`.

mod api_keys;
mod credentials;
mod factors;
mod guests;
mod key_ring;
mod log;
mod one_time;
mod replace;
mod row;
mod sessions;
mod statement;
mod throttle;
mod users;

use std::{fmt, future::Future, sync::Arc};

use self::row::{duration, kind_code, kind_of, millis, narrow, target};
#[cfg(feature = "sqlite")]
pub(in crate::store) use self::statement::Does;
pub(in crate::store) use self::{
    row::{Cells, Columns, cells},
    statement::{Statement, Value, Words},
};
use crate::{
    error::StoreError,
    store::{batch::Queue, port::StoreId},
};

/// A store in an SQL database: [`SqliteStore`](super::SqliteStore) and
/// [`PostgresStore`](super::PostgresStore). Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct SqlStore<D> {
    pub(in crate::store) db: D,
    id: StoreId,
    /// The refreshes that wait for a statement.
    refreshes: Arc<Queue>,
    /// The refreshes that wait for a statement that also reads the users.
    refreshes_with_user: Arc<Queue>,
}

/// Creates a store over a database.
pub(in crate::store) fn store_over<D: Dialect>(db: D) -> SqlStore<D> {
    SqlStore {
        db,
        id: StoreId::new(),
        refreshes: Arc::new(Queue::new(D::TURNS)),
        refreshes_with_user: Arc::new(Queue::new(D::TURNS)),
    }
}

/// A database and its words for the places in which the dialects differ.
pub(in crate::store) trait Dialect:
    Clone + fmt::Debug + Send + Sync + 'static
{
    /// A row.
    type Row: Cells;

    /// The texts of `{now}`, `{least}`, `{locked}`, `{unlocked}`, `{serial}`, `{each}`, `{id}` and
    /// `{written}` in statements.
    ///
    /// - `{now}`: the server's time. It does not change during a statement.
    /// - `{least}`: the function that returns the least of its arguments.
    /// - `{locked}`: at the end of a selection, locks its rows for a change and waits for locked rows.
    /// - `{unlocked}`: as `{locked}`, but leaves out rows that another transaction has locked.
    /// - `{serial}`: at the end of the conditions, keeps the server from a parallel plan.
    /// - `{each}`: the rows of the JSON array `$1`, as `u (value)`.
    /// - `{id}`: the bytes whose hexadecimal text is the first element of the array `u.value`.
    /// - `{written}`: the name by which `RETURNING` sees the row of `UPDATE auth_session AS s`.
    const WORDS: Words;

    /// The maximum number of concurrent statements that advance sessions.
    const TURNS: usize;

    /// Runs one statement, which is one transaction. Returns all its rows.
    fn rows(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;

    /// Runs one statement and returns its first row.
    fn row(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Option<Self::Row>, StoreError>> + Send {
        async move { Ok(self.rows(statement, values).await?.into_iter().next()) }
    }

    /// Runs a statement that always returns a row.
    fn only_row(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Self::Row, StoreError>> + Send {
        async move {
            let row = self.row(statement, values).await?;
            row.ok_or_else(|| StoreError::invalid("a statement returned no row"))
        }
    }

    /// Runs one statement. Returns `true` if it returned a row, which means that it changed something.
    fn changed(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.row(statement, values).await?.is_some()) }
    }

    /// Runs one statement and returns the number of its rows.
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
