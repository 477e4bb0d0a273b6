//! The stores of the issuing side.
//!
//! | store | sessions survive | revocations reach other nodes |
//! |---|---|---|
//! | [`MemoryStore`] | nothing: they end with the process | there are no other nodes |
//! | [`SqliteStore`] | a power cut | within a third of a second, on the same file |
//! | [`PostgresStore`] | what its server survives | immediately; within 1 s without notifications |
//! | [`RedisStore`] | a restart, with persistence | immediately |
//! | [`AnyStore`] | as the store that its URL names | as the store that its URL names |
//!
//! Every store implements all ports of the module [`port`], so one value holds sessions, users, login
//! counters, one-time tokens, API keys, guests and revocations. Use several stores if they should be in
//! separate places, for example your own users table next to a `RedisStore` for sessions.
//!
//! Some ports have methods of the same name. If several ports are in scope, write
//! `UserStore::find(&store, ..)`.
//!
//! A custom store implements the ports that it needs, and runs [`contract`], the test suite that the
//! stores of this crate pass. The table in [`port`] names the suite of each port.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::store::AnyStore;
//!
//! // "sqlite:auth.db", "postgres://…", "redis://…" with the features of these names
//! let store = AnyStore::open("memory:").await?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```
//!
//! [`SqliteStore`]: sqlite/index.html
//! [`PostgresStore`]: postgres/index.html
//! [`RedisStore`]: redis/index.html

mod any;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod batch;
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

/// The time for which an ended session is kept, so that a refresh can report the reason.
pub(crate) const ENDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// The time for which a revoked session is kept.
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
