//! A store in Redis 6.2 or later, or Valkey.
//!
//! # Atomicity and cluster
//!
//! Every change is one script, and a script runs as one step. All keys begin with `{auth}:` and
//! therefore share one hash slot. A refresh sees the subject's epoch, and the end of a session and its
//! revocation are written together, on a cluster as well. One node of a cluster contains all keys,
//! replicated but not divided. To divide them, use several stores, each with its own
//! [prefix](RedisStore::with_prefix), for example one per tenant.
//!
//! | key | content |
//! |---|---|
//! | `{auth}:s:<sid>` | a session as one string; expires 24 to 25 h after its end, a week after its revocation |
//! | `{auth}:i:<sub>` | a subject's live sessions, by their ends |
//! | `{auth}:g:<sub>` | a guest; expires a day after its end, unless its claim is pending |
//! | `{auth}:pending` | guests with a pending claim, by due time |
//! | `{auth}:claimed` | claimed guests, by the time at which their epochs may be deleted |
//! | `{auth}:epochs` | epochs other than 0, by subject; the epochs of accounts are never deleted |
//! | `{auth}:revoked` | revocations, by their ends |
//! | `{auth}:news` | a stream of the revocations of the last hour |
//! | `{auth}:secrets` | the secrets of [`SecretStore`] |
//! | `{auth}:key_ring` | the signing keys of all nodes, encrypted |
//! | `{auth}:u:<identifier>` | a user |
//! | `{auth}:names`, `{auth}:subjects` | the identifiers of all users in order; the identifiers by subject |
//! | `{auth}:t:<key>` | a counter of login attempts; expires when it has no effect any more |
//! | `{auth}:k:<id>`, `{auth}:o:<owner>` | an API key; the ids of an owner's keys |
//! | `{auth}:x:<digest>`, `{auth}:y:<purpose>:<sub>` | a one-time token; the tokens of a subject |
//! | `{auth}:f:<sub>` | the second factors of a subject: secrets encrypted, recovery codes as digests |
//! | `{auth}:c:<kind>:<id>`, `{auth}:d:<sub>` | a linked credential, with the length of the kind before it; the credentials of a subject |
//! | `{auth}:since` | the time at which a node first connected while the server was empty |
//!
//! At most four scripts of this process refresh sessions at a time. Refreshes that queue in the meantime
//! share the next one, up to 64 of them, which takes less than a millisecond.
//!
//! A request whose response was lost fails with
//! [`Interrupted`](crate::error::StoreErrorKind::Interrupted): the script ran in full or not at all.
//! After a failover, a script that the old primary refused (`READONLY`, `MOVED`) is sent to the new
//! primary, once. A revocation succeeds only if the primary has written it.
//!
//! # Data loss
//!
//! Redis responds before it has written to disk or to a replica.
//!
//! - **Without persistence**, a restart loses everything and ends all sessions. Their access tokens end
//!   too: every node refuses tokens that were issued before the server's new start (`{auth}:since`),
//!   because the revocations among them are lost. Users who sign in again are served immediately, on
//!   a first start as well. Running nodes keep the revocations that they received. Epochs restart at 0,
//!   so a subject whose epoch such a node saw rise is refused for up to 35 minutes after it signs in
//!   again. Use `appendonly yes`.
//! - **Restored from an older copy**, the server lacks all later revocations. Delete `{auth}:since`
//!   before the nodes connect: access tokens of that time are then refused, and a client that refreshes
//!   receives a new one. Sessions that ended after the copy are alive again.
//! - **With `appendfsync everysec`**, a crash of the machine loses the last second. A lost refresh is
//!   repaired ([`Ahead`](crate::event::RefreshOutcome::Ahead)). A lost revocation or a lost
//!   raised epoch is not: the session is alive again. `appendfsync always` loses nothing.
//! - **A failover** loses what the new primary had not received. `min-replicas-to-write 1` narrows the
//!   gap and stops a primary that is cut off from accepting writes.
//! - **`maxmemory-policy`** must be `noeviction`, the default. Any other policy ends sessions. A full
//!   server creates and refreshes no sessions
//!   ([`Unavailable`](crate::error::StoreErrorKind::Unavailable)).
//!
//! Users, API keys and linked credentials cannot be restored by signing in again. Keep them in Redis only with
//! `appendonly yes` and a backup. An account or a password from the last second before a crash may be
//! lost.
//!
//! If a lost revocation is not acceptable, use `PostgresStore`.

mod api_keys;
mod credentials;
mod factors;
mod feed;
mod guests;
mod key_ring;
mod one_time;
mod packed;
mod refreshes;
mod scripts;
mod sessions;
mod throttle;
mod users;

use std::{fmt, sync::Arc};

pub use self::feed::RedisFeed;
use crate::{
    error::{ConfigError, StoreError},
    layer::api_key::revoke_all_in,
    principal::SessionId,
    redis_link::{Link, Repeat},
    revocation::{Revocation, RevocationLog, RevocationSet},
    secret::Secret,
    store::{
        batch::Queue,
        port::{AuthStore, SecretStore, StoreId},
    },
};

/// A store in Redis. Cheap to clone; all clones share one connection.
///
/// The [module](self) describes the atomicity and the data that Redis may lose.
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
    /// The refreshes that wait for a call.
    refreshes: Arc<Queue>,
    /// The refreshes that wait for a call that also reads the users.
    refreshes_with_user: Arc<Queue>,
}

/// The names of the keys, all in one slot.
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
    /// Creates a store on this server. The first call connects, so that the application can start
    /// while the server is down.
    ///
    /// In a cluster, use the URL of any node.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: the URL cannot be used. For `rediss://` the application must enable
    /// the feature `tokio-rustls-comp` of the crate `redis`.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::with_prefix(url, "auth")
    }

    /// Creates a store as [`new`](Self::new) does, with keys that begin with `{prefix}:` instead of
    /// `{auth}:`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ConfigError::Invalid`] if the prefix is empty or contains braces.
    pub fn with_prefix(url: &str, prefix: &str) -> Result<Self, ConfigError> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(ConfigError::invalid(
                "the prefix of the Redis store",
                "must not be empty or contain braces",
            ));
        }
        let name = |of: &str| format!("{{{prefix}}}:{of}");
        Ok(Self {
            id: StoreId::new(),
            refreshes: Arc::new(Queue::new(refreshes::TURNS)),
            refreshes_with_user: Arc::new(Queue::new(refreshes::TURNS)),
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

    /// Returns a feed of past and future revocations. It uses a separate connection.
    #[must_use]
    pub fn feed(&self) -> RedisFeed {
        RedisFeed::new(Arc::clone(&self.link), Arc::clone(&self.keys))
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

impl AuthStore for RedisStore {
    fn revocations(&self) -> Result<RevocationSet, ConfigError> {
        RevocationSet::follow(self.feed())
    }

    async fn revoke_api_keys(&self, subject: &str) -> Result<(), StoreError> {
        revoke_all_in(self, subject).await
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

    /// Returns the name of a key of this kind.
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
