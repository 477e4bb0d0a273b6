//! A store that is chosen by a URL.

use std::time::Duration;

use crate::{
    error::{ConfigError, StoreError},
    principal::SessionId,
    revocation::{BroadcastFeed, Feed, Revocation, RevocationLog, RevocationSet},
    secret::Secret,
    store::{
        MemoryStore,
        port::{
            AuthStore, CreateOutcome, Family, GuestChange, GuestStore, LoadedGuest, LoadedSession,
            NewGuest, NewSessionRecord, RevokeReason, SecretStore, SessionRecord, SessionStore,
            StoreId, UserStanding,
        },
    },
};

/// Any store of this crate, selected by a URL. Cheap to clone.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::store::AnyStore;
///
/// let store = AnyStore::open("memory:").await?;
/// let revoked = store.revocations()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// A store in this process.
    Memory(MemoryStore),
    /// A store in an SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(super::SqliteStore),
    /// A store in PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(super::PostgresStore),
    /// A store in Redis.
    #[cfg(feature = "redis")]
    Redis(super::RedisStore),
}

/// The revocation feed of an [`AnyStore`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyFeed {
    /// The feed of a [`MemoryStore`].
    Memory(BroadcastFeed),
    /// The feed of a `SqliteStore`.
    #[cfg(feature = "sqlite")]
    Sqlite(super::sqlite::SqliteFeed),
    /// The feed of a `PostgresStore`.
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::PostgresFeed),
    /// The feed of a `RedisStore`.
    #[cfg(feature = "redis")]
    Redis(super::redis::RedisFeed),
}

/// Awaits the future of the selected store. Futures of stores with a connection are boxed: they are
/// large, and every enclosing future would be moved with them.
macro_rules! each {
    ($any:expr, $kind:ident, $one:ident => $future:expr) => {
        match $any {
            $kind::Memory($one) => $future.await,
            #[cfg(feature = "sqlite")]
            $kind::Sqlite($one) => Box::pin($future).await,
            #[cfg(feature = "postgres")]
            $kind::Postgres($one) => Box::pin($future).await,
            #[cfg(feature = "redis")]
            $kind::Redis($one) => Box::pin($future).await,
        }
    };
}

/// Evaluates an expression on the selected store.
macro_rules! of_each {
    ($any:expr, $one:ident => $answer:expr) => {
        match $any {
            Self::Memory($one) => $answer,
            #[cfg(feature = "sqlite")]
            Self::Sqlite($one) => $answer,
            #[cfg(feature = "postgres")]
            Self::Postgres($one) => $answer,
            #[cfg(feature = "redis")]
            Self::Redis($one) => $answer,
        }
    };
}

// Declared after the macros that they use.
mod api_keys;
mod credentials;
mod factors;
mod key_ring;
mod login;
#[cfg(feature = "jwks")]
mod logout;
mod settings;

impl AnyStore {
    /// Opens the store that the URL selects.
    ///
    /// | URL | store | feature |
    /// |---|---|---|
    /// | `memory:` | [`MemoryStore`] | |
    /// | `sqlite:PATH` | `SqliteStore::open` | `sqlite` |
    /// | `postgres://…`, `postgresql://…` | `PostgresStore::open` | `postgres` |
    /// | `redis://…`, `rediss://…`, `redis+unix://…` | `RedisStore::new`, which connects later | `redis` |
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: the URL is not the URL of a store, or the feature of its store is off.
    /// [`ConfigError::Store`]: the store could not be opened; the message names the cause. Neither
    /// message contains the password of the URL.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped. The store can then be opened again.
    pub async fn open(url: &str) -> Result<Self, ConfigError> {
        Self::open_any(url)
            .await
            .map_err(|error| without_password(url, error))
    }

