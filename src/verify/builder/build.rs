//! Validation of the configuration, and construction of the verifier.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use super::super::{introspection::Introspected, keys::NoKeys};
use super::{
    super::{
        Verifier,
        cache::Cache,
        examine::Rules,
        header::media_type,
        keys::Keys,
        known_headers::KnownHeaders,
        near::NearMisses,
        place::{ClaimMap, Place, RoleForm},
        policy::{CONVERSATION_TOKEN, Typ, is_never_access_token},
        preset::Dialect,
    },
    VerifierBuilder,
};
use crate::{
    error::ConfigError,
    key::{Algorithm, Digester, KeySource, default_algorithms},
};

impl<C: DeserializeOwned + Send + Sync + 'static> VerifierBuilder<C> {
    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// - The error of an invalid key, secret or key set.
    /// - [`ConfigError::AudienceRequired`] if the keys are a published set and neither an audience
    ///   nor a client is set.
    /// - [`ConfigError::IssuerRequired`] if the keys come from a URL and no issuer is set.
    /// - [`ConfigError::MixedFamilies`] if HMAC and public-key algorithms are used together.
    /// - [`ConfigError::Algorithm`] if the list of algorithms is empty, or no key matches any of
    ///   them.
    /// - [`ConfigError::Invalid`] if a value is out of range.
    /// - [`ConfigError::NoCrypto`] for [`cache_by_digest`](Self::cache_by_digest) and for introspection in
    ///   a build without cryptography.
    pub fn build(mut self) -> Result<Verifier<C>, ConfigError> {
        let (keys, allowed) = self.decide()?;
        #[cfg(feature = "tracing")]
        if self.accepts_any_issuer_unsaid(&keys) {
            tracing::warn!(
                "no issuer is expected: every issuer whose key is in the set can sign; set yours with \
                 `issuer`, or call `dangerous_any_issuer`"
            );
        }
        let digester = self.digester()?;
        let cache = (self.cache > 0).then(|| Cache::new(self.cache, self.max_bytes, digester));
        let cache = cache.transpose()?;
        let discovered: Option<Box<str>> = keys.issuer().map(Into::into);
        #[cfg(feature = "jwks")]
        let (cache, introspected) = self.introspect(&keys, cache)?;
        let keys: Arc<dyn KeySource> = match keys {
            Keys::Set(set) => Arc::new(set),
            Keys::Source(source) => source,
            #[cfg(feature = "jwks")]
            Keys::Nothing => Arc::new(NoKeys),
            #[cfg(feature = "jwks")]
            Keys::Remote(remote) => Arc::new(remote.clock(Arc::clone(&self.clock)).build()?),
        };
        Ok(Verifier::assemble(Rules {
            keys,
            allowed,
            listed: self.algorithms.is_some(),
            policy: self.policy,
            max_bytes: self.max_bytes,
            padded: self.padded,
            clock: self.clock,
            check: self.check,
            cache,
            headers: KnownHeaders::new(),
            near: NearMisses::new(),
            discovered,
            #[cfg(feature = "jwks")]
            introspected,
        }))
    }

    /// Starts the introspection of tokens, which takes the cache over.
    #[cfg(feature = "jwks")]
    fn introspect(
        &mut self,
        keys: &Keys,
        cache: Option<Cache<C>>,
    ) -> Result<Caches<C>, ConfigError> {
        let Some(settings) = self.introspection.take() else {
            return Ok((cache, None));
        };
        #[cfg(feature = "tracing")]
        if self.policy.audiences.is_empty()
            && self.policy.clients.is_empty()
            && !self.policy.any_audience
        {
            tracing::warn!(
                "no audience is expected of introspected tokens: tokens for other APIs pass, and refresh \
                 tokens that their server calls active; set yours with `audience`, or call \
                 `dangerous_any_audience`"
            );
        }
        let has_keys = !matches!(keys, Keys::Nothing);
        let clock = Arc::clone(&self.clock);
        let started = settings.start(keys.issuer(), &self.policy.issuers, clock)?;
        let introspected = Introspected::new(started, has_keys, self.cache, cache)?;
        Ok((None, Some(Box::new(introspected))))
    }

    /// Validates the settings for introspection, if there are any.
    #[cfg(feature = "jwks")]
    fn check_introspection(&self, keys: &Keys) -> Result<(), ConfigError> {
        let (is_alone, policy) = (matches!(keys, Keys::Nothing), &self.policy);
        let Some(settings) = &self.introspection else {
            let problem = "a verifier without keys introspects every token";
            return match is_alone {
                true => Err(ConfigError::invalid("introspection", problem)),
                false => Ok(()),
            };
        };
        let any_issuer = policy.issuers.is_empty() && !policy.by_issuer;
        if is_alone && settings.introspects_jwts() && any_issuer {
            return Err(ConfigError::invalid(
                "introspection",
                "JWTs of other issuers must not be sent to the server: set an issuer, or call \
                 `dangerous_any_issuer`",
            ));
        }
        settings.check(keys.issuer(), &policy.issuers)
    }

    /// Validates the configuration as `build` does, without starting background tasks.
    pub(crate) fn validate(mut self) -> Result<(), ConfigError> {
        let (keys, _) = self.decide()?;
        self.digester()?;
        match keys {
            Keys::Set(_) | Keys::Source(_) => Ok(()),
            #[cfg(feature = "jwks")]
            Keys::Nothing => Ok(()),
            #[cfg(feature = "jwks")]
            Keys::Remote(remote) => remote.build_pair().map(drop),
        }
    }

    fn decide(&mut self) -> Result<(Keys, Vec<Algorithm>), ConfigError> {
        let keys = std::mem::replace(&mut self.keys, Err(ConfigError::NoCrypto))?;
        let allowed = self.allowed(&keys)?;
        self.finish_policy(&keys)?;
        #[cfg(feature = "jwks")]
        self.check_introspection(&keys)?;
        Ok((keys, allowed))
    }

    /// Returns `true` if tokens of any issuer are accepted without `dangerous_any_issuer`.
    #[cfg(feature = "tracing")]
    fn accepts_any_issuer_unsaid(&self, keys: &Keys) -> bool {
        keys.serve_many() && self.policy.issuers.is_empty() && !self.policy.by_issuer
    }

    fn digester(&self) -> Result<Option<Digester>, ConfigError> {
        let wanted = self.cache > 0 && self.cache_by_digest;
        wanted.then(Digester::new).transpose()
    }

    fn allowed(&self, keys: &Keys) -> Result<Vec<Algorithm>, ConfigError> {
        #[cfg(feature = "jwks")]
        if matches!(keys, Keys::Nothing) {
            let problem = "there are no keys, so that no algorithm can be listed";
            return match self.algorithms {
                None => Ok(Vec::new()),
                Some(_) => Err(ConfigError::Algorithm(problem.into())),
            };
        }
        let Some(listed) = &self.algorithms else {
            return Ok(match keys.set() {
                Some(set) => default_algorithms(set),
                // The keys of the source determine the algorithms. HMAC must be listed explicitly.
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
            let problem = "a published key set cannot contain secrets";
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
                    "no key matches any of the listed algorithms".into(),
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
            if let Some(problem) = preset.problem {
                return Err(ConfigError::invalid("preset", problem));
            }
            let issuers = &mut self.policy.issuers;
            if !issuers.is_empty() && !issuers.contains(&preset.issuer) {
                let problem = "its issuer is not the configured issuer";
                return Err(ConfigError::invalid("preset", problem));
            }
            issuers.push(preset.issuer);
            self.policy.dialect = preset.dialect;
            let roles = preset.roles.into_iter();
            let roles = roles.map(|path| (path, RoleForm::Strings));
            self.role_paths.get_or_insert_default().extend(roles);
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
                "zero would refuse every token",
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
        if self.no_clients {
            return Err(ConfigError::invalid("client_ids", "an empty list"));
        }
        // OpenID Connect Core §3.1.3.7: the `aud` of an ID token names the client.
        if policy.id_tokens && policy.audiences.is_empty() {
            let problem = "needs an audience: the identifier of the client";
            return Err(ConfigError::invalid("dangerous_accept_id_tokens", problem));
        }
        // A preset and `oidc` may both have set the issuer.
        policy.issuers.sort_unstable();
        policy.issuers.dedup();
        let named = !policy.audiences.is_empty() || !policy.clients.is_empty();
        if keys.serve_many() && !named && !policy.any_audience {
            return Err(ConfigError::AudienceRequired);
        }
        // RFC 8725 §3.8: the keys of one URL may sign for many issuers.
        if keys.are_remote() && policy.issuers.is_empty() && !policy.by_issuer {
            return Err(ConfigError::IssuerRequired);
        }
        if policy.by_issuer && !policy.issuers.is_empty() {
            let problem = "conflicts with `issuer`: an issuer is set";
            return Err(ConfigError::invalid("dangerous_any_issuer", problem));
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
            // A conversation token with a required `typ` still counts as one, with its limits.
            policy.conversations |= media_type(&typ).eq_ignore_ascii_case(CONVERSATION_TOKEN);
            policy.typ = Typ::Exactly(media_type(&typ).to_owned());
        }
        let audience_named = !policy.audiences.is_empty() || policy.any_audience;
        if policy.typ == Typ::Rfc9068 && (policy.issuers.is_empty() || !audience_named) {
            return Err(ConfigError::invalid(
                "rfc9068",
                "needs an issuer and an audience (RFC 9068 §4)",
            ));
        }
        self.policy.map = self.claim_map()?;
        Ok(())
    }

    fn claim_map(&mut self) -> Result<ClaimMap, ConfigError> {
        let plain = |path: &str| (path.to_owned(), RoleForm::Strings);
        let paths = self.role_paths.take();
        let paths = paths.unwrap_or_else(|| DEFAULT_ROLES.map(plain).to_vec());
        let roles = paths.iter().map(|(path, form)| Place::of_roles(path, form));
        let mut places = roles.collect::<Result<Vec<_>, _>>()?;
        if self.all_clients {
            places.push(Place::all_clients());
        }
        for path in &self.scope_paths {
            // `scope` and `scp` are always read.
            if !matches!(path.as_str(), "scope" | "/scope" | "scp" | "/scp") {
                places.push(Place::of_scope(path)?);
            }
        }
        let clients: Vec<&str> = match &self.client_claims {
            Some(chosen) => chosen.iter().map(String::as_str).collect(),
            None => DEFAULT_CLIENTS.to_vec(),
        };
        let subject = self.subject_claim.as_deref();
        for (name, claims) in [
            ("subject_claim", subject.as_slice()),
            ("client_id_claim", &clients),
        ] {
            if claims
                .iter()
                .any(|claim| claim.is_empty() || claim.starts_with('/'))
            {
                let problem = "the name of a top-level claim is needed";
                return Err(ConfigError::invalid(name, problem));
            }
        }
        let map = ClaimMap::new(places, subject, &clients);
        Ok(match self.policy.dialect {
            Dialect::Okta => map.with_client_of_provider("cid"),
            // Access tokens of version 1.0, which are in use during a migration.
            Dialect::Entra => map.with_client_of_provider("appid"),
            Dialect::Common | Dialect::Auth0 | Dialect::Keycloak => map,
        })
    }
}

/// A cache of JWTs, or introspection with its caches.
#[cfg(feature = "jwks")]
type Caches<C> = (Option<Cache<C>>, Option<Box<Introspected<C>>>);

fn canonical<'a>(algorithms: impl Iterator<Item = &'a Algorithm>) -> Vec<Algorithm> {
    let mut all: Vec<_> = algorithms.map(|one| one.canonical()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

const MAX_LEEWAY: Duration = Duration::from_secs(300);
const DEFAULT_CLIENTS: [&str; 2] = ["client_id", "azp"];
const DEFAULT_ROLES: [&str; 2] = ["roles", "role"];
