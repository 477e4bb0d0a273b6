//! The builder of [`ApiKeys`].

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime;

use super::{
    ApiKeyFormat, ApiKeys, examine::Examiner, keys::Inner, lookup::Lookups,
    store::ErasedApiKeyStore, uses::Uses,
};
use crate::{
    erased::Boxed,
    error::{ConfigError, StoreError},
    event::{EventSink, Events},
    principal::{PrincipalKind, Scope},
    revocation::{Revocation, RevocationLog, RevocationSet},
    time::{Clock, SystemClock},
};

/// Builds [`ApiKeys`]. Invalid settings are reported by [`build`](Self::build).
#[must_use = "nothing is built before `build` is called"]
pub struct ApiKeysBuilder {
    format: ApiKeyFormat,
    store: Arc<dyn ErasedApiKeyStore>,
    scope: Result<Scope, ConfigError>,
    limits: Limits,
    keep: Duration,
    kind: PrincipalKind,
    revoked: Vec<RevocationSet>,
    log: Option<Arc<Log>>,
    owners: Option<Arc<Owners>>,
    events: Events,
    clock: Arc<dyn Clock>,
}

/// The limits for new and rolled keys.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) scope: Scope,
    pub(super) lifetime: Duration,
    pub(super) unending: bool,
    pub(super) overlap: Duration,
}

/// Returns `true` if an owner is active.
pub(super) type Owners = dyn Fn(String) -> Boxed<'static, Result<bool, StoreError>> + Send + Sync;
pub(super) type Log = dyn Fn(Revocation) -> Boxed<'static, Result<(), StoreError>> + Send + Sync;

