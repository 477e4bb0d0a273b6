//! Builds a verifier. Here the security decisions are made, and checked.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    CheckError, Preset, Verified, Verifier,
    cache::Cache,
    examine::Check,
    header::media_type,
    keys::Keys,
    policy::{Policy, Typ, is_never_access_token},
    preset::Dialect,
    roles::RolePath,
};
use crate::{
    claims::Claims,
    clock::{Clock, SystemClock},
    error::ConfigError,
    key::{Algorithm, Digester, KeySet, KeySource, default_algorithms},
};

/// Builds a [`Verifier`]. Mistakes in the input are reported by [`build`](Self::build).
#[must_use = "nothing is verified before `build` is called"]
pub struct VerifierBuilder<C = Claims> {
    keys: Result<Keys, ConfigError>,
    algorithms: Option<Vec<Algorithm>>,
    policy: Policy,
    role_paths: Option<Vec<String>>,
    presets: Vec<Preset>,
    all_clients: bool,
    required_typ: Option<String>,
    max_bytes: usize,
    cache: usize,
    cache_digests: bool,
    padded: bool,
    clock: Arc<dyn Clock>,
    check: Option<Arc<Check<C>>>,
    check_lost: bool,
    claims: PhantomData<fn() -> C>,
}

impl VerifierBuilder<Claims> {
    pub(crate) fn new(keys: Result<Keys, ConfigError>) -> Self {
        Self {
            keys,
            algorithms: None,
            policy: Policy {
                issuers: Vec::new(),
                audiences: Vec::new(),
                any_audience: false,
                clients: Vec::new(),
                leeway: DEFAULT_LEEWAY,
                max_age: None,
                check_expiry: true,
                require_expiry: true,
                check_not_before: true,
                typ: Typ::Usual,
                roles: Vec::new(),
                dialect: Dialect::Common,
            },
            role_paths: None,
            presets: Vec::new(),
            all_clients: false,
            required_typ: None,
            max_bytes: DEFAULT_MAX_BYTES,
            cache: DEFAULT_CACHE,
            cache_digests: false,
            padded: false,
            clock: Arc::new(SystemClock::new()),
            check: None,
            check_lost: false,
            claims: PhantomData,
        }
    }
}

