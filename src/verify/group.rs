//! Groups of verifiers, selected by issuer, by algorithm or by a resolver at run time.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use serde::de::DeserializeOwned;

use super::{
    Kind, Verifier,
    builder::DEFAULT_MAX_BYTES,
    cache::{Cache, Entry, Found},
    examine::{Examined, ROOM, Rules, Waiting, is_valid, misused, peek_issuer},
    header::Header,
    near::NearMisses,
    tenants::{Resolved, Tenant, Tenants},
};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    key::{Algorithm, Digester, KeyWait, VerifyingKey},
    verify::compact::{Compact, Room},
};

/// A group of verifiers and the rule that selects one.
pub(super) struct Group<C> {
    choice: Choice<C>,
    /// The rules of all members that are known from the start, also of members of members.
    rules: Vec<Arc<Rules<C>>>,
    /// The verified tokens of all members. A token is looked up before its member is selected.
    cache: Option<Cache<C, Owner<C>>>,
    near: NearMisses,
    /// The rules that introspect tokens, those with the longest prefix first.
    #[cfg(feature = "jwks")]
    introspecting: Vec<Arc<Rules<C>>>,
    pub(super) max_bytes: usize,
    pub(super) padded: bool,
}

enum Choice<C> {
    Issuers(HashMap<Box<str>, Verifier<C>>),
    Algorithms(Vec<(Vec<Algorithm>, Verifier<C>)>),
    Tenants(Tenants<C>),
}

/// The result of a selection.
enum Chosen<C> {
    Member(Verifier<C>),
    Tenant(Arc<Tenant<C>>),
    Wait(KeyWait),
}

/// The rules that verified a cached token, by their position.
enum Owner<C> {
    Member(usize),
    /// A tenant that was removed is not kept alive, and its tokens are not accepted.
    Tenant(Weak<Tenant<C>>, usize),
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
        Self::of_members(Choice::Issuers(map))
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
            if algorithms.is_empty() && !member.is_without_keys() {
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
        Self::of_members(Choice::Algorithms(list))
    }

    pub(super) fn of_tenants(tenants: Tenants<C>) -> Self {
        let capacity = tenants.cached_tokens();
        // A capacity that no cache can have is none.
        let cache = (capacity > 0).then(|| Cache::new(capacity, DEFAULT_MAX_BYTES, None));
        Self {
            choice: Choice::Tenants(tenants),
            rules: Vec::new(),
            cache: cache.and_then(Result::ok),
            near: NearMisses::new(),
            #[cfg(feature = "jwks")]
            introspecting: Vec::new(),
            max_bytes: DEFAULT_MAX_BYTES,
            padded: false,
        }
    }

    fn of_members(choice: Choice<C>) -> Result<Self, ConfigError> {
        let mut group = Self {
            choice,
            rules: Vec::new(),
            cache: None,
            near: NearMisses::new(),
            #[cfg(feature = "jwks")]
            introspecting: Vec::new(),
            max_bytes: 0,
            padded: false,
        };
        let members = group.members();
        let max_bytes = members.iter().map(|one| one.max_bytes()).max();
        let padded = members.iter().any(|one| one.allows_padding());
        let mut rules = Vec::new();
        for member in members {
            member.collect_rules(&mut rules);
        }
        group.max_bytes = max_bytes.unwrap_or_default();
        group.padded = padded;
        group.cache = shared_cache(&rules, group.max_bytes)?;
        #[cfg(feature = "jwks")]
        {
            group.introspecting = introspecting(&rules)?;
        }
        group.rules = rules;
        Ok(group)
    }

    /// Returns the verifiers that are known from the start.
    pub(super) fn members(&self) -> Vec<&Verifier<C>> {
        match &self.choice {
            Choice::Issuers(members) => members.values().collect(),
            Choice::Algorithms(members) => members.iter().map(|(_, member)| member).collect(),
            Choice::Tenants(_) => Vec::new(),
        }
    }

