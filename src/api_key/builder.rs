//! Builds the use cases.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use tokio::runtime;

use super::{ApiKeyFormat, ApiKeyStore, ApiKeys, examine::Examiner, lookup::Lookups, uses::Uses};
use crate::{
    clock::{Clock, SystemClock},
    error::{ConfigError, StoreError},
    event::{EventSink, Events},
    principal::PrincipalKind,
    revoke::{Revocation, RevocationLog, RevocationSet},
    token::Scope,
};

/// Builds [`ApiKeys`]. Mistakes are reported by [`build`](Self::build).
#[must_use = "nothing is built before `build` is called"]
pub struct ApiKeysBuilder<S> {
    format: ApiKeyFormat,
    store: S,
    limits: Limits,
    keep: Duration,
    kind: PrincipalKind,
    revoked: Vec<RevocationSet>,
    log: Option<Arc<Log>>,
    owners: Option<Arc<Owners>>,
    events: Events,
    clock: Arc<dyn Clock>,
}

/// What keys may be.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) scope: Scope,
    pub(super) lifetime: Duration,
    pub(super) unending: bool,
    pub(super) overlap: Duration,
}

type Written = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;
/// Says whether an owner is active.
pub(super) type Owners = dyn Fn(String) -> Active + Send + Sync;
pub(super) type Active = Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>;
pub(super) type Log = dyn Fn(Revocation) -> Written + Send + Sync;

impl<S: ApiKeyStore> ApiKeysBuilder<S> {
    pub(super) fn new(format: ApiKeyFormat, store: S) -> Self {
        Self {
            format,
            store,
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

    /// The scopes that keys may have; none by default.
    ///
    /// # Security
    ///
    /// An owner who may choose a key's scopes must not choose more than are their own: that is for
    /// the application to check before it issues a key.
    pub fn scopes(mut self, scope: Scope) -> Self {
        self.limits.scope = scope;
        self
    }

    /// The longest life of a key; 365 days by default.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.lifetime = lifetime;
        self
    }

    /// Allows keys that never expire.
    ///
    /// # Security
    ///
    /// The attack is a key found years later in an old backup or a repository: it still works, and
    /// nobody remembers what it opens.
    pub fn dangerous_unending(mut self) -> Self {
        self.limits.unending = true;
        self
    }

    /// The longest time that a replaced secret goes on; 7 days by default, at most 90.
    pub fn max_overlap(mut self, overlap: Duration) -> Self {
        self.limits.overlap = overlap;
        self
    }

    /// How long a key that the store knows is remembered in this process; 30 s by default, 1 to
    /// 60 s.
    ///
    /// A revocation by another process takes so long to be noticed, unless
    /// [`revocation`](Self::revocation) tells at once.
    pub fn remember(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// Sets the kind of caller that rules see in a key
    /// ([`Rule::kind`](crate::role_guard::Rule::kind)); a service by default.
    ///
    /// # Security
    ///
    /// A handler that takes any [`Principal`] of the kind `User` takes such a key for its owner.
    /// [`chat::User`](crate::chat::User) and the chat's contexts refuse keys of every kind.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.kind = kind;
        self
    }

    /// Checks on every request if the key was revoked, by its identifier in this set. May be called
    /// repeatedly: all sets count, each with its own demand of freshness.
    ///
    /// Only identifiers count: a key has neither session nor epoch, so it outlives the logout of its
    /// owner, and an issuer that the set was [limited to](RevocationSet::of_issuer) is not looked
    /// at. A set that is out of date is 503.
    pub fn revocation(mut self, set: RevocationSet) -> Self {
        self.revoked.push(set);
        self
    }

    /// Where the keys that are revoked here are made known to all processes, for their
    /// [`revocation`](Self::revocation) sets.
    pub fn revocation_log(mut self, log: impl RevocationLog) -> Self {
        let log = Arc::new(log);
        self.log = Some(Arc::new(move |revocation| {
            let log = Arc::clone(&log);
            Box::pin(async move { log.append(revocation).await })
        }));
        self
    }

    /// Sets the question whether an owner is active, which gets the owner of a key and returns `false` for
    /// one who is disabled or gone. The keys of such an owner are refused with 401 `invalid_token`.
    ///
    /// It is asked whenever a key's row is read. Keys are then remembered for 2 s at most, whatever
    /// [`remember`](Self::remember) says, so that a disabled owner's keys are refused within that time on
    /// every node. An error is 503. By default no question is asked, and keys work until they are
    /// [revoked](ApiKeys::revoke_all).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "password")]
    /// # async fn build() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_jwt_auth::api_key::{ApiKeyFormat, ApiKeys};
    /// use tower_jwt_auth::{login::UserStore, store::MemoryStore};
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

    /// Who is told what becomes of keys. What becomes of requests is told by the layer.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Where the time is taken from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The use cases; starts the task that notes when keys are used.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a time out of its range, or no tokio runtime.
    pub fn build(self) -> Result<ApiKeys<S>, ConfigError> {
        let runtime = runtime::Handle::try_current().map_err(|_| {
            ConfigError::invalid("API keys", "must be built within a tokio runtime")
        })?;
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.keep) {
            return Err(ConfigError::invalid("remember", "1 to 60 s are allowed"));
        }
        if self.limits.overlap > 90 * DAY {
            return Err(ConfigError::invalid(
                "max_overlap",
                "at most 90 days are allowed",
            ));
        }
        if self.limits.lifetime < SECOND {
            return Err(ConfigError::invalid(
                "max_lifetime",
                "at least a second is needed",
            ));
        }
        let store = Arc::new(self.store);
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
        Ok(ApiKeys::assemble(
            store,
            Arc::new(examiner),
            self.limits,
            self.log,
            self.events,
        ))
    }
}

impl<S> fmt::Debug for ApiKeysBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeysBuilder")
            .field("format", &self.format)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// As long as a revocation takes that is polled for.
const OWNER_KEEP: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
