//! Sessions in PostgreSQL 13 or later.
//!
//! Every change is one statement, and so one round trip and one transaction. Triggers make the
//! revocation part of it. The server's clock is the only clock.
//!
//! # Schema
//!
//! [`open`](PostgresStore::open) creates the tables in the first schema of the `search_path`, or
//! brings them up to date; nodes may do so at once. To keep them in a schema of their own, name it
//! in the URL: `?options=-csearch_path%3Dauth`.
//!
//! | table | a row | index | for |
//! |---|---|---|---|
//! | `auth_session` | a session | `sid` | everything |
//! | | | `(sub, ep, ends_by)`, of those not revoked | the list of a subject's live sessions, ending them |
//! | | | `expires_at`; `revoked_at`, where it is set | purging |
//! | `auth_subject` | a subject whose sessions were once ended all at once, with its epoch; goes with a guest who was claimed, never with an account | `sub` | every read of a session |
//! | `auth_revocation` | what is revoked, for 35 minutes | `(tx, seq)` | what is new, for the feed |
//! | | | `until` | purging |
//! | `auth_guest` | a guest, its claim, and the delivery of the claim to the application | `sub` | everything |
//! | | | `expires_at` | purging |
//! | | | `due_at`, where it is set | pending claims |
//! | `auth_secret` | a secret that the server made itself | `name` | once, at the start |
//! | `auth_key_ring` | the signing keys of all nodes, encrypted | `name` | starts, rotations; its revision once a second |
//! | `auth_user` | somebody who may sign in | `sub`; `identifier` | refreshes; logins, lists |
//! | `auth_throttle` | a counter of login attempts, under a keyed digest | `key` | logins |
//! | | | `kept_until` | purging |
//! | `auth_api_key` | an API key: digests of its secrets; never purged | `id` | requests |
//! | | | `(owner, created_at)` | the list of an owner's keys |
//! | `auth_one_time` | a token that is good for one use: its digest | `digest` | using it |
//! | | | `(sub, purpose)`; `expires_at` | spending all of a subject's; purging |
//! | `auth_schema` | the number of a migration | | `migrate` |
//!
//! `ends_by` is not before the end of a session, and a refresh moves it at most once an hour. The
//! other refreshes change no indexed column and find room on their page (`fillfactor` 80), so that
//! they leave the indexes alone (HOT). `details` is text, stored byte by byte. `details::jsonb` reads
//! it.
//!
//! # Cost
//!
//! A refresh is one round trip; a test counts them. After the answer sqlx pings the connection before
//! it puts it back into the pool.
//!
//! # Permissions
//!
//! `SELECT`, `INSERT`, `UPDATE` and `DELETE` on the tables. Where a migration is due, also `CREATE`
//! on the schema; where none is, nothing of the kind is tried, so that a deployment may migrate as
//! the owner and serve as somebody else.
//!
//! # Durability
//!
//! What the server's `synchronous_commit` promises. Nothing is lost with `on`, its default. With
//! `off`, or after failing over to a replica that lags, the last moments may be: a lost refresh is
//! made up for ([`RefreshOutcome::Ahead`](crate::server::refresh::RefreshOutcome::Ahead)), a lost revocation is not.
//!
//! The isolation level is meant to be `read committed`, PostgreSQL's default. Under a stricter one
//! it stays correct, but refreshes of one session at once are refused as serialization failures.
//!
//! # Poolers
//!
//! PgBouncer in transaction mode needs `?statement-cache-capacity=0`, and lets no notification
//! through: what is revoked is then heard of within a second instead of at once.

mod fault;
mod feed;
mod migrate;

use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgPool, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time;

pub use self::feed::PostgresFeed;
use super::sql::{Dialect, SqlStore, Statement, Value, Words, cells};
use crate::{
    error::{ConfigError, StoreError},
    revocation::RevocationSet,
};

/// Keeps sessions in PostgreSQL. Cheap to clone; all clones are one store.
///
/// # Examples
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::store::postgres::PostgresStore;
///
/// let store = PostgresStore::open("postgres://auth@db.example/auth?sslmode=verify-full").await?;
/// let revoked = store.revocations()?;
/// # let _ = revoked;
/// # Ok(())
/// # }
/// ```
pub type PostgresStore = SqlStore<PostgresDialect>;