impl ApiKeysBuilder {
    pub(super) fn new(format: ApiKeyFormat, store: Arc<dyn ErasedApiKeyStore>) -> Self {
        Self {
            format,
            store,
            scope: Ok(Scope::default()),
            limits: Limits {
                scope: Scope::default(),
                lifetime: 365 * DAY,
                unending: false,
                overlap: 7 * DAY,
            },
            keep: Duration::from_secs(30),
            kind: PrincipalKind::Service,
            revoked: Vec::new(),
            log: None,
            owners: None,
            events: Events::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Sets the scope tokens that keys may have, separated by spaces; none by default.
    ///
    /// # Security
    ///
    /// If owners choose the scopes of their keys, your application must check that an owner has
    /// these scopes before it issues the key.
    pub fn scopes(mut self, scope: &str) -> Self {
        self.scope = scope.parse();
        self
    }

    /// Sets the maximum lifetime of a key; 365 days by default.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.lifetime = lifetime;
        self
    }

    /// Allows keys that never expire.
    ///
    /// # Security
    ///
    /// An attacker can use a key found in an old backup or repository years later, when its purpose
    /// is no longer known.
    pub fn dangerous_unending(mut self) -> Self {
        self.limits.unending = true;
        self
    }

    /// Sets the maximum time for which a replaced secret stays valid; 7 days by default, at most
    /// 90.
    pub fn max_overlap(mut self, overlap: Duration) -> Self {
        self.limits.overlap = overlap;
        self
    }

    /// Sets how long this process caches a key that was found in the store, 1 to 60 s; 30 s by
    /// default.
    ///
    /// Revocations by other processes take effect after at most this long, or as soon as they
    /// arrive in a set if [`revocation`](Self::revocation) is set.
    pub fn remember(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// Sets the kind of caller that a key authenticates, as checked by
    /// [`Rule::kind`](crate::layer::role_guard::Rule::kind); a service by default.
    ///
    /// # Security
    ///
    /// With the kind `User`, a handler that accepts any [`Principal`](crate::Principal) of that kind
    /// accepts a key as its owner. [`UserPrincipal`](crate::principal::UserPrincipal) and
    /// [`ChatContext`](crate::layer::socket::ChatContext) refuse keys of every kind.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds a set in which every request looks up the identifier of its key. May be called
    /// repeatedly: every set is checked, each with its own staleness limit.
    ///
    /// Only entries for token identifiers apply. A key has neither session nor epoch, so it
    /// survives the logout of its owner. The issuer to which a set was
    /// [limited](RevocationSet::of_issuer) is ignored. A stale set causes a 503.
    pub fn revocation(mut self, set: RevocationSet) -> Self {
        self.revoked.push(set);
        self
    }

    /// Sets the revocation log to which keys revoked here are written, so that all processes
    /// receive them in their [`revocation`](Self::revocation) sets.
    pub fn revocation_log(mut self, log: impl RevocationLog) -> Self {
        let log = Arc::new(log);
        self.log = Some(Arc::new(move |revocation| {
            let log = Arc::clone(&log);
            Box::pin(async move { log.append(revocation).await })
        }));
        self
    }

    /// Sets a function that returns `true` if an owner is active and `false` if the owner is
    /// disabled or deleted. The keys of an inactive owner are refused with 401 `invalid_token`.
    ///
    /// The function is called whenever a key's row is read from the store. Keys are then cached for
    /// 2 s at most, whatever [`remember`](Self::remember) is, so that every node refuses a
    /// disabled owner's keys within that time. An error causes a 503. Without the function, keys
    /// work until they are [revoked](ApiKeys::revoke_all).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "server")]
    /// # async fn build() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_jwt_auth::layer::api_key::{ApiKeyFormat, ApiKeys};
    /// use tower_jwt_auth::store::{port::UserStore, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let users = store.clone();
    /// let keys = ApiKeys::builder(ApiKeyFormat::new("acme_live")?, store)
    ///     .owners(move |owner| {
    ///         let users = users.clone();
    ///         async move {
    ///             let user = users.find_by_subject(&owner).await?;
    ///             Ok(user.is_some_and(|user| !user.disabled))
    ///         }
    ///     })
    ///     .build()?;
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    pub fn owners<F, A>(mut self, is_active: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Result<bool, StoreError>> + Send + 'static,
    {
        self.owners = Some(Arc::new(move |owner| Box::pin(is_active(owner))));
        self
    }

    /// Sets the event sink for changes and uses of keys. Events of requests go to the sink of the
    /// layer.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Sets the clock; the operating system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Validates the settings, starts the task that records uses, and returns the keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a scope token is invalid (RFC 6749 §3.3), a duration is out of its
    /// range, or there is no tokio runtime.
    pub fn build(mut self) -> Result<ApiKeys, ConfigError> {
        self.limits.scope = self.scope?;
        let runtime = runtime::Handle::try_current().map_err(|_| {
            ConfigError::invalid("API keys", "must be built within a tokio runtime")
        })?;
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.keep) {
            return Err(ConfigError::invalid(
                "remember",
                "must be between 1 and 60 s",
            ));
        }
        if self.limits.overlap > 90 * DAY {
            return Err(ConfigError::invalid(
                "max_overlap",
                "must be at most 90 days",
            ));
        }
        if self.limits.lifetime < SECOND {
            return Err(ConfigError::invalid("max_lifetime", "must be at least 1 s"));
        }
        let store = self.store;
        let lookups = Lookups::new(
            Arc::clone(&store),
            runtime.clone(),
            Arc::clone(&self.clock),
            match self.owners {
                Some(_) => self.keep.min(OWNER_KEEP),
                None => self.keep,
            },
            self.kind,
            self.owners,
        );
        let uses = Uses::new(
            Arc::clone(&store),
            &runtime,
            Arc::clone(&self.clock),
            self.events.clone(),
        );
        let examiner = Examiner {
            format: self.format,
            lookups: Arc::new(lookups),
            uses,
            revoked: self.revoked,
            clock: self.clock,
        };
        let inner = Inner {
            store,
            examiner: Arc::new(examiner),
            limits: self.limits,
            log: self.log,
            events: self.events,
        };
        Ok(ApiKeys {
            inner: Arc::new(inner),
        })
    }
}

impl fmt::Debug for ApiKeysBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeysBuilder")
            .field("format", &self.format)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// As long as a polled revocation takes to arrive.
const OWNER_KEEP: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