    /// Returns `true` if issuers are found at run time.
    #[cfg(feature = "jwks")]
    pub(super) fn has_tenants(&self) -> bool {
        let is_open = |member: &&Verifier<C>| match &member.kind {
            Kind::One(_) => false,
            Kind::Group(group) => group.has_tenants(),
        };
        matches!(self.choice, Choice::Tenants(_)) || self.members().iter().any(is_open)
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

impl<C: DeserializeOwned + Send + Sync + 'static> Group<C> {
    /// Verifies a token by the member that it selects, or finds it in the cache. With `BOUND`, a bound
    /// token is accepted, and the caller checks the proofs.
    pub(super) fn examine<const BOUND: bool>(&self, token: &[u8]) -> Examined<C> {
        let mut room = None;
        let slot = match &self.cache {
            Some(cache) => {
                let is_valid = |entry: &Entry<C, Owner<C>>| self.is_valid::<BOUND>(entry);
                match cache.find(token, &mut room, is_valid, misused::<BOUND, C>) {
                    Found::Valid(verified) => return Examined::Remembered(verified),
                    Found::Misused(error) => return Examined::Refused(error),
                    Found::Nothing(slot) => slot,
                }
            }
            None => None,
        };
        let (rules, tenant) = match self.rules_for(token) {
            Ok(Selected::Rules(rules, tenant)) => (rules, tenant),
            Ok(Selected::Wait(wait)) => {
                let error = AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1);
                return Examined::Wait(Waiting::for_keys(wait, error));
            }
            Err(error) => return Examined::Refused(error),
        };
        let slot = match slot {
            Some(slot) if self.caches_tokens_of(&rules) => slot,
            // The rules have a cache of another kind, or none.
            _ => return rules.examine::<BOUND>(token),
        };
        let present = rules.present();
        let verified = rules.verify::<BOUND>(token, present);
        if let Ok(verified) = &verified
            && present.generation.is_some()
            && let Some(owner) = self.owner(&rules, tenant.as_ref())
        {
            slot.put(verified.clone(), owner, present.now);
        }
        verified.into()
    }

    /// Returns `true` if a cached token is still valid: the member that verified it is still
    /// selected for its issuer, and the member's keys and clock allow it.
    fn is_valid<const BOUND: bool>(&self, found: &Entry<C, Owner<C>>) -> bool {
        let is_valid = |rules: &Rules<C>| is_valid::<BOUND, C>(&found.verified, rules.present());
        match (&found.owner, &self.choice) {
            (Owner::Member(position), _) => {
                self.rules.get(*position).is_some_and(|one| is_valid(one))
            }
            (Owner::Tenant(tenant, position), Choice::Tenants(tenants)) => tenant
                .upgrade()
                .filter(|tenant| tenants.is_fresh(tenant))
                .is_some_and(|tenant| tenant.rules.get(*position).is_some_and(|one| is_valid(one))),
            (Owner::Tenant(..), _) => false,
        }
    }

    /// Returns `true` if the tokens of these rules are stored in the cache of the group. The rules
    /// decide if their tokens are stored at all, and if as digests.
    fn caches_tokens_of(&self, rules: &Rules<C>) -> bool {
        match (&self.cache, &rules.cache) {
            (Some(ours), Some(own)) => ours.is_by_digest() == own.is_by_digest(),
            _ => false,
        }
    }

    fn owner(&self, rules: &Arc<Rules<C>>, tenant: Option<&Arc<Tenant<C>>>) -> Option<Owner<C>> {
        let position = |all: &[Arc<Rules<C>>]| all.iter().position(|one| Arc::ptr_eq(one, rules));
        Some(match tenant {
            None => Owner::Member(position(&self.rules)?),
            Some(tenant) => Owner::Tenant(Arc::downgrade(tenant), position(&tenant.rules)?),
        })
    }
}

/// The rules for a token, and the tenant to which they belong.
enum Selected<C> {
    Rules(Arc<Rules<C>>, Option<Arc<Tenant<C>>>),
    Wait(KeyWait),
}