    async fn open_any(url: &str) -> Result<Self, ConfigError> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "memory" => Ok(Self::Memory(MemoryStore::new())),
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                let store = super::SqliteStore::open(url).await;
                store.map(Self::Sqlite).map_err(ConfigError::Store)
            }
            #[cfg(not(feature = "sqlite"))]
            "sqlite" => Err(without("sqlite")),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let store = super::PostgresStore::open(url).await;
                store.map(Self::Postgres).map_err(ConfigError::Store)
            }
            #[cfg(not(feature = "postgres"))]
            "postgres" | "postgresql" => Err(without("postgres")),
            #[cfg(feature = "redis")]
            "redis" | "rediss" | "redis+unix" => super::RedisStore::new(url).map(Self::Redis),
            #[cfg(not(feature = "redis"))]
            "redis" | "rediss" | "redis+unix" => Err(without("redis")),
            _ => Err(ConfigError::invalid(
                STORE,
                "must begin with `memory:`, `sqlite:`, `postgres:` or `redis:`",
            )),
        }
    }

    /// Returns a feed of past and future revocations.
    #[must_use]
    pub fn feed(&self) -> AnyFeed {
        match self {
            Self::Memory(store) => AnyFeed::Memory(store.feed()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => AnyFeed::Sqlite(store.feed()),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => AnyFeed::Postgres(store.feed()),
            #[cfg(feature = "redis")]
            Self::Redis(store) => AnyFeed::Redis(store.feed()),
        }
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

impl AuthStore for AnyStore {
    fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    async fn revoke_api_keys(&self, subject: &str) -> Result<(), StoreError> {
        each!(self, Self, store => store.revoke_api_keys(subject))
    }
}

/// Removes the URL's passwords from the error of a driver that repeats the URL: the password before
/// the host, and those in parameters such as `password` and `sslpassword`.
fn without_password(url: &str, error: ConfigError) -> ConfigError {
    let ConfigError::Store(cause) = error else {
        return error;
    };
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    let before_host = user.split_once(':').map(|(_, password)| password);
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let passwords = parameters
        .filter(|(name, _)| name.to_ascii_lowercase().contains("password"))
        .map(|(_, value)| value);
    let message = cause.causes();
    let shown = before_host
        .into_iter()
        .chain(passwords)
        .filter(|password| !password.is_empty())
        .fold(message.clone(), |text, password| {
            text.replace(password, "***")
        });
    if shown == message {
        return ConfigError::Store(cause);
    }
    ConfigError::Store(StoreError::unavailable(shown))
}

#[cfg(not(all(feature = "sqlite", feature = "postgres", feature = "redis")))]
fn without(feature: &str) -> ConfigError {
    let problem = format!("needs a feature that is off: enable the feature `{feature}`");
    ConfigError::invalid(STORE, problem)
}

const STORE: &str = "the URL of the store";

impl SessionStore for AnyStore {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        each!(self, Self, store => store.create(session))
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        each!(self, Self, store => store.load(id))
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        each!(self, Self, store => store.advance(id, from, to))
    }

    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        each!(self, Self, store => store.advance_live(id, live, grace, bound_key))
    }

    fn is_immediate(&self) -> bool {
        of_each!(self, store => store.is_immediate())
    }

    fn users(&self) -> Option<StoreId> {
        of_each!(self, store => store.users())
    }

    async fn load_with_user(
        &self,
        id: SessionId,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        each!(self, Self, store => store.load_with_user(id))
    }

    async fn advance_live_with_user(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError> {
        each!(self, Self, store => store.advance_live_with_user(id, live, grace, bound_key))
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        each!(self, Self, store => store.confirm(id, generation))
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        each!(self, Self, store => store.revoke(id, reason))
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        each!(self, Self, store => store.replace(old, new))
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        each!(self, Self, store => store.revoke_others(subject, keep, reason))
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        each!(self, Self, store => store.revoke_all(subject, reason))
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        each!(self, Self, store => store.epoch(subject))
    }

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        each!(self, Self, store => store.list(subject, limit))
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        each!(self, Self, store => store.purge(limit))
    }
}

impl GuestStore for AnyStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        each!(self, Self, store => store.create_guest(guest))
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        each!(self, Self, store => store.find_guest(subject))
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        each!(self, Self, store => store.change_guest(change))
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        each!(self, Self, store => store.due_claims(limit))
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        each!(self, Self, store => store.purge_guests(limit))
    }

    fn sessions(&self) -> Option<StoreId> {
        of_each!(self, store => store.sessions())
    }
}

impl RevocationLog for AnyStore {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        each!(self, Self, store => store.append(revocation))
    }
}

impl SecretStore for AnyStore {
    async fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        each!(self, Self, store => store.secret_or_insert(name, fresh))
    }
}

impl Feed for AnyFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        each!(self, Self, feed => feed.load(set))
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        each!(self, Self, feed => feed.next(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u13_no_password_of_a_url_is_repeated_in_an_error() {
        for url in [
            "postgres://ada:hunter22@127.0.0.1/db",
            "postgres://127.0.0.1/db?user=ada&password=hunter22",
            "postgres://127.0.0.1/db?sslpassword=hunter22&user=ada",
            "postgres://ada:hunter22@127.0.0.1/db?Password=hunter22",
        ] {
            let cause = StoreError::unavailable(format!("cannot connect to {url}"));
            let error = without_password(url, ConfigError::Store(cause));
            let ConfigError::Store(cause) = error else {
                panic!("{url}: another error");
            };
            assert!(
                !cause.causes().contains("hunter22"),
                "{url}: {}",
                cause.causes()
            );
            assert!(cause.causes().contains("cannot connect"), "{url}");
        }
    }
}