/// PostgreSQL, through a pool of connections.
#[derive(Clone)]
pub struct PostgresDialect {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects, with at most ten connections, and creates or migrates the tables.
    ///
    /// A request waits two seconds for a connection and five for an answer.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the URL is none, or the tables are of a
    /// newer version of this crate. Otherwise as [`migrate`](Self::migrate).
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::invalid)?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            // A connection that was in use just now is not asked whether it lives: that would make
            // two round trips of every one.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone());
        let store = Self::new(pool);
        match store.migrate().await {
            Ok(()) => Ok(store),
            Err(error) if fault::is_waiting(&error) => {
                // The pool tries again until its time is over, and forgets why.
                let attempt = time::timeout(ACQUIRE, options.connect()).await;
                Err(match attempt {
                    Ok(Err(cause)) => StoreError::unavailable(cause),
                    _ => error,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// A store over a pool that somebody else owns. Its tables must be there:
    /// [`migrate`](Self::migrate).
    ///
    /// How long a request waits for a connection is the pool's `acquire_timeout`. With
    /// `test_before_acquire` every request costs a round trip more.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::over(PostgresDialect { pool })
    }

    /// Creates the tables or brings them up to date, in one transaction. Nodes may do so at once.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable) and
    /// [`Interrupted`](crate::error::StoreErrorKind::Interrupted): the server cannot be reached; a
    /// migration is done in full or not at all. [`Invalid`](crate::error::StoreErrorKind::Invalid):
    /// the tables are of a newer version of this crate, or it is not permitted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future migrates in full or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::run(&self.db.pool).await
    }

    /// A feed of what was and will be revoked, over a connection of its own.
    #[must_use]
    pub fn feed(&self) -> PostgresFeed {
        PostgresFeed::new(&self.db.pool)
    }

    /// A set that follows this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }
}

cells!(PgRow);

impl Dialect for PostgresDialect {
    type Row = PgRow;

    const WORDS: Words = &[
        // It stands still during a statement, also while that waits for a lock, so that all lines of
        // it agree. `now()` would be the start of the transaction, and `clock_timestamp()` moves.
        (
            "{now}",
            "CAST(floor(date_part('epoch', statement_timestamp()) * 1000) AS bigint)",
        ),
        ("{least}", "LEAST"),
        ("{locked}", "FOR NO KEY UPDATE"),
        ("{unlocked}", "FOR NO KEY UPDATE SKIP LOCKED"),
        (
            "{each}",
            "json_array_elements(CAST($1 AS json)) AS u (value)",
        ),
    ];

    /// Repeats the statement once if it met another transaction: then nothing was written.
    async fn rows(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let text = statement.text(PLACE, Self::WORDS);
        let mut again = true;
        loop {
            // Nothing is sent before there is a connection.
            let connection = self.pool.acquire().await;
            let mut connection = connection.map_err(StoreError::unavailable)?;
            let query = values.iter().fold(sqlx::query(text), bind);
            let answer = query.fetch_all(&mut *connection);
            match time::timeout(ANSWER, answer).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if again && fault::is_conflict(&error) => again = false,
                Ok(Err(error)) => return Err(fault::store_error(error)),
                Err(late) => {
                    // The next user of the connection would wait as well.
                    connection.close_on_drop();
                    return Err(StoreError::interrupted(late));
                }
            }
        }
    }
}

fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    value: &Value<'_>,
) -> Query<'q, Postgres, PgArguments> {
    match value {
        Value::Number(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.map(str::to_owned)),
        Value::Bytes(bytes) => query.bind(bytes.map(<[u8]>::to_vec)),
    }
}

impl fmt::Debug for PostgresDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("connections", &self.pool.size())
            .finish_non_exhaustive()
    }
}

const PLACE: usize = 1;
const MAX_CONNECTIONS: u32 = 10;
const ACQUIRE: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// How long an idle connection is taken for alive.
const TRUSTED: Duration = Duration::from_secs(2);
