//! The used proofs of all nodes, in Redis.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{ProofId, ReplayStore};
use crate::{
    error::{ConfigError, StoreError},
    redis_link::{Link, Repeat},
    time::{Clock, SystemClock, Timestamp},
};

/// A store of used proofs in Redis 6.2 or later, or Valkey. Cheap to clone; all clones share one connection.
///
/// A proof takes one key with an expiry, written by one command (`SET … NX PX`). The keys begin with
/// `{dpop}:`. The server needs no persistence: after a restart, proofs of the last minute could be used
/// once more. A `maxmemory-policy` other than `noeviction` forgets proofs early.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::{layer::dpop::Dpop, verify::proof::RedisReplayStore};
///
/// let dpop = Dpop::at("https://api.example")
///     .replay_store(RedisReplayStore::new("redis://:a-password@10.0.0.7/0")?)
///     .build()?;
/// # drop(dpop);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisReplayStore {
    link: Arc<Link>,
    prefix: Arc<str>,
}

impl RedisReplayStore {
    /// Creates a store on this server. The first request connects, so that the application can start while
    /// the server is down.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: the URL cannot be used. For `rediss://` the application must enable the
    /// feature `tokio-rustls-comp` of the crate `redis`.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::with_prefix(url, "dpop")
    }

    /// Creates a store as [`new`](Self::new) does, with keys that begin with `{prefix}:`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`ConfigError::Invalid`] if the prefix is empty or contains braces.
    pub fn with_prefix(url: &str, prefix: &str) -> Result<Self, ConfigError> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            let problem = "must not be empty or contain braces";
            return Err(ConfigError::invalid(
                "the prefix of the replay store",
                problem,
            ));
        }
        Ok(Self {
            link: Arc::new(Link::new(url)?),
            prefix: format!("{{{prefix}}}:").into(),
        })
    }
}

impl ReplayStore for RedisReplayStore {
    async fn first_use(&self, proof: &ProofId, until: Timestamp) -> Result<bool, StoreError> {
        let name = format!(
            "{}{}",
            self.prefix,
            URL_SAFE_NO_PAD.encode(proof.as_bytes())
        );
        // Counted by this process, because the clock of the server may be ahead.
        let lifetime = until.since(SystemClock::new().now()).saturating_add(MARGIN);
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let mut set = redis::cmd("SET");
        set.arg(name).arg("").arg("NX").arg("PX").arg(milliseconds);
        // A second attempt would find the record of the first one.
        let written: Option<String> = self.link.run(&set, Repeat::Never).await?;
        Ok(written.is_some())
    }
}

impl fmt::Debug for RedisReplayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The clock of another node may be behind by this, and still accept the proof.
const MARGIN: Duration = Duration::from_secs(60);
