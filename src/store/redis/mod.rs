//! Sessions in Redis 6.2 or later, or Valkey.
//!
//! # What is atomic
//!
//! Every change is one script, and a script runs as one step. All keys begin with `{auth}:`, so that
//! they share one hash slot: on a cluster, too, a refresh sees the subject's epoch, and the end of a
//! session and its revocation are written together. The price is that one node of a cluster holds
//! all of it, replicated but not divided. What does not fit on one is divided by hand: a store each,
//! with a [prefix](RedisStore::with_prefix) of its own, per tenant for example.
//!
//! | key | holds |
//! |---|---|
//! | `{auth}:s:<sid>` | a session in one string; gone a day and at most an hour after its end, a week after it was revoked |
//! | `{auth}:i:<sub>` | a subject's live sessions, by their ends |
//! | `{auth}:g:<sub>` | a guest; gone a day after its end, but not while its claim is pending |
//! | `{auth}:pending` | the guests whose claims are pending, by when they are due |
//! | `{auth}:claimed` | the guests that were claimed, by when their epochs go |
//! | `{auth}:epochs` | the epochs that were raised, by subject; those of accounts stay |
//! | `{auth}:revoked` | what is revoked, by the time when that ends |
//! | `{auth}:news` | the same as a stream, for an hour |
//! | `{auth}:secrets` | the secrets of [`SecretStore`] |
//! | `{auth}:key_ring` | the signing keys of all nodes, encrypted |
//! | `{auth}:u:<identifier>` | a user |
//! | `{auth}:names`, `{auth}:subjects` | the users' identifiers in order; those of their subjects |
//! | `{auth}:t:<key>` | a counter of login attempts; expires when it limits nothing |
//! | `{auth}:k:<id>`, `{auth}:o:<owner>` | an API key; the names of an owner's keys |
//! | `{auth}:x:<digest>`, `{auth}:y:<purpose>:<sub>` | a token that is good for one use; those of a subject |
//! | `{auth}:since` | when a node first came to this server and found it empty |
//!
//! A request whose answer was lost is [`Interrupted`](crate::error::StoreErrorKind::Interrupted):
//! the script ran in full or not at all. After a failover a script that the old primary refused
//! (`READONLY`, `MOVED`) is sent to the new one, once; a revocation succeeds only when the primary has
//! written it.
//!
//! # What Redis may lose
//!
//! Redis answers before it has written to disk or to a replica.
//!
//! - Without persistence, everything goes with a restart: all sessions end. So do their access tokens:
//!   every node refuses what was issued before the server began anew (`{auth}:since`), because nobody
//!   knows any more what of it was revoked. Who signs in again is served at once, on a first start as
//!   well, and nobody waits for a time to pass. Nodes that run keep what they knew besides: a subject
//!   whose epoch they saw rise is refused for up to 35 minutes where it signs in again, because
//!   epochs begin at 0 again. Use `appendonly yes`.
//! - Restored from an older copy, the server knows nothing of what was revoked since, and does not
//!   know that. Delete `{auth}:since` before the nodes come back: the access tokens of that time are
//!   refused then, and a client that refreshes has a new one. Sessions that were ended meanwhile are
//!   alive again.
//! - With `appendfsync everysec`, a crash of the machine loses the last second. A refresh that was
//!   lost is rolled forward ([`Ahead`](crate::server::refresh::RefreshOutcome::Ahead)); a revocation, or a raised
//!   epoch, that was lost is gone, and the session is alive again. `appendfsync always` loses nothing.
//! - A failover to a replica loses what it had not received. `min-replicas-to-write 1` narrows the
//!   gap and keeps a primary that is cut off from accepting writes.
//! - `maxmemory-policy` must be `noeviction`, the default: any other signs people out. A full server
//!   starts no sessions and refreshes none ([`Unavailable`](crate::error::StoreErrorKind::Unavailable)).
//!
//! Users and API keys are data that nobody can sign in again to make: keep them here only with
//! `appendonly yes` and a backup. An account or a password that was made in the last second before a
//! crash may be gone.
//!
//! Where a lost revocation is not acceptable, `PostgresStore` is the store to take.

