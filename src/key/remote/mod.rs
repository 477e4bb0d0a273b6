//! Key sets that are fetched over the network.
//!
//! A [`RemoteKeySet`] holds the keys that an issuer publishes and keeps them fresh. Lookups of
//! known keys read an atomic pointer and never wait. A single background task makes all fetches.
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
//! | setting | default |
//! |---|---|
//! | `max_age` | `Cache-Control: max-age`, limited to 60 s to 1 h; 10 min without it; an explicit value is used as is |
//! | refresh in the background | at 80 % ± 5 % of `max_age`, even without requests |
//! | `wait` of a request for keys | 2 s, then 503; the fetch continues |
//! | `timeout` of a complete fetch | 5 s; 2 s to connect |
//! | unknown `kid` | one shared fetch; a burst of 2, then one per `cooldown` of 10 s; 401 beyond that. A `kid` that was not found may cause another fetch after the cooldown |
//! | backoff | 1 s, doubled up to 60 s while old keys are in use, up to 5 s without keys |
//! | invalid signature with a known `kid` | at most one shared fetch a minute; then 401 |
//! | metadata | read again if a `kid` is unknown after a fetch, and at least once in 24 h |
//! | `stale` | 1 h past `max_age`, then 503 with `Retry-After` |
//! | document | 512 KiB, 100 keys, https (http from loopback only, see [`dangerous_allow_http`](RemoteKeySetBuilder::dangerous_allow_http)), redirects within the origin only |
//! | proxies | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; not for loopback |
//!
//! # Security
//!
//! - `oct` keys from the network are skipped, because an attacker who injects one could sign
//!   tokens.
//! - A token of an unexpected issuer causes no fetch (RFC 8725 §3.10), and neither does a token
//!   with an algorithm that is not allowed.
//! - After a failed fetch or an invalid document the previous keys stay in use. An invalid key does
//!   not affect the other keys of its set.
//! - A key that is no longer published is removed by the next successful fetch.
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

use tokio::task::AbortHandle;

use self::state::Shared;
// Named only to write down the type of a builder.
#[doc(hidden)]
pub use self::builder::HyperFetcher;
pub use self::{builder::RemoteKeySetBuilder, error::FetchError, fetch::Fetcher};
pub(crate) use self::{
    client::HttpFetch,
    discovery::{Issuer, Wanted},
    fetch::{AGENT, IDENTITY, MAX_REDIRECTS, is_coded, is_safe, redirect, refused_redirect},
};
use super::{KeyLookup, KeyQuery, KeySet, KeySource, KeyWait};
use crate::error::KeyProblem;
use crate::time::Timestamp;

/// A key set that is fetched and kept fresh. Cheap to clone. The fetch task ends when the last
/// clone is dropped.
#[derive(Clone)]
pub struct RemoteKeySet {
    handle: Arc<Handle>,
}

impl RemoteKeySet {
    /// Creates a builder of a key set from a JWKS URL.
    pub fn jwks(url: &str) -> RemoteKeySetBuilder {
        RemoteKeySetBuilder::jwks(url)
    }

    /// Creates a builder of a key set of an issuer, which is found through the issuer's metadata
    /// (OpenID Connect Discovery or RFC 8414).
    ///
    /// The metadata must name exactly this issuer. Up to four URLs are tried; see [the
    /// manual](crate::manual::keys).
    pub fn oidc(issuer: &str) -> RemoteKeySetBuilder {
        RemoteKeySetBuilder::oidc(issuer)
    }

    /// Waits until keys are available or the current attempt to fetch them has failed. The wait
    /// ends after `timeout` plus `wait` at the latest.
    ///
    /// # Errors
    ///
    /// The last failure, if there are no usable keys.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
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

    /// Returns `true` if there are keys that can verify tokens: fresh keys, or stale keys within
    /// the `stale` time. For readiness probes.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.handle.shared.is_usable()
    }

    /// Returns `true` if the keys are younger than their maximum age.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.handle.shared.is_fresh()
    }

    /// Returns the most recently fetched keys, or `None` before the first successful fetch.
    ///
    /// [`KeySet::skipped`] returns the unusable entries of the document.
    #[must_use]
    pub fn key_set(&self) -> Option<KeySet> {
        Some(self.handle.shared.loaded()?.set.clone())
    }

    /// Returns the reason why no keys are usable, or `None` if there are usable keys.
    ///
    /// The reason has a fixed code without names, URLs or values, which a readiness endpoint may
    /// show.
    #[must_use]
    pub fn problem(&self) -> Option<KeyProblem> {
        self.handle.shared.problem()
    }

    /// Returns the time of the last successful fetch, including those that found the same keys.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        self.handle.shared.last_success()
    }

    /// Returns the error of the last fetch, or `None` if it succeeded.
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

/// The owner of the fetch task.
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
