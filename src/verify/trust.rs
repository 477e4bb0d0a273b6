//! Several verifiers behind one: chosen by issuer, by algorithm, or asked for at run time.

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
    clock::{Clock, SystemClock},
    error::{AuthError, AuthErrorKind, ConfigError},
    key::{Algorithm, KeyWait},
    token::compact::{Compact, Room},
};

/// Verifiers, and what chooses among them.
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

/// What was chosen.
pub(super) enum Chosen<C> {
    Verifier(Verifier<C>),
    Wait(KeyWait),
}

impl<C> Group<C> {
    /// Issuers each with their own verifier.
    pub(super) fn of_issuers(
        members: impl IntoIterator<Item = Verifier<C>>,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: String| Err(ConfigError::invalid("any_issuer", problem));
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

    /// Old and new algorithms side by side.
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

    /// The verifiers that are known from the start.
    pub(super) fn members(&self) -> Vec<&Verifier<C>> {
        match &self.choice {
            Choice::Issuers(members) => members.values().collect(),
            Choice::Algorithms(members) => members.iter().map(|(_, member)| member).collect(),
            Choice::Tenants(_) => Vec::new(),
        }
    }

    /// The issuers that are expected; empty where that is not known, or any is accepted.
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

    /// The algorithms that are accepted; empty where that depends on the issuer.
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
            // The resolver may ask somewhere else.
            Choice::Tenants(_) if !parts.has_a_signature(self.padded) => {
                Err(AuthErrorKind::MalformedToken.into())
            }
            Choice::Tenants(tenants) => {
                self.by_issuer(parts.payload, |issuer| tenants.choose(issuer))
            }
        }
    }

    /// Chooses by the unverified issuer. It selects who verifies; the claims must then say the same.
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

/// Knows which issuers are trusted, where that is known at run time only: the tenants of a service.
pub trait IssuerResolver<C>: Send + Sync + 'static {
    /// The verifier for an issuer.
    ///
    /// Asked again when a tenant's time is over, so keep the verifiers whose keys come from the
    /// network: a new one fetches anew.
    ///
    /// `issuer` was written by whoever sent the token, so it must be looked up among those known,
    /// and never be fetched from (RFC 8725 §3.10). The verifier must expect exactly this issuer.
    fn resolve(&self, issuer: &str) -> Resolution<C>;
}

/// An [`IssuerResolver`]'s answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Resolution<C> {
    /// The issuer is trusted, and this verifies its tokens.
    Trusted(Verifier<C>),
    /// The issuer is not trusted: 401.
    Untrusted,
    /// It is being asked for: the request waits, and asks exactly once more.
    ///
    /// Announce the news when the verifier can verify, so after its
    /// [`ready`](Verifier::ready) where its keys come from the network: a request waits once, and
    /// what is not there then is 503. Announce them in any case, within about two seconds: the
    /// request waits for as long as the other end lives.
    Wait(KeyWait),
    /// It cannot be known now: 503.
    Unavailable {
        /// Seconds until a new attempt may succeed.
        retry_after: u32,
    },
}

/// Verifiers of tenants, resolved and remembered: at most so many, at most so long.
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
    /// Remembers up to 1024 tenants for five minutes.
    ///
    /// To find the issuer, tokens of up to 16 KiB without padding are read, whatever the tenants'
    /// verifiers allow. Each verifier remembers tokens of its own: with many tenants give each a
    /// smaller [`cache`](super::VerifierBuilder::cache).
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

    /// The most tenants that are remembered. Past it the oldest is forgotten.
    #[must_use]
    pub fn capacity(mut self, tenants: usize) -> Self {
        self.capacity = tenants;
        self
    }

    /// How long a tenant is remembered before the resolver is asked again: how long one that is no
    /// longer trusted still gets in.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The clock for ages; the operating system's by default.
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
            // A verifier for another issuer, or for any, would let one tenant speak for another.
            Resolution::Trusted(verifier) if verifier.issuers() == [issuer] => {
                self.remember(issuer, &verifier, now);
                Ok(Chosen::Verifier(verifier))
            }
            Resolution::Trusted(_) => Err(AuthError::caused_by(
                AuthErrorKind::WrongIssuer,
                "the resolver's verifier expects other issuers than the one asked for",
            )),
            Resolution::Untrusted => {
                // Whoever floods with made-up issuers must not hold up those who only read.
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
