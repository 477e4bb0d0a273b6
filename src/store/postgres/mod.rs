//! A store in PostgreSQL 13 or later.
//!
//! Every change is one statement, and therefore one round trip and one transaction. Triggers make the
//! revocation part of it. The server's clock is the only clock.
//!
//! # Schema
//!
//! [`open`](PostgresStore::open) creates or migrates the tables in the first schema of the
//! `search_path`. Several nodes may call it concurrently. To use a separate schema, name it in the
//! URL: `?options=-csearch_path%3Dauth`.
//!
//! | table | a row | index | for |
//! |---|---|---|---|
//! | `auth_session` | a session | `sid` | everything |
//! | | | `(sub, ep, ends_by)`, of those not revoked | the list of a subject's live sessions, ending them |
//! | | | `expires_at`; `revoked_at`, if set | purging |
//! | `auth_subject` | the epoch of a subject that is not 0; deleted with a claimed guest, never with an account | `sub` | every read of a session |
//! | `auth_revocation` | a revocation, for 35 minutes | `(tx, seq)` | new revocations, for the feed |
//! | | | `until` | purging |
//! | `auth_guest` | a guest, its claim, and the delivery of the claim to the application | `sub` | everything |
//! | | | `expires_at` | purging |
//! | | | `due_at`, if set | pending claims |
//! | `auth_secret` | a generated secret | `name` | once, at the start |
//! | `auth_key_ring` | the signing keys of all nodes, encrypted | `name` | starts, rotations; its revision once a second |
//! | `auth_user` | a user | `sub`; `identifier` | refreshes; logins, lists |
//! | `auth_throttle` | a counter of login attempts, under a keyed digest | `key` | logins |
//! | | | `kept_until` | purging |
//! | `auth_api_key` | an API key: digests of its secrets; never purged | `id` | requests |
//! | | | `(owner, created_at)` | the list of an owner's keys |
//! | `auth_one_time` | the digest of a one-time token | `digest` | redemption |
//! | | | `(sub, purpose)`; `expires_at` | invalidation of a subject's tokens; purging |
//! | `auth_factor` | the second factors of a subject: secrets encrypted, recovery codes as digests | `sub` | second steps |
//! | `auth_credential` | an account at an identity provider, or a passkey; never purged | `(kind, id)`; `(sub, kind)` | sign-ins; lists |
//! | `auth_schema` | the number of a migration | | `migrate` |
//!
//! `ends_by` is not before the end of a session. A refresh changes it at most once an hour. All other
//! refreshes change no indexed column and find room on their page (`fillfactor` 80), so that they do
//! not touch the indexes (HOT updates). `details` is text, stored byte by byte. Use `details::jsonb`
//! to read it.
//!
//! # Cost
//!
//! A refresh is one round trip; a test counts them. At most four statements refresh sessions at a time.
//! Refreshes that queue in the meantime share the next one. sqlx pings a connection before it returns
//! to the pool.
//!
//! # Permissions
//!
//! The store needs `SELECT`, `INSERT`, `UPDATE` and `DELETE` on the tables. A migration also needs
//! `CREATE` on the schema. If no migration is due, none is attempted, so that a deployment may migrate
//! as the owner of the schema and serve as another role.
//!
//! # Durability
//!
//! The server's `synchronous_commit` determines the durability. With `on`, the default, nothing is
//! lost. With `off`, or after a failover to a replica that lags, the last changes may be lost. A lost
//! refresh is repaired ([`RefreshOutcome::Ahead`](crate::event::RefreshOutcome::Ahead)), a
//! lost revocation is not.
//!
//! Use the isolation level `read committed`, PostgreSQL's default. A stricter level is also correct,
//! but concurrent refreshes of one session are then refused as serialization failures.
//!
//! # Poolers
//!
//! PgBouncer in transaction mode needs `?statement-cache-capacity=0` and does not pass notifications
//! on. Revocations then take effect within a second instead of immediately.

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
use super::sql::{Dialect, SqlStore, Statement, Value, Words, cells, store_over};
use crate::{
    error::{ConfigError, StoreError},
    layer::api_key::revoke_all_in,
    revocation::RevocationSet,
    store::port::AuthStore,
};