mod api_keys;
mod fault;
mod feed;
mod guests;
mod key_ring;
mod link;
mod one_time;
mod packed;
mod scripts;
mod sessions;
mod throttle;
mod users;

use std::{fmt, sync::Arc};

pub use self::feed::RedisFeed;
use self::link::{Link, Repeat};
use crate::{
    error::{ConfigError, StoreError},
    principal::SessionId,
    revocation::{Revocation, RevocationLog, RevocationSet},
    secret::Secret,
    store::port::{SecretStore, StoreId},
};

/// Keeps sessions in Redis. Cheap to clone; clones share one connection.
///
/// See the [module](self) for what is atomic and for what Redis may lose.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::store::RedisStore;
///
/// let store = RedisStore::new("redis://:a-password@10.0.0.7/0")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    keys: Arc<Keys>,
    id: StoreId,
}

/// Names of keys; all of them in one slot.
struct Keys {
    prefix: String,
    epochs: String,
    revoked: String,
    news: String,
    secrets: String,
    key_ring: String,
    names: String,
    subjects: String,
    since: String,
}

impl RedisStore {
    /// A store on this server. It connects when it is first needed, so that a server that is down
    /// keeps nobody from starting.
    ///
    /// In a cluster any node will do.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: the URL cannot be used. `rediss://` needs the application to turn on
    /// the feature `tokio-rustls-comp` of the crate `redis`.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::with_prefix(url, "auth")
    }

    /// As [`new`](Self::new), with keys that begin with `{prefix}:` instead of `{auth}:`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ConfigError::Invalid`] where the prefix is empty or holds braces.
    pub fn with_prefix(url: &str, prefix: &str) -> Result<Self, ConfigError> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(ConfigError::invalid(
                "the prefix of the Redis store",
                "must not be empty, nor hold braces",
            ));
        }
        let name = |of: &str| format!("{{{prefix}}}:{of}");
        Ok(Self {
            id: StoreId::new(),
            link: Arc::new(Link::new(url)?),
            keys: Arc::new(Keys {
                prefix: name(""),
                epochs: name("epochs"),
                revoked: name("revoked"),
                news: name("news"),
                secrets: name("secrets"),
                key_ring: name("key_ring"),
                names: name("names"),
                subjects: name("subjects"),
                since: name("since"),
            }),
        })
    }

    /// A feed of what was and will be revoked, over a connection of its own.
    #[must_use]
    pub fn feed(&self) -> RedisFeed {
        RedisFeed::new(Arc::clone(&self.link), Arc::clone(&self.keys))
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

impl RevocationLog for RedisStore {
    async fn append(&self, revocation: Revocation) -> Result<(), StoreError> {
        let mut call = scripts::APPEND.key(&self.keys.news);
        call.key(&self.keys.revoked)
            .arg(feed::encode(revocation.target()))
            .arg(revocation.until().as_millis());
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl SecretStore for RedisStore {
    async fn secret_or_insert(
        &self,
        name: &str,
        fresh: &[u8],
    ) -> Result<Secret<Vec<u8>>, StoreError> {
        let mut call = scripts::SECRET.key(&self.keys.secrets);
        call.arg(name).arg(fresh);
        let kept: Vec<u8> = self.link.run(&call, Repeat::Harmless).await?;
        Ok(Secret::new(kept))
    }
}

impl Keys {
    fn sessions(&self) -> String {
        format!("{}s:", self.prefix)
    }

    fn session(&self, id: SessionId) -> String {
        format!("{}s:{id}", self.prefix)
    }

    /// A key of another kind.
    fn of(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    fn index(&self, subject: &str) -> String {
        self.of("i", subject)
    }

    fn indexes(&self) -> String {
        self.of("i", "")
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.keys.prefix)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
