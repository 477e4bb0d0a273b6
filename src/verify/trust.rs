//! Groups of verifiers, selected by issuer, by algorithm or by a resolver at run time.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{
    Kind, Verifier,
    builder::DEFAULT_MAX_BYTES,
    examine::{ROOM, peek_issuer},
    header::Header,
    near::NearMisses,
};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    key::{Algorithm, KeyWait, VerifyingKey},
    time::{Clock, SystemClock},
    verify::compact::{Compact, Room},
};

/// A group of verifiers and the rule that selects one.
pub(super) struct Group<C> {
    choice: Choice<C>,
    near: NearMisses,
    pub(super) max_bytes: usize,
    pub(super) padded: bool,
}

enum Choice<C> {
    Issuers(HashMap<Box<str>, Verifier<C>>),
    Algorithms(Vec<(Vec<Algorithm>, Verifier<C>)>),
    Tenants(Tenants<C>),
}

/// The result of a selection.
pub(super) enum Chosen<C> {
    Verifier(Verifier<C>),
    Wait(KeyWait),
}

impl<C> Group<C> {
    /// Creates a group of verifiers, one for each issuer.
    pub(super) fn of_issuers(
        members: impl IntoIterator<Item = Verifier<C>>,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: String| Err(ConfigError::invalid("by_issuer", problem));
        let mut map = HashMap::new();
        for member in members {
            let issuers = member.issuers();
            if issuers.is_empty() {
                return refuse("a verifier that expects no issuer would accept any".to_owned());
            }
            for issuer in issuers {
                if map.insert(issuer.as_str().into(), member.clone()).is_some() {
                    return refuse(format!("two verifiers for the issuer {issuer:?}"));
                }
            }
        }
        if map.is_empty() {
            return refuse("no verifier".to_owned());
        }
        Ok(Self::new(Choice::Issuers(map)))
    }

    /// Creates a group of verifiers for different algorithms.
    pub(super) fn of_algorithms(
        members: impl IntoIterator<Item = Verifier<C>>,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: String| Err(ConfigError::invalid("any_of", problem));
        let mut seen: Vec<Algorithm> = Vec::new();
        let mut list = Vec::new();
        for member in members {
            let algorithms = member.algorithms();
            if algorithms.is_empty() {
                return refuse("a verifier that is chosen by issuer".to_owned());
            }
            if let Some(twice) = algorithms.iter().find(|one| seen.contains(one)) {
                return refuse(format!("two verifiers for {twice}: list algorithms"));
            }
            seen.extend(&algorithms);
            list.push((algorithms, member));
        }
        if list.is_empty() {
            return refuse("no verifier".to_owned());
        }
        Ok(Self::new(Choice::Algorithms(list)))
    }

    pub(super) fn of_tenants(tenants: Tenants<C>) -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            ..Self::new(Choice::Tenants(tenants))
        }
    }

    fn new(choice: Choice<C>) -> Self {
        let mut group = Self {
            choice,
            near: NearMisses::new(),
            max_bytes: 0,
            padded: false,
        };
        let members = group.members();
        let max_bytes = members.iter().map(|one| one.max_bytes()).max();
        let padded = members.iter().any(|one| one.allows_padding());
        group.max_bytes = max_bytes.unwrap_or_default();
        group.padded = padded;
        group
    }

    /// Returns the verifiers that are known from the start.
    pub(super) fn members(&self) -> Vec<&Verifier<C>> {
        match &self.choice {
            Choice::Issuers(members) => members.values().collect(),
            Choice::Algorithms(members) => members.iter().map(|(_, member)| member).collect(),
            Choice::Tenants(_) => Vec::new(),
        }
    }

    /// Returns the expected issuers. The list is empty if they are unknown or any issuer is
    /// accepted.
    pub(super) fn issuers(&self) -> Vec<String> {
        let each: Vec<_> = self.members().iter().map(|one| one.issuers()).collect();
        if each.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        let mut all = each.concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the accepted algorithms. The list is empty if they depend on the issuer.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        match &self.choice {
            Choice::Algorithms(members) => {
                members.iter().flat_map(|(own, _)| own.clone()).collect()
            }
            Choice::Issuers(_) | Choice::Tenants(_) => Vec::new(),
        }
    }
}