impl<C: 'static> VerifierBuilder<C> {
    /// The algorithms that are accepted (RFC 8725 §3.1); named once, all of them.
    ///
    /// Without a list a key that names its algorithm is used with that one, an RSA key with RS256,
    /// any other with the algorithm of its curve. `EdDSA` and `Ed25519` are the same algorithm
    /// under two names (RFC 9864); to accept one is to accept the other.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// The issuer that is expected and so required (`iss`), compared exactly: a trailing slash or
    /// another case is another issuer. May be repeated for several names of one issuer.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuers.push(issuer.into());
        self
    }

    /// The audience that is expected and so required (`aud`). May be repeated: one must match.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.audiences.push(audience.into());
        self
    }

    /// The clients whose tokens are accepted: `client_id`, else `azp`, compared exactly.
    ///
    /// Without [`audience`](Self::audience) this takes the audience's place, because some issuers
    /// (Amazon Cognito) write no `aud` into access tokens.
    pub fn client_ids<I>(mut self, clients: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.policy
            .clients
            .extend(clients.into_iter().map(Into::into));
        self
    }

    /// Accepts tokens for whatever audience.
    ///
    /// # Security
    ///
    /// Any other service that receives its users' tokens from the same issuer can then present
    /// them here (RFC 9700 §2.3, RFC 8725 §3.9).
    pub fn dangerous_any_audience(mut self) -> Self {
        self.policy.any_audience = true;
        self
    }

    /// How far the clocks of issuer and verifier may differ; 60 s by default, at most 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.policy.leeway = leeway;
        self
    }

    /// The greatest time since a token was issued (`iat`, which is then required).
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age);
        self
    }

    /// Accepts tokens that never expire.
    ///
    /// # Security
    ///
    /// A stolen token without `exp` works until its key is withdrawn.
    pub fn dangerous_optional_expiry(mut self) -> Self {
        self.policy.require_expiry = false;
        self
    }

    /// Accepts expired tokens.
    ///
    /// # Security
    ///
    /// Every token ever leaked from a log or a backup works again.
    pub fn dangerous_ignore_expiry(mut self) -> Self {
        self.policy.check_expiry = false;
        self
    }

    /// Accepts tokens before their `nbf`.
    ///
    /// # Security
    ///
    /// A token handed out for a later time works at once.
    pub fn dangerous_ignore_not_before(mut self) -> Self {
        self.policy.check_not_before = false;
        self
    }

    /// The only `typ` that is accepted, compared without case and without `application/`.
    ///
    /// By default a token may have none, `JWT` or `at+jwt`. The types of other tokens
    /// (`logout+jwt`, `dpop+jwt`, …) are refused whatever is said here.
    pub fn required_typ(mut self, typ: impl Into<String>) -> Self {
        self.required_typ = Some(typ.into());
        self
    }

    /// Accepts only access tokens of [RFC 9068]: `typ` is `at+jwt`; `iss`, `exp`, `aud`, `sub`,
    /// `client_id`, `iat` and `jti` are all required. An issuer and an audience must be named.
    ///
    /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
    pub fn rfc9068(mut self) -> Self {
        self.policy.typ = Typ::Rfc9068;
        self
    }

    /// Where the roles are: a claim's name, or a JSON Pointer (RFC 6901) where it starts with `/`.
    ///
    /// May be repeated; the roles of all places are merged. By default `roles` and `role`. The
    /// value is a string, one role, or an array of strings; any other value holds no roles.
    pub fn roles_at(mut self, path: impl Into<String>) -> Self {
        self.role_paths.get_or_insert_default().push(path.into());
        self
    }

    /// Takes the roles of *every* client from Keycloak's `resource_access`, besides the others.
    ///
    /// # Security
    ///
    /// Whoever may grant `admin` in some other client of the realm makes an `admin` here.
    pub fn dangerous_roles_of_all_clients(mut self) -> Self {
        self.all_clients = true;
        self
    }

    /// Takes the issuer, the places of the roles and what is special about its tokens from a known
    /// provider. At most one; an issuer that is named besides must be the same, or be accompanied by
    /// it.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.presets.push(preset);
        self
    }

    /// The longest token that is looked at, in bytes; 16 KiB by default.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Accepts base64url segments with `=` padding, as AWS Application Load Balancers send them.
    ///
    /// # Security
    ///
    /// RFC 7515 §2 forbids padding. One token then has several spellings, so nothing may tell
    /// tokens apart by their text, a deny list of token hashes above all.
    pub fn dangerous_allow_padding(mut self) -> Self {
        self.padded = true;
        self
    }

    /// How many verified tokens are remembered; 10 000 by default.
    ///
    /// A token that comes again is found as a whole and not verified again, while its time lasts and
    /// while its key is one of the source's; requests with one token share one [`Verified`]. Tokens
    /// over 4 KiB are not remembered, nor are those whose [`KeySource`] says nothing of its
    /// [`generation`](KeySource::generation). What it takes in memory, and what becomes of expired
    /// tokens, stands in [the manual](crate::manual::remembered).
    pub fn cache(mut self, tokens: usize) -> Self {
        self.cache = tokens;
        self
    }

    /// Remembers a digest of each token (HMAC-SHA-256 under a random key of this verifier) instead
    /// of the token: for those whose memory dumps must not hold what can be presented again.
    ///
    /// The claims are kept as before, the signature is not. The digest is made for every request and
    /// costs about what the signature of an HS256 token does, so that most of the gain stays for RSA,
    /// ECDSA and EdDSA, and some of it for HMAC: [figures](crate::manual::remembered).
    pub fn cache_digests(mut self) -> Self {
        self.cache_digests = true;
        self
    }

    /// Verifies every token anew, and keeps none in memory.
    pub fn no_cache(self) -> Self {
        self.cache(0)
    }

    /// The clock; the operating system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The application's own type for the claims. A token that does not fit it is refused.
    ///
    /// Call it before [`check`](Self::check), which sees that type.
    pub fn claims<T>(self) -> VerifierBuilder<T> {
        VerifierBuilder {
            check_lost: self.check_lost || self.check.is_some(),
            keys: self.keys,
            algorithms: self.algorithms,
            policy: self.policy,
            role_paths: self.role_paths,
            presets: self.presets,
            all_clients: self.all_clients,
            required_typ: self.required_typ,
            max_bytes: self.max_bytes,
            cache: self.cache,
            cache_digests: self.cache_digests,
            padded: self.padded,
            clock: self.clock,
            check: None,
            claims: PhantomData,
        }
    }

    /// A check of the application's own, after all others. It may be asked once per token, not
    /// once per request, so it must depend on nothing but the claims.
    ///
    /// [`CheckError::rejected`] refuses the token (401); [`CheckError::unavailable`] says that it
    /// cannot be decided now (503).
    pub fn check<F>(mut self, check: F) -> Self
    where
        F: Fn(&Verified<C>) -> Result<(), CheckError> + Send + Sync + 'static,
    {
        self.check = Some(match self.check.take() {
            None => Arc::new(check),
            Some(earlier) => Arc::new(move |token| earlier(token).and_then(|()| check(token))),
        });
        self
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> VerifierBuilder<C> {
    /// The verifier.
    ///
    /// # Errors
    ///
    /// - What was wrong with a key, a secret or a key set.
    /// - [`ConfigError::AudienceRequired`]: the keys are a published set and neither an audience nor
    ///   a client was named.
    /// - [`ConfigError::MixedFamilies`]: HMAC and public-key algorithms side by side.
    /// - [`ConfigError::Algorithm`]: no algorithm listed, or none that a key fits.
    /// - [`ConfigError::Invalid`]: a value out of its range.
    /// - [`ConfigError::NoCrypto`]: [`cache_digests`](Self::cache_digests) without cryptography.
    pub fn build(mut self) -> Result<Verifier<C>, ConfigError> {
        let (keys, allowed) = self.decide()?;
        let digester = self.digester()?;
        let cache = (self.cache > 0).then(|| Cache::new(self.cache, digester));
        let cache = cache.transpose()?;
        let keys: Arc<dyn KeySource> = match keys {
            Keys::Set(set) => Arc::new(set),
            Keys::Source(source) => source,
            #[cfg(feature = "jwks")]
            Keys::Remote(remote) => Arc::new(remote.clock(Arc::clone(&self.clock)).build()?),
        };
        Ok(Verifier::assemble(super::examine::Rules {
            keys,
            allowed,
            listed: self.algorithms.is_some(),
            policy: self.policy,
            max_bytes: self.max_bytes,
            padded: self.padded,
            clock: self.clock,
            check: self.check,
            cache,
        }))
    }

    /// Finds what `build` would find, and starts nothing.
    pub(crate) fn validate(mut self) -> Result<(), ConfigError> {
        let (keys, _) = self.decide()?;
        self.digester()?;
        match keys {
            Keys::Set(_) | Keys::Source(_) => Ok(()),
            #[cfg(feature = "jwks")]
            Keys::Remote(remote) => remote.build_pair().map(drop),
        }
    }

    fn decide(&mut self) -> Result<(Keys, Vec<Algorithm>), ConfigError> {
        let keys = std::mem::replace(&mut self.keys, Err(ConfigError::NoCrypto))?;
        let allowed = self.allowed(&keys)?;
        self.finish_policy(&keys)?;
        Ok((keys, allowed))
    }

    fn digester(&self) -> Result<Option<Digester>, ConfigError> {
        let wanted = self.cache > 0 && self.cache_digests;
        wanted.then(Digester::new).transpose()
    }

    fn allowed(&self, keys: &Keys) -> Result<Vec<Algorithm>, ConfigError> {
        let Some(listed) = &self.algorithms else {
            return Ok(match keys.set() {
                Some(set) => default_algorithms(set),
                // What the source's keys say of themselves decides. A secret never comes unasked.
                None => canonical(Algorithm::ALL.iter())
                    .into_iter()
                    .filter(|algorithm| !algorithm.is_hmac())
                    .collect(),
            });
        };
        let listed = canonical(listed.iter());
        if listed.is_empty() {
            return Err(ConfigError::Algorithm("an empty list".into()));
        }
        let secrets = listed.iter().filter(|one| one.is_hmac()).count();
        if secrets != 0 && secrets != listed.len() {
            return Err(ConfigError::MixedFamilies);
        }
        #[cfg(feature = "jwks")]
        if secrets != 0 && matches!(keys, Keys::Remote(_)) {
            let problem = "secrets are never taken from a published key set";
            return Err(ConfigError::Algorithm(problem.into()));
        }
        if let Some(set) = keys.set() {
            let of_other_family = set.keys().any(|key| key.is_secret() != (secrets != 0));
            if of_other_family {
                return Err(ConfigError::MixedFamilies);
            }
            let fits = |one: &Algorithm| set.keys().any(|key| key.serves(*one, true));
            if !listed.iter().any(fits) {
                return Err(ConfigError::Algorithm(
                    "no key fits any of the listed algorithms".into(),
                ));
            }
        }
        Ok(listed)
    }

    fn apply_preset(&mut self) -> Result<(), ConfigError> {
        let presets = std::mem::take(&mut self.presets);
        if presets.len() > 1 {
            return Err(ConfigError::invalid("preset", "more than one"));
        }
        for preset in presets {
            let issuers = &mut self.policy.issuers;
            if !issuers.is_empty() && !issuers.contains(&preset.issuer) {
                let problem = "its issuer is not the one that is expected besides";
                return Err(ConfigError::invalid("preset", problem));
            }
            issuers.push(preset.issuer);
            self.policy.dialect = preset.dialect;
            self.role_paths.get_or_insert_default().extend(preset.roles);
        }
        Ok(())
    }

    fn finish_policy(&mut self, keys: &Keys) -> Result<(), ConfigError> {
        self.apply_preset()?;
        let policy = &mut self.policy;
        if self.check_lost {
            return Err(ConfigError::invalid(
                "check",
                "call `claims` before `check`",
            ));
        }
        if policy.leeway > MAX_LEEWAY {
            return Err(ConfigError::invalid("leeway", "more than 300 seconds"));
        }
        if policy.max_age == Some(Duration::ZERO) {
            return Err(ConfigError::invalid(
                "max_age",
                "no token would be young enough",
            ));
        }
        for (name, values) in [
            ("issuer", &policy.issuers),
            ("audience", &policy.audiences),
            ("client_ids", &policy.clients),
        ] {
            if values.iter().any(String::is_empty) {
                return Err(ConfigError::invalid(name, "an empty string"));
            }
        }
        // A preset and `oidc` may both have named the issuer.
        policy.issuers.sort_unstable();
        policy.issuers.dedup();
        let serves_many = keys.set().is_none_or(KeySet::is_document);
        let named = !policy.audiences.is_empty() || !policy.clients.is_empty();
        if serves_many && !named && !policy.any_audience {
            return Err(ConfigError::AudienceRequired);
        }
        if let Some(typ) = self.required_typ.take() {
            if policy.typ == Typ::Rfc9068 {
                return Err(ConfigError::invalid(
                    "required_typ",
                    "`rfc9068` requires `at+jwt` already",
                ));
            }
            if typ.is_empty() || is_never_access_token(&typ) {
                return Err(ConfigError::invalid(
                    "required_typ",
                    "a type that no access token has",
                ));
            }
            policy.typ = Typ::Exactly(media_type(&typ).to_owned());
        }
        let audience_named = !policy.audiences.is_empty() || policy.any_audience;
        if policy.typ == Typ::Rfc9068 && (policy.issuers.is_empty() || !audience_named) {
            return Err(ConfigError::invalid(
                "rfc9068",
                "needs an issuer and an audience (RFC 9068 §4)",
            ));
        }
        let paths = self.role_paths.take();
        let paths = paths.unwrap_or_else(|| DEFAULT_ROLES.map(str::to_owned).to_vec());
        policy.roles = paths
            .iter()
            .map(|path| RolePath::parse(path))
            .collect::<Result<_, _>>()?;
        if self.all_clients {
            policy.roles.push(RolePath::all_clients());
        }
        Ok(())
    }
}

impl<C> fmt::Debug for VerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").finish_non_exhaustive()
    }
}

fn canonical<'a>(algorithms: impl Iterator<Item = &'a Algorithm>) -> Vec<Algorithm> {
    let mut all: Vec<_> = algorithms.map(|one| one.canonical()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// RFC 7519 §4.1.4 speaks of "no more than a few minutes".
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// Above any real token, and at the limit that servers put on a header anyway.
pub(super) const DEFAULT_MAX_BYTES: usize = 16 * 1024;
/// More callers than most processes serve within the lifetime of a token, and a few tens of MiB.
const DEFAULT_CACHE: usize = 10_000;
const DEFAULT_ROLES: [&str; 2] = ["roles", "role"];
