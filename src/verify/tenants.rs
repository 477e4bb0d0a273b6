//! Issuers that are known only at run time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{Verifier, builder::DEFAULT_CACHE, examine::Rules};
use crate::{
    error::{AuthError, AuthErrorKind},
    key::KeyWait,
    time::{Clock, SystemClock},
};

/// A resolver of trusted issuers that are known only at run time, such as the tenants of a service.
pub trait IssuerResolver<C>: Send + Sync + 'static {
    /// Returns the verifier for an issuer.
    ///
    /// Called again after [`max_age`](Tenants::max_age). Keep verifiers with remote keys and return
    /// clones, because a new verifier fetches its keys again.
    ///
    /// An attacker can choose `issuer`. Look it up among the known issuers, and never fetch from it
    /// (RFC 8725 §3.10). The verifier must expect exactly this issuer.
    fn resolve(&self, issuer: &str) -> Resolution<C>;
}

/// The result of an [`IssuerResolver`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Resolution<C> {
    /// The issuer is trusted. The verifier is for its tokens.
    Trusted(Verifier<C>),
    /// The issuer is not trusted. The response is 401.
    Untrusted,
    /// The issuer is being looked up. The request waits, and then repeats the lookup once.
    ///
    /// Announce the result after the verifier can verify tokens; for remote keys, after its
    /// [`ready`](Verifier::ready). A request waits once, and the response is 503 if the verifier is
    /// not available then. Announce or drop the handle within about two seconds in any case,
    /// because the request waits that long.
    Wait(KeyWait),
    /// The result is currently unavailable. The response is 503.
    Unavailable {
        /// The time until a new attempt may succeed, in seconds.
        retry_after: u32,
    },
}

/// A cache of the verifiers of tenants, limited in number and in age.
pub struct Tenants<C> {
    resolver: Arc<dyn IssuerResolver<C>>,
    capacity: usize,
    max_age: Duration,
    cached_tokens: usize,
    clock: Arc<dyn Clock>,
    known: RwLock<Known<C>>,
}

struct Known<C> {
    tenants: HashMap<Box<str>, Arc<Tenant<C>>>,
    /// From the oldest to the newest.
    order: VecDeque<Box<str>>,
}

/// A tenant that the resolver trusts.
pub(super) struct Tenant<C> {
    pub(super) verifier: Verifier<C>,
    /// The rules of the verifier, or of its members.
    pub(super) rules: Vec<Arc<Rules<C>>>,
    since: Instant,
}

/// The verifier for an issuer, or the wait for it.
pub(super) enum Resolved<C> {
    Tenant(Arc<Tenant<C>>),
    Wait(KeyWait),
}

impl<C> Tenants<C> {
    /// Creates a cache of up to 1024 tenants with a maximum age of 5 minutes.
    ///
    /// To find the issuer, tokens of up to 16 KiB without padding are parsed, independent of the
    /// limits of the tenants' verifiers. The tokens of all tenants share one cache; see
    /// [`cache_capacity`](Self::cache_capacity).
    #[must_use]
    pub fn new(resolver: impl IssuerResolver<C>) -> Self {
        Self {
            resolver: Arc::new(resolver),
            capacity: 1024,
            max_age: Duration::from_secs(300),
            cached_tokens: DEFAULT_CACHE,
            clock: Arc::new(SystemClock::new()),
            known: RwLock::new(Known {
                tenants: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// Sets the maximum number of cached tenants. The oldest one is evicted first.
    #[must_use]
    pub fn capacity(mut self, tenants: usize) -> Self {
        self.capacity = tenants;
        self
    }

    /// Sets the time for which a tenant is cached before the resolver is called again. A tenant
    /// that is no longer trusted is accepted for up to this long.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the number of verified tokens in the cache of all tenants. The default is 10 000. For
    /// memory use see [the manual](crate::manual::remembered).
    ///
    /// Every cache hit checks that the tenant is still cached and younger than
    /// [`max_age`](Self::max_age), and the time and the keys of its verifier. Tokens of a verifier
    /// [`without_cache`](super::VerifierBuilder::without_cache) are not cached. A verifier that
    /// caches [by digest](super::VerifierBuilder::cache_by_digest) uses its own cache. With a
    /// capacity of 0 each verifier uses its own cache.
    #[must_use]
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cached_tokens = tokens;
        self
    }

    pub(super) fn cached_tokens(&self) -> usize {
        self.cached_tokens
    }

    /// Sets the clock for ages. The default is the operating system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl<C: 'static> Tenants<C> {
    /// Returns the verifier for an issuer. Calls the resolver if it is unknown or too old.
    pub(super) fn choose(&self, issuer: &str) -> Result<Resolved<C>, AuthError> {
        let now = self.clock.monotonic();
        let was_known = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            match known.tenants.get(issuer) {
                Some(tenant) if self.is_young(tenant, now) => {
                    return Ok(Resolved::Tenant(Arc::clone(tenant)));
                }
                known => known.is_some(),
            }
        };
        match self.resolver.resolve(issuer) {
            // A verifier for another issuer or for any issuer would let one tenant issue tokens for
            // another.
            Resolution::Trusted(verifier) if verifier.issuers() == [issuer] => {
                let mut rules = Vec::new();
                verifier.collect_rules(&mut rules);
                let tenant = Arc::new(Tenant {
                    verifier,
                    rules,
                    since: now,
                });
                self.remember(issuer, &tenant);
                Ok(Resolved::Tenant(tenant))
            }
            Resolution::Trusted(_) => Err(AuthError::caused_by(
                AuthErrorKind::WrongIssuer,
                "the resolver's verifier expects other issuers than the requested one",
            )),
            Resolution::Untrusted => {
                // A flood of unknown issuers must not take the write lock and block readers.
                if was_known {
                    self.forget(issuer);
                }
                Err(AuthErrorKind::WrongIssuer.into())
            }
            Resolution::Wait(wait) => Ok(Resolved::Wait(wait)),
            Resolution::Unavailable { retry_after } => {
                let kind = AuthErrorKind::KeysUnavailable;
                Err(AuthError::unavailable(kind, retry_after))
            }
        }
    }

    /// Returns `true` if a tenant was resolved less than the maximum age ago.
    pub(super) fn is_fresh(&self, tenant: &Tenant<C>) -> bool {
        self.is_young(tenant, self.clock.monotonic())
    }

    fn is_young(&self, tenant: &Tenant<C>, now: Instant) -> bool {
        now.saturating_duration_since(tenant.since) < self.max_age
    }

    fn remember(&self, issuer: &str, tenant: &Arc<Tenant<C>>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known_before = known.tenants.insert(issuer.into(), Arc::clone(tenant));
        if known_before.is_some() {
            known.order.retain(|known| **known != *issuer);
        }
        known.order.push_back(issuer.into());
        while known.order.len() > self.capacity {
            if let Some(oldest) = known.order.pop_front() {
                known.tenants.remove(&oldest);
            }
        }
    }

    fn forget(&self, issuer: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.tenants.remove(issuer).is_some() {
            known.order.retain(|known| **known != *issuer);
        }
    }
}

impl<C> fmt::Debug for Tenants<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants")
            .field("capacity", &self.capacity)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}
