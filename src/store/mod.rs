//! Where sessions and revocations are kept; users, counters of logins, API keys as well.
//!
//! | store | sessions survive | revocations reach other nodes |
//! |---|---|---|
//! | [`MemoryStore`] | nothing | there are none |
//! | `SqliteStore` | a power cut | within a third of a second, on the same file |
//! | `PostgresStore` | what its server survives | at once, within 1 s without notifications |
//! | `RedisStore` | a restart, with persistence | at once |
//!
//! Every one of them is a [`SessionStore`](crate::store::port::SessionStore), a
//! [`RevocationLog`](crate::revocation::RevocationLog), a [`SecretStore`](crate::store::port::SecretStore) and
//! an [`ApiKeyStore`](crate::layer::api_key::ApiKeyStore), a `UserStore` with
//! `UserAdmin`, a `ThrottleStore` and a `OneTimeStore`. Some of their methods have the
//! same name: where two of the ports are in scope, write `UserStore::find(&store, ..)`.
//!
//! Every store passes [`contract`], which is public: one of your own runs it as well.

mod any;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod contract;
mod memory;
pub mod port;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub mod postgres;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub mod sqlite;

pub use self::any::{AnyFeed, AnyStore};
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use self::postgres::PostgresStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use self::sql::SqlStore;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::SqliteStore;

use std::time::Duration;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
use crate::error::StoreError;

/// How long a session is kept after its end, so that its user is told why.
pub(crate) const ENDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a session is kept after it was revoked.
pub(crate) const REVOKED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Roles as SQL and Redis keep them: a JSON array.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
fn roles_of(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(StoreError::invalid)
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
fn roles_text(roles: &[String]) -> Result<String, StoreError> {
    serde_json::to_string(roles).map_err(StoreError::invalid)
}
