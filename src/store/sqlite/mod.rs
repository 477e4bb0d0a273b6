//! Sessions in an SQLite file, for one machine.
//!
//! Several processes may share the file, on a local disk: SQLite's locks and its shared memory do not
//! work over a network file system. Every change is one statement. Triggers make the revocation part
//! of it.
//!
//! # Connections
//!
//! [`open`](SqliteStore::open) keeps one connection that writes, because SQLite lets one write at a
//! time and a queue in the process is fairer and faster than one of polling connections, and four
//! that read, which nobody has to wait for (`journal_mode` WAL). A writer waits up to five seconds
//! for other processes (`busy_timeout`), and up to two for the other writers of this one. A refresh
//! that changes nothing, as those of other tabs, takes a turn of the writer, but causes no `fsync`.
//!
//! # Durability
//!
//! `synchronous` is FULL: what was answered has reached the disk, at the price of one `fsync` a
//! refresh. With NORMAL, a power cut would undo the last moments: a lost refresh is made up for
//! ([`RefreshOutcome::Ahead`](crate::server::refresh::RefreshOutcome::Ahead)), but whoever signed out would be signed in
//! again.
//!
//! # Schema
//!
//! | table | a row | index | for |
//! |---|---|---|---|
//! | `auth_session` | a session | `sid` | everything |
//! | | | `(sub, ep, ends_by)`, of those not revoked | the list of a subject's live sessions, ending them |
//! | | | `expires_at`; `revoked_at`, where it is set | purging |
//! | `auth_subject` | a subject whose sessions were once ended all at once, with its epoch; goes with a guest who was claimed, never with an account | `sub` | every read of a session |
//! | `auth_revocation` | what is revoked, for 35 minutes | `seq` | what is new, for the feed |
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
//! # Permissions
//!
//! Whoever may read the file and its two companions (`-wal`, `-shm`) may read all of that. It holds
//! nothing that signs anybody in, but names, hashes of passwords, and what `details` was given: a folder of its own that
//! nobody else may enter is the simplest protection.

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
use super::sql::{Dialect, Does, SqlStore, Statement, Value, Words, cells};
use crate::{
    error::{ConfigError, StoreError},
    revocation::RevocationSet,
};

/// Keeps sessions in an SQLite file. Cheap to clone; all clones are one store.
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

/// SQLite, through connections to one file.
#[derive(Clone)]
pub struct SqliteDialect {
    readers: SqlitePool,
    /// The same pool, if the application supplied it.
    writer: SqlitePool,
    /// Wakes the feeds of this process.
    news: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the file, a path or a `sqlite:` URL, and creates it and its tables where they are
    /// missing.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the URL is none, the file is no database,
    /// its tables are of a newer version of this crate, or it cannot be shared by connections (a
    /// database in memory: that is [`MemoryStore`](crate::store::MemoryStore)'s).
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable): it cannot be opened.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(StoreError::invalid)?
            .create_if_missing(true)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full);
        // The journal is the file's, and changing it cannot wait for others: `migrate` does that.
        migrate::use_wal(&options).await?;
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(ACQUIRE)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let store = Self::over(SqliteDialect {
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

    /// A store over a pool that somebody else owns, for reading and writing. Its tables must be
    /// there: [`migrate`](Self::migrate).
    ///
    /// The pool's options decide about durability: see [above](self). It should be in WAL mode and
    /// have a `busy_timeout`.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self::over(SqliteDialect {
            readers: pool.clone(),
            writer: pool,
            news: Arc::default(),
        })
    }

    /// Creates the tables or brings them up to date, in one transaction. Processes may do so at
    /// once.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::error::StoreErrorKind::Unavailable): the file cannot be written.
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the tables are of a newer version of this
    /// crate.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future migrates in full or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::run(&self.db.writer).await
    }

    /// A feed of what was and will be revoked.
    #[must_use]
    pub fn feed(&self) -> SqliteFeed {
        SqliteFeed::new(self.db.clone())
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

cells!(SqliteRow);

impl Dialect for SqliteDialect {
    type Row = SqliteRow;

    const WORDS: Words = &[
        // It stands still during a statement, from the moment when that has its lock.
        (
            "{now}",
            "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
        ),
        ("{least}", "MIN"),
        ("{locked}", ""),
        ("{unlocked}", ""),
        ("{each}", "json_each($1) u"),
    ];

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
        // All rows, because SQLite commits after the last one. A call that takes only the first one
        // is not told about a commit that failed.
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