impl<C: 'static> Group<C> {
    fn rules_for(&self, token: &[u8]) -> Result<Selected<C>, AuthError> {
        #[cfg(feature = "jwks")]
        if !self.introspecting.is_empty()
            && token.len() <= self.max_bytes
            && !super::introspection::is_jwt(token, self.padded)
        {
            return self.rules_for_opaque(token);
        }
        let (member, tenant) = match self.choose(token)? {
            Chosen::Member(member) => (member, None),
            Chosen::Tenant(tenant) => (tenant.verifier.clone(), Some(tenant)),
            Chosen::Wait(wait) => return Ok(Selected::Wait(wait)),
        };
        Ok(match member.kind {
            Kind::One(rules) => Selected::Rules(rules, tenant),
            Kind::Group(group) => match group.rules_for(token)? {
                Selected::Rules(rules, inner) => Selected::Rules(rules, tenant.or(inner)),
                wait @ Selected::Wait(_) => wait,
            },
        })
    }

    /// Returns the only rules to whose server this token may be sent.
    #[cfg(feature = "jwks")]
    fn rules_for_opaque(&self, token: &[u8]) -> Result<Selected<C>, AuthError> {
        let has_prefix = |rules: &&Arc<Rules<C>>| token.starts_with(prefix(rules).as_bytes());
        match self.introspecting.iter().find(has_prefix) {
            Some(rules) => Ok(Selected::Rules(Arc::clone(rules), None)),
            None => Err(AuthErrorKind::MalformedToken.into()),
        }
    }

    /// Returns the rules for a token that does not come from a request, or after a wait.
    #[cfg(feature = "jwks")]
    pub(super) fn selected(&self, token: &[u8]) -> Result<Arc<Rules<C>>, super::Unverified> {
        match self.rules_for(token)? {
            Selected::Rules(rules, _) => Ok(rules),
            Selected::Wait(wait) => {
                let error = AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1);
                Err(super::Unverified::Wait(Waiting::for_keys(wait, error)))
            }
        }
    }

    fn choose(&self, token: &[u8]) -> Result<Chosen<C>, AuthError> {
        if token.len() > self.max_bytes {
            return Err(AuthErrorKind::OversizedCredential.into());
        }
        let parts = Compact::parse(token).ok_or(AuthErrorKind::MalformedToken)?;
        match &self.choice {
            Choice::Issuers(members) => {
                self.by_issuer(parts.payload, |issuer| match members.get(issuer) {
                    Some(member) => Ok(Chosen::Member(member.clone())),
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
                    Some((_, member)) => Ok(Chosen::Member(member.clone())),
                    None => Err(AuthErrorKind::AlgorithmNotAllowed.into()),
                }
            }
            // The resolver may query a remote service, so a malformed token must not reach it.
            Choice::Tenants(_) if !parts.has_a_signature(self.padded) => {
                Err(AuthErrorKind::MalformedToken.into())
            }
            Choice::Tenants(tenants) => self.by_issuer(parts.payload, |issuer| {
                tenants.choose(issuer).map(|resolved| match resolved {
                    Resolved::Tenant(tenant) => Chosen::Tenant(tenant),
                    Resolved::Wait(wait) => Chosen::Wait(wait),
                })
            }),
        }
    }

    /// Returns the verifier for a token, or `None` if it is being looked up.
    pub(super) fn member_of(&self, token: &[u8]) -> Result<Option<Verifier<C>>, AuthError> {
        Ok(match self.choose(token)? {
            Chosen::Member(verifier) => Some(verifier),
            Chosen::Tenant(tenant) => Some(tenant.verifier.clone()),
            Chosen::Wait(_) => None,
        })
    }

    /// Returns `true` if a verifier for this issuer holds the key, or if it is unknown now.
    pub(super) fn holds(&self, key: &VerifyingKey, issuer: Option<&str>) -> bool {
        let members = match (&self.choice, issuer) {
            (Choice::Tenants(tenants), Some(issuer)) => match tenants.choose(issuer) {
                Ok(Resolved::Tenant(tenant)) => return tenant.verifier.holds(key, Some(issuer)),
                Ok(Resolved::Wait(_)) => return true,
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

/// Creates the cache for all members, as large as their own caches together. It stores digests if
/// none of the members stores tokens.
fn shared_cache<C>(
    rules: &[Arc<Rules<C>>],
    longest: usize,
) -> Result<Option<Cache<C, Owner<C>>>, ConfigError> {
    let caches = || rules.iter().filter_map(|rules| rules.cache.as_ref());
    let by_digest = caches().all(Cache::is_by_digest);
    let joining = caches().filter(|cache| cache.is_by_digest() == by_digest);
    let capacity = joining.map(Cache::capacity).fold(0, usize::saturating_add);
    if capacity == 0 {
        return Ok(None);
    }
    let digester = by_digest.then(Digester::new).transpose()?;
    Cache::new(capacity, longest, digester).map(Some)
}

/// Returns the rules that introspect tokens, those with the longest prefix first.
#[cfg(feature = "jwks")]
fn introspecting<C>(rules: &[Arc<Rules<C>>]) -> Result<Vec<Arc<Rules<C>>>, ConfigError> {
    let mut found: Vec<_> = rules
        .iter()
        .filter(|rules| rules.introspected.is_some())
        .map(Arc::clone)
        .collect();
    found.sort_by_key(|rules| {
        let prefix = prefix(rules);
        (std::cmp::Reverse(prefix.len()), prefix.to_owned())
    });
    let same = |pair: &[Arc<Rules<C>>]| matches!(pair, [a, b] if prefix(a) == prefix(b));
    match found.windows(2).any(same) {
        true => Err(ConfigError::invalid(
            "introspection",
            "two verifiers introspect the same tokens: set a prefix, so that no token is sent to a \
             server that is not its issuer's",
        )),
        false => Ok(found),
    }
}

/// Returns the prefix of the opaque tokens that these rules introspect.
#[cfg(feature = "jwks")]
fn prefix<C>(rules: &Rules<C>) -> &str {
    let introspected = rules.introspected.as_ref();
    introspected.map_or("", |introspected| introspected.prefix())
}

impl<C> Clone for Owner<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Member(position) => Self::Member(*position),
            Self::Tenant(tenant, position) => Self::Tenant(Weak::clone(tenant), *position),
        }
    }
}

impl<C> From<Group<C>> for Verifier<C> {
    fn from(group: Group<C>) -> Self {
        Self {
            kind: Kind::Group(Arc::new(group)),
        }
    }
}
