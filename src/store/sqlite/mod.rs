//! A store in an SQLite file, for one machine.
//!
//! Several processes may share the file if it is on a local disk. SQLite's locks and shared memory do
//! not work over a network file system. Every change is one statement. Triggers make the revocation
//! part of it.
//!
//! # Connections
//!
//! [`open`](SqliteStore::open) uses one connection for writes and four for reads (`journal_mode`
//! WAL). SQLite allows one writer at a time, and a queue in the process is fairer and faster than
//! connections that poll a lock. Reads do not wait for writes. A write waits up to 5 s for other
//! processes (`busy_timeout`) and up to 2 s for other writes of this process. A refresh that changes
//! nothing, such as that of a second browser tab, uses the writing connection but causes no `fsync`.
//!
//! # Durability
//!
//! `synchronous` is FULL: every confirmed change has reached the disk, for one `fsync` per change.
//! Refreshes that queue are one change. With NORMAL, a power cut would undo the last changes. A lost
//! refresh is repaired
//! ([`RefreshOutcome::Ahead`](crate::event::RefreshOutcome::Ahead)), but a lost logout
//! would make its session valid again.
//!
//! # Schema
//!
//! | table | a row | index | for |
//! |---|---|---|---|
//! | `auth_session` | a session | `sid` | everything |
//! | | | `(sub, ep, ends_by)`, of those not revoked | the list of a subject's live sessions, ending them |
//! | | | `expires_at`; `revoked_at`, if set | purging |
//! | `auth_subject` | the epoch of a subject that is not 0; deleted with a claimed guest, never with an account | `sub` | every read of a session |
//! | `auth_revocation` | a revocation, for 35 minutes | `seq` | new revocations, for the feed |
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
//! # Permissions
//!
//! Anyone who can read the file, its `-wal` or its `-shm` can read all of this. No row lets a reader
//! sign in, but the file contains user names, password hashes and session details. Keep it in a
//! directory that only the server can enter.

mod fault;
mod feed;
mod migrate;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Sqlite, SqlitePool,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use tokio::sync::Notify;

pub use self::feed::SqliteFeed;
use super::sql::{Dialect, Does, SqlStore, Statement, Value, Words, cells, store_over};
use crate::{
    error::{ConfigError, StoreError},
    layer::api_key::revoke_all_in,
    revocation::RevocationSet,
    store::port::AuthStore,
};

/// A store in an SQLite file. Cheap to clone; all clones are the same store.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("tower-jwt-auth-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("auth.db");
/// # let path = path.to_str().ok_or("not UTF-8")?;
/// use tower_jwt_auth::store::{port::SessionStore, sqlite::SqliteStore};
///
/// let store = SqliteStore::open(path).await?;
/// assert_eq!(store.epoch("alice").await?, 0);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
pub type SqliteStore = SqlStore<SqliteDialect>;

/// SQLite, with connections to one file.
#[doc(hidden)]
#[derive(Clone)]
pub struct SqliteDialect {
    readers: SqlitePool,
    /// The pool of `readers`, if the application supplied a pool.
    writer: SqlitePool,
    /// Wakes the feeds of this process.
    news: Arc<Notify>,
}

impl SqliteStore {
    /// Opens a file, given as a path or a `sqlite:` URL. Creates the file and its tables if they are
    /// missing.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the URL is invalid, the file is not a
    /// database, its tables were migrated by a newer version of this crate, or connections cannot
    /// share it. The last is true of a database in memory; use
    /// [`MemoryStore`](crate::store::MemoryStore) instead.
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable): the file cannot be opened.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(StoreError::invalid)?
            .create_if_missing(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full);
        // The journal mode belongs to the file. A change of it cannot wait for other processes, so
        // `migrate` repeats it.
        migrate::use_wal(&options).await?;
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(ACQUIRE)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let store = store_over(SqliteDialect {
            writer: pool()
                .max_connections(1)
                .idle_timeout(None)
                .connect_lazy_with(options.clone()),
            readers: pool()
                .max_connections(READERS)
                .connect_lazy_with(options.read_only(true).create_if_missing(false)),
            news: Arc::default(),
        });
        store.migrate().await?;
        Ok(store)
    }

    /// Creates a store over a pool of the application, for reads and writes. The tables must exist:
    /// see [`migrate`](Self::migrate).
    ///
    /// The pool's options determine the [durability](self#durability). Use WAL mode and a
    /// `busy_timeout`.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        store_over(SqliteDialect {
            readers: pool.clone(),
            writer: pool,
            news: Arc::default(),
        })
    }

    /// Creates or migrates the tables in one transaction. Several processes may call it
    /// concurrently.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable): the file cannot be written.
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the tables were migrated by a newer
    /// version of this crate.
    ///
    /// # Cancel safety
    ///
    /// A dropped future migrates in full or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::run(&self.db.writer).await
    }

    /// Returns a feed of past and future revocations.
    #[must_use]
    pub fn feed(&self) -> SqliteFeed {
        SqliteFeed::new(self.db.clone())
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

impl AuthStore for SqliteStore {
    fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    async fn revoke_api_keys(&self, subject: &str) -> Result<(), StoreError> {
        revoke_all_in(self, subject).await
    }
}

cells!(SqliteRow);

impl Dialect for SqliteDialect {
    type Row = SqliteRow;

    const WORDS: Words = &[
        // The time does not change during a statement. It is read after the statement has its lock.
        (
            "{now}",
            "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
        ),
        ("{least}", "MIN"),
        ("{locked}", ""),
        ("{unlocked}", ""),
        ("{serial}", ""),
        ("{each}", "json_each($1) u"),
        ("{id}", "unhex(u.value ->> 0)"),
        ("{written}", "auth_session"),
    ];

    const TURNS: usize = 1;

    async fn rows(
        &self,
        statement: &'static Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let pool = match statement.does() {
            Does::Read => &self.readers,
            Does::Write | Does::Revoke => &self.writer,
        };
        let query = sqlx::query(statement.text(PLACE, Self::WORDS));
        let query = values.iter().fold(query, bind);
        // Reads all rows, because SQLite commits after the last one. A call that takes only the first
        // row would not see a failed commit.
        let mut connection = pool.acquire().await.map_err(StoreError::unavailable)?;
        let rows = query.fetch_all(&mut *connection).await;
        let rows = rows.map_err(fault::store_error)?;
        if statement.does() == Does::Revoke {
            self.news.notify_waiters();
        }
        Ok(rows)
    }
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    value: &Value<'_>,
) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Number(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.map(str::to_owned)),
        Value::Bytes(bytes) => query.bind(bytes.map(<[u8]>::to_vec)),
    }
}

impl fmt::Debug for SqliteDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("readers", &self.readers.size())
            .finish_non_exhaustive()
    }
}

const PLACE: usize = 0;
const READERS: u32 = 4;
const ACQUIRE: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(5);
