//! Sessions in an SQLite file, for one machine.
//!
//! Several processes may share the file, on a local disk: SQLite's locks and its shared memory do not
//! work over a network file system. Every change is one statement; triggers make the revocation part
//! of it.
//!
//! # Connections
//!
//! [`open`](SqliteStore::open) keeps one connection that writes, because SQLite lets one write at a
//! time and a queue in the process is fairer and faster than one of polling connections, and four
//! that read, which nobody has to wait for (`journal_mode` WAL). A writer waits up to five seconds
//! for other processes (`busy_timeout`), and up to two for the other writers of this one. A refresh
//! that changes nothing, as those of other tabs, only reads.
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
//! | | | `sub`, of those not revoked | the list of a subject's sessions, ending them |
//! | | | `expires_at`; `revoked_at`, where it is set | purging |
//! | `auth_subject` | a subject whose sessions were once ended all at once, with its epoch; goes with a guest who was claimed, never with an account | `sub` | every read of a session |
//! | `auth_revocation` | what is revoked, for 35 minutes | `seq` | what is new, for the feed |
//! | | | `until` | purging |
//! | `auth_guest` | a guest, who claimed it, whether the application was told | `sub` | everything |
//! | | | `expires_at` | purging |
//! | | | `due_at`, where it is set | pending claims |
//! | `auth_secret` | a secret that the server made itself | `name` | once, at the start |
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

mod api_keys;
mod fault;
mod feed;
mod guests;
mod migrate;
mod one_time;
mod sessions;
mod throttle;
mod users;

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
use super::sql::Columns;
use crate::{
    error::{ConfigError, StoreError},
    revocation::RevocationSet,
    secret::Secret,
    store::port::SecretStore,
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
#[derive(Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    /// Where the pool is somebody else's, the same one.
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
        let store = Self {
            writer: pool()
                .max_connections(1)
                .idle_timeout(None)
                .connect_lazy_with(options.clone()),
            readers: pool()
                .max_connections(READERS)
                .connect_lazy_with(options.read_only(true).create_if_missing(false)),
            news: Arc::default(),
        };
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
        Self {
            readers: pool.clone(),
            writer: pool,
            news: Arc::default(),
        }
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
        migrate::run(&self.writer).await
    }

    /// A feed of what was and will be revoked.
    #[must_use]
    pub fn feed(&self) -> SqliteFeed {
        SqliteFeed::new(self.readers.clone(), Arc::clone(&self.news))
    }

    /// A set that follows this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: called outside a tokio runtime.
    pub fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    /// Runs one statement that changes nothing.
    async fn read(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        rows(&self.readers, statement).await
    }

    /// Runs one statement that changes something.
    async fn write(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        rows(&self.writer, statement).await
    }

    /// As [`write`](Self::write), of something that feeds tell.
    async fn revoke_by(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let rows = self.write(statement).await?;
        self.news.notify_waiters();
        Ok(rows)
    }
}

/// All rows, because SQLite commits after the last one: what takes the first one alone never hears
/// of a commit that failed.
async fn rows(
    pool: &SqlitePool,
    statement: Query<'_, Sqlite, SqliteArguments>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut connection = pool.acquire().await.map_err(StoreError::unavailable)?;
    let rows = statement.fetch_all(&mut *connection).await;
    rows.map_err(fault::store_error)
}

impl SecretStore for SqliteStore {
    async fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        // The assignment changes nothing, and makes a row that was there come back.
        let insert = sqlx::query(
            "INSERT INTO auth_secret (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET name = name RETURNING value",
        );
        let rows = self.write(insert.bind(name).bind(fresh)).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StoreError::invalid("a statement without its row"))?;
        Columns(row).bytes("value").map(Secret::new)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("readers", &self.readers.size())
            .finish_non_exhaustive()
    }
}

const READERS: u32 = 4;
const ACQUIRE: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(5);