impl<C: 'static> Group<C> {
    pub(super) fn choose(&self, token: &[u8]) -> Result<Chosen<C>, AuthError> {
        if token.len() > self.max_bytes {
            return Err(AuthErrorKind::OversizedCredential.into());
        }
        let parts = Compact::parse(token).ok_or(AuthErrorKind::MalformedToken)?;
        match &self.choice {
            Choice::Issuers(members) => {
                self.by_issuer(parts.payload, |issuer| match members.get(issuer) {
                    Some(member) => Ok(Chosen::Verifier(member.clone())),
                    None => {
                        self.near.note(issuer, members.keys().map(AsRef::as_ref));
                        Err(AuthErrorKind::WrongIssuer.into())
                    }
                })
            }
            Choice::Algorithms(members) => {
                let mut room = Room::<ROOM>::new();
                let header = room
                    .decode(parts.header, self.padded)
                    .ok_or(AuthErrorKind::MalformedHeader)?;
                let algorithm = Header::parse(header)?.algorithm.canonical();
                match members.iter().find(|(own, _)| own.contains(&algorithm)) {
                    Some((_, member)) => Ok(Chosen::Verifier(member.clone())),
                    None => Err(AuthErrorKind::AlgorithmNotAllowed.into()),
                }
            }
            // The resolver may query a remote service, so a malformed token must not reach it.
            Choice::Tenants(_) if !parts.has_a_signature(self.padded) => {
                Err(AuthErrorKind::MalformedToken.into())
            }
            Choice::Tenants(tenants) => {
                self.by_issuer(parts.payload, |issuer| tenants.choose(issuer))
            }
        }
    }

    /// Returns the verifier for a token, or `None` if it is being looked up.
    pub(super) fn member_of(&self, token: &[u8]) -> Result<Option<Verifier<C>>, AuthError> {
        Ok(match self.choose(token)? {
            Chosen::Verifier(verifier) => Some(verifier),
            Chosen::Wait(_) => None,
        })
    }

    /// Returns `true` if a verifier for this issuer holds the key, or if it is unknown now.
    pub(super) fn holds(&self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let members = match (&self.choice, issuer) {
            (Choice::Tenants(tenants), Some(issuer)) => match tenants.choose(issuer) {
                Ok(Chosen::Verifier(member)) => return member.holds(key, Some(issuer)),
                Ok(Chosen::Wait(_)) => return true,
                Err(error) => return error.status().is_server_error(),
            },
            (Choice::Issuers(members), Some(issuer)) => members.get(issuer).into_iter().collect(),
            _ => self.members(),
        };
        members.iter().any(|member| member.holds(key, issuer))
    }

    /// Selects a verifier by the unverified issuer. The verifier then checks the same claim.
    fn by_issuer(
        &self,
        payload: &[u8],
        choose: impl FnOnce(&str) -> Result<Chosen<C>, AuthError>,
    ) -> Result<Chosen<C>, AuthError> {
        peek_issuer(payload, self.padded, |issuer| match issuer {
            Some(issuer) => choose(issuer),
            None => Err(AuthErrorKind::MissingClaim("iss").into()),
        })
    }
}

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
    clock: Arc<dyn Clock>,
    known: RwLock<Known<C>>,
}

struct Known<C> {
    verifiers: HashMap<Box<str>, (Verifier<C>, Instant)>,
    /// From the oldest to the newest.
    order: VecDeque<Box<str>>,
}

impl<C> Tenants<C> {
    /// Creates a cache of up to 1024 tenants with a maximum age of 5 minutes.
    ///
    /// To find the issuer, tokens of up to 16 KiB without padding are parsed, independent of the
    /// limits of the tenants' verifiers. Each verifier has its own cache of tokens. With many
    /// tenants, set a smaller [`cache_capacity`](super::VerifierBuilder::cache_capacity) for each.
    #[must_use]
    pub fn new(resolver: impl IssuerResolver<C>) -> Self {
        Self {
            resolver: Arc::new(resolver),
            capacity: 1024,
            max_age: Duration::from_secs(300),
            clock: Arc::new(SystemClock::new()),
            known: RwLock::new(Known {
                verifiers: HashMap::new(),
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

    /// Sets the clock for ages. The default is the operating system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl<C: 'static> Tenants<C> {
    fn choose(&self, issuer: &str) -> Result<Chosen<C>, AuthError> {
        let now = self.clock.monotonic();
        let was_known = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            match known.verifiers.get(issuer) {
                Some((verifier, since)) if now.saturating_duration_since(*since) < self.max_age => {
                    return Ok(Chosen::Verifier(verifier.clone()));
                }
                known => known.is_some(),
            }
        };
        match self.resolver.resolve(issuer) {
            // A verifier for another issuer or for any issuer would let one tenant issue tokens for
            // another.
            Resolution::Trusted(verifier) if verifier.issuers() == [issuer] => {
                self.remember(issuer, &verifier, now);
                Ok(Chosen::Verifier(verifier))
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
            Resolution::Wait(wait) => Ok(Chosen::Wait(wait)),
            Resolution::Unavailable { retry_after } => {
                let kind = AuthErrorKind::KeysUnavailable;
                Err(AuthError::unavailable(kind, retry_after))
            }
        }
    }

    fn remember(&self, issuer: &str, verifier: &Verifier<C>, now: Instant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = (verifier.clone(), now);
        if known.verifiers.insert(issuer.into(), entry).is_some() {
            known.order.retain(|known| **known != *issuer);
        }
        known.order.push_back(issuer.into());
        while known.order.len() > self.capacity {
            if let Some(oldest) = known.order.pop_front() {
                known.verifiers.remove(&oldest);
            }
        }
    }

    fn forget(&self, issuer: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.verifiers.remove(issuer).is_some() {
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

impl<C> From<Group<C>> for Verifier<C> {
    fn from(group: Group<C>) -> Self {
        Self {
            kind: Kind::Group(Arc::new(group)),
        }
    }
}