/// A store in PostgreSQL. Cheap to clone; all clones are the same store.
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

/// PostgreSQL, with a pool of connections.
#[doc(hidden)]
#[derive(Clone)]
pub struct PostgresDialect {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects with at most ten connections, and creates or migrates the tables.
    ///
    /// A call waits up to 2 s for a connection and up to 5 s for a response.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the URL is invalid, or the tables were
    /// migrated by a newer version of this crate. Otherwise as [`migrate`](Self::migrate).
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::invalid)?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE)
            // A recently used connection is not tested, because a test is one more round trip.
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
                // The pool retries until its timeout and does not keep the cause.
                let attempt = time::timeout(ACQUIRE, options.connect()).await;
                Err(match attempt {
                    Ok(Err(cause)) => StoreError::unavailable(cause),
                    _ => error,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a store over a pool of the application. The tables must exist: see
    /// [`migrate`](Self::migrate).
    ///
    /// A call waits for a connection up to the pool's `acquire_timeout`. With `test_before_acquire`,
    /// each call takes one more round trip.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        store_over(PostgresDialect { pool })
    }

    /// Creates or migrates the tables in one transaction. Several nodes may call it concurrently.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable) and
    /// [`Interrupted`](crate::error::StoreErrorKind::Interrupted): the server cannot be reached. The
    /// migration is done in full or not at all. [`Invalid`](crate::error::StoreErrorKind::Invalid):
    /// the tables were migrated by a newer version of this crate, or the role lacks a permission.
    ///
    /// # Cancel safety
    ///
    /// A dropped future migrates in full or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::run(&self.db.pool).await
    }

    /// Returns a feed of past and future revocations. It uses a separate connection.
    #[must_use]
    pub fn feed(&self) -> PostgresFeed {
        PostgresFeed::new(&self.db.pool)
    }

    /// Creates a revocation set that follows this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }
}

impl AuthStore for PostgresStore {
    fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    async fn revoke_api_keys(&self, subject: &str) -> Result<(), StoreError> {
        revoke_all_in(self, subject).await
    }
}

cells!(PgRow);

impl Dialect for PostgresDialect {
    type Row = PgRow;

    const WORDS: Words = &[
        // The time does not change during a statement, also while the statement waits for a lock.
        // `now()` is the start of the transaction, and `clock_timestamp()` changes during a statement.
        (
            "{now}",
            "CAST(floor(date_part('epoch', statement_timestamp()) * 1000) AS bigint)",
        ),
        ("{least}", "LEAST"),
        ("{locked}", "FOR NO KEY UPDATE"),
        ("{unlocked}", "FOR NO KEY UPDATE SKIP LOCKED"),
        // Always true. The function must not run in a parallel worker.
        ("{serial}", "AND pg_backend_pid() > 0"),
        (
            "{each}",
            "json_array_elements(CAST($1 AS json)) AS u (value)",
        ),
        ("{id}", "decode(u.value ->> 0, 'hex')"),
        ("{written}", "s"),
    ];

    const TURNS: usize = 4;

    /// Repeats the statement once after a conflict with another transaction, because nothing was
    /// written then.
    async fn rows(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let text = statement.text(PLACE, Self::WORDS);
        let mut again = true;
        loop {
            // Nothing was sent before there is a connection, so an error is `Unavailable`.
            let connection = self.pool.acquire().await;
            let mut connection = connection.map_err(StoreError::unavailable)?;
            let query = values.iter().fold(sqlx::query(text), bind);
            let answer = query.fetch_all(&mut *connection);
            match time::timeout(ANSWER, answer).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if again && fault::is_conflict(&error) => again = false,
                Ok(Err(error)) => return Err(fault::store_error(error)),
                Err(late) => {
                    // The connection is closed: its next user would wait for this response too.
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
/// The idle time after which a connection is tested before its next use.
const TRUSTED: Duration = Duration::from_secs(2);
