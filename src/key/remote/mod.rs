//! Keys from the network.
//!
//! A [`RemoteKeySet`] holds the keys that an issuer publishes and keeps them fresh. Requests whose
//! key is known read an atomic pointer and never wait; one task does all fetching.
//!
//! ```text
//!              first fetch ok                     80 % of max_age
//!   ┌───────┐ ───────────────▶ ┌───────────────┐ ────────────────────────▶ refresh in the
//!   │ empty │                  │ fresh         │ ◀──────────────────────── background
//!   │  503  │ ◀──────┐         │ 200; unknown  │           ok
//!   └───────┘        │         │ kid: one      │
//!     ▲  │ retried:  │         │ shared fetch  │ ── max_age passed, fetches fail ──┐
//!     └──┘ 1 … 5 s   │         └───────────────┘                                   ▼
//!                    │                ▲                                   ┌────────────────┐
//!                    │                └────────────── fetch ok ────────── │ stale          │
//!                    └──────────────────── stale window passed ────────── │ 200; unknown   │
//!                                                                         │ kid: 503       │
//!                                                                         │ retried:       │
//!                                                                         │ 1 … 60 s       │
//!                                                                         └────────────────┘
//! ```
//!
//! | number | default |
//! |---|---|
//! | `max_age` | 10 min, moved by `Cache-Control: max-age` within 60 s to 1 h; an explicit one is exact |
//! | refresh in the background | at 80 % ± 5 % of `max_age`, whether requests come or not |
//! | `wait`, of a request for keys | 2 s, then 503; the fetch goes on |
//! | `timeout`, of a whole fetch | 5 s; 2 s to connect |
//! | unknown kid | one shared fetch; a burst of 2, then one per `cooldown` of 10 s; past that 401. A kid that was not found is asked for again after the cooldown |
//! | backoff | 1 s doubling to 60 s while old keys serve, to 5 s while none do |
//! | signature that fails under a known kid | one shared fetch a minute; then 401 |
//! | metadata | read again when a kid stays unknown after a fetch, and at least once in 24 h |
//! | `stale` | 1 h past `max_age`, then 503 with `Retry-After` |
//! | document | 512 KiB, 100 keys, https (http for loopback alone, see [`dangerous_allow_http`](RemoteKeySetBuilder::dangerous_allow_http)), redirects within the origin only |
//! | proxies | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; never for loopback |
//!
//! # Security
//!
//! - `oct` keys are never taken from the network: whoever smuggled one in could sign.
//! - A token of an issuer that is not expected causes no fetch (RFC 8725 §3.10), and neither does one
//!   whose algorithm is not allowed.
//! - A failed, empty or odd answer keeps the old keys; one odd key never spoils a set.
//! - A key that is no longer published dies with the next successful fetch.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_jwt_auth::{Verifier, key::remote::RemoteKeySet};
//!
//! let keys = RemoteKeySet::oidc("https://login.example").max_age(Duration::from_secs(300)).build()?;
//! keys.ready().await?; // fail at start, if that is wanted
//! let verifier = Verifier::key_source(keys.clone())
//!     .issuer("https://login.example")
//!     .audience("orders")
//!     .build()?;
//! # Ok(())
//! # }
//! ```

mod allowance;
mod builder;
mod client;
mod discovery;
mod error;
mod fetch;
mod loaded;
mod proxy;
mod refresh;
mod report;
mod state;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use time::OffsetDateTime;
use tokio::task::AbortHandle;

use self::state::Shared;
pub use self::{
    builder::{RemoteKeySetBuilder, Standard},
    error::FetchError,
    fetch::Fetch,
};
use super::{KeyLookup, KeyQuery, KeySet, KeySource, KeyWait};
use crate::error::KeyProblem;

/// A key set that is fetched and kept fresh. Cheap to clone; fetching ends with the last clone.
#[derive(Clone)]
pub struct RemoteKeySet {
    handle: Arc<Handle>,
}

impl RemoteKeySet {
    /// Keys from a JWKS URL.
    pub fn jwks(url: &str) -> RemoteKeySetBuilder {
        RemoteKeySetBuilder::jwks(url)
    }

    /// Keys of an issuer, found through its metadata: OpenID Connect Discovery or RFC 8414.
    ///
    /// The metadata must name exactly this issuer. They are looked for in four places; see
    /// [the manual](crate::manual::keys).
    pub fn oidc(issuer: &str) -> RemoteKeySetBuilder {
        RemoteKeySetBuilder::oidc(issuer)
    }

    /// Waits until keys are there, or the attempt to get them failed: no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The last failure, where there are no usable keys.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), FetchError> {
        let shared = &self.handle.shared;
        if shared.is_usable() {
            return Ok(());
        }
        if let Some(wait) = shared.wait_usable() {
            wait.await;
        }
        if shared.is_usable() {
            return Ok(());
        }
        let failure = shared.last_error();
        Err(failure.unwrap_or_else(FetchError::late))
    }

    /// Whether keys are at hand that could verify a token: fresh ones, or old ones in the stale
    /// window. For readiness probes.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.handle.shared.is_usable()
    }

    /// Whether the keys are younger than their maximum age.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.handle.shared.is_fresh()
    }

    /// Returns the keys that were fetched last, or `None` before the first successful fetch.
    ///
    /// [`KeySet::skipped`] lists the entries of the document that cannot be used.
    #[must_use]
    pub fn key_set(&self) -> Option<KeySet> {
        Some(self.handle.shared.loaded()?.set.clone())
    }

    /// Returns the reason why no keys are usable, or `None` if some are.
    ///
    /// Its code is fixed and holds no name, URL or value. A readiness endpoint may show it.
    #[must_use]
    pub fn problem(&self) -> Option<KeyProblem> {
        self.handle.shared.problem()
    }

    /// When keys were last fetched, or confirmed to be the same.
    #[must_use]
    pub fn last_success(&self) -> Option<OffsetDateTime> {
        self.handle.shared.last_success()
    }

    /// Why the last fetch failed; `None` after a success.
    #[must_use]
    pub fn last_error(&self) -> Option<FetchError> {
        self.handle.shared.last_error()
    }
}

impl KeySource for RemoteKeySet {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.handle.shared.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        self.handle.shared.generation()
    }

    fn is_ready(&self) -> bool {
        self.is_usable()
    }

    fn wait_ready(&self) -> Option<KeyWait> {
        self.handle.shared.wait_usable()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn problem(&self) -> Option<KeyProblem> {
        self.handle.shared.problem()
    }

    fn refetch(&self, query: &KeyQuery<'_>) -> Option<KeyWait> {
        self.handle.shared.refetch(query)
    }
}

impl fmt::Debug for RemoteKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeySet")
            .field("fresh", &self.is_fresh())
            .finish_non_exhaustive()
    }
}

/// Owns the fetching task.
struct Handle {
    shared: Arc<Shared>,
    task: OnceLock<AbortHandle>,
}

impl Handle {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            task: OnceLock::new(),
        }
    }

    fn own(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}
