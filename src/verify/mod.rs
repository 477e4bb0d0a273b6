//! Verification of tokens: a JWT in, a [`Verified`] out.
//!
//! A [`Verifier`] does not depend on HTTP. The middleware calls it for every request. An
//! application can call it for tokens from other sources, such as a WebSocket message or a GraphQL
//! field.
//!
//! | item | role |
//! |---|---|
//! | [`Verifier`] | the keys and the rules; its functions create a builder for each source of keys |
//! | [`VerifierBuilder`] | the rules: issuer, audience, clients, times, types, places of roles and scopes, the cache |
//! | [`Verified<C>`](Verified) | the claims of a verified token |
//! | [`Provider`] | presets for Auth0, Amazon Cognito, Keycloak, Microsoft Entra ID and Okta |
//! | [`Verifier::by_issuer`], [`Tenants`], [`IssuerResolver`] | several issuers: fixed, or known only at run time |
//! | [`Verifier::explain`], [`Explanation`] | every check of a token, with expected and found values, for development |
//! | [`CheckError`] | the result of a [custom check](VerifierBuilder::validate_with) that does not pass |
//!
//! [Choosing a verifier](crate::manual::getting_started#choosing-a-verifier) lists the sources of keys.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::verify::Verifier;
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .build()?;
//! let refused = verifier.verify_now("not.a.token").unwrap_err();
//! assert_eq!(refused.as_str(), "malformed_header");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! ```

mod builder;
mod cache;
mod check_error;
mod claim;
mod compact;
mod confirmation;
mod describe;
mod examine;
mod explain;
mod group;
mod header;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub mod introspection;
mod items;
mod keys;
mod known_headers;
#[cfg(feature = "jwks")]
mod logout;
mod near;
mod parse;
mod place;
mod policy;
mod preset;
pub mod proof;
mod registered;
mod replay;
mod tee;
mod tenants;
mod token_use;
mod verdict;
mod verified;

use std::{fmt, sync::Arc};

#[cfg(feature = "jwks")]
use self::examine::Unverified;
#[cfg(feature = "jwks")]
pub(crate) use self::introspection::Answered;
#[cfg(feature = "jwks")]
pub(crate) use self::logout::LogoutToken;
#[cfg(feature = "server")]
pub(crate) use self::policy::{ACCESS_TOKEN, CONVERSATION_TOKEN};
pub use self::{
    builder::VerifierBuilder,
    check_error::CheckError,
    explain::{Explanation, TokenCheck},
    place::RoleForm,
    preset::Provider,
    tenants::{IssuerResolver, Resolution, Tenants},
    verified::Verified,
};
pub(crate) use self::{
    confirmation::Confirmation,
    examine::{Arrived, Awaited, Examined, Waiting},
    header::media_type,
};
use self::{examine::Rules, group::Group, keys::Keys};
#[cfg(feature = "jwks")]
use crate::key::remote::{RemoteKeySet, RemoteKeySetBuilder};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError, KeyProblem},
    key::{Algorithm, KeySet, KeySource, VerifyingKey},
    principal::{Claims, Principal},
};

/// A verifier of tokens with fixed rules. Cheap to clone.
///
/// | source of the keys | function | feature |
/// |---|---|---|
/// | a secret | [`hs256`](Self::hs256), [`secret`](Self::secret) | |
/// | keys in code or in a file | [`key`](Self::key), [`key_set`](Self::key_set) | |
/// | a PEM | `pem` | `pem` (default) |
/// | a URL, or an issuer that publishes its keys | `jwks`, `oidc`, `provider`, `remote` | `jwks` |
/// | another source | [`key_source`](Self::key_source) | |
/// | none: the authorization server reads its opaque tokens | `introspected` | `jwks` |
///
/// The checks run in this order: size, form, algorithm, type, key, signature. The claims follow,
/// which are authentic at that point: issuer, times, audience, use, client, binding, the
/// application's check.
///
/// Verified tokens are cached, so that a token that is sent again is not verified again. See
/// [`cache_capacity`](VerifierBuilder::cache_capacity).
pub struct Verifier<C = Claims> {
    kind: Kind<C>,
}

enum Kind<C> {
    One(Arc<Rules<C>>),
    Group(Arc<Group<C>>),
}

impl Verifier<Claims> {
    /// Creates a builder of a verifier for HS256 with a secret of at least 32 random bytes.
    pub fn hs256(secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::secret(Algorithm::Hs256, secret)
    }

    /// Creates a builder of a verifier for an HMAC algorithm. See [`VerifyingKey::from_secret`].
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::from_key(VerifyingKey::from_secret(algorithm, secret))
    }

    /// Creates a builder of a verifier for the public keys or the certificate in a PEM. See
    /// [`KeySet::from_pem`].
    #[cfg(feature = "pem")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
    pub fn pem(pem: impl AsRef<[u8]>) -> VerifierBuilder {
        VerifierBuilder::new(KeySet::from_pem(pem).map(Keys::Set))
    }

    /// Creates a builder of a verifier with a single key.
    pub fn key(key: VerifyingKey) -> VerifierBuilder {
        Self::from_key(Ok(key))
    }

    /// Creates a builder of a verifier with a set of keys.
    pub fn key_set(keys: KeySet) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Set(keys)))
    }

    /// Creates a builder of a verifier with a custom source of keys.
    pub fn key_source(keys: impl KeySource) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Source(Arc::new(keys))))
    }

    /// Creates a builder of a verifier for the key set at a URL. See
    /// [`key::remote`](crate::key::remote).
    ///
    /// An audience or a client must be set, because such keys sign for many audiences. `build`
    /// starts the fetch task and must be called within a tokio runtime.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn jwks(url: &str) -> VerifierBuilder {
        Self::remote(RemoteKeySet::jwks(url))
    }

    /// Creates a builder of a verifier for the tokens of an issuer whose keys are found through its
    /// metadata (OpenID Connect Discovery, RFC 8414). Sets the expected issuer. Otherwise the same
    /// as [`jwks`](Self::jwks).
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn oidc(issuer: &str) -> VerifierBuilder {
        Self::remote(RemoteKeySet::oidc(issuer)).issuer(issuer)
    }

    /// Creates a builder of a verifier for a well-known provider: its issuer, keys, scopes and
    /// roles.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn provider(preset: Provider) -> VerifierBuilder {
        Self::oidc(preset.issuer()).provider(preset)
    }

    /// Creates a builder of a verifier for remote keys with custom limits, certificates or event
    /// sinks.
    ///
    /// The keys use the verifier's clock.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn remote(keys: RemoteKeySetBuilder) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::remote(keys)))
    }

    /// Creates a builder of a verifier without keys, for an authorization server whose access tokens are
    /// opaque: each token is introspected (RFC 7662). For opaque tokens and JWTs of one issuer, add
    /// [`introspection`](VerifierBuilder::introspection) to a verifier with keys.
    ///
    /// JWTs are refused, unless [`all_tokens`](introspection::Introspection::all_tokens) is set. `build`
    /// must be called within a tokio runtime.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn introspected(settings: introspection::Introspection) -> VerifierBuilder {
        Self::without_keys().introspection(settings)
    }

    #[cfg(feature = "jwks")]
    pub(crate) fn without_keys() -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Nothing))
    }

    fn from_key(key: Result<VerifyingKey, ConfigError>) -> VerifierBuilder {
        VerifierBuilder::new(key.and_then(KeySet::try_from).map(Keys::Set))
    }
}

impl<C> Verifier<C> {
    /// Combines verifiers for several issuers, each with its own keys, audience, algorithms and
    /// roles.
    ///
    /// A token's issuer selects the verifier before any key is looked up. A key of one issuer
    /// therefore never verifies a token of another (RFC 8725 §3.8), and a token of an unknown
    /// issuer causes no fetch.
    ///
    /// The verifiers share one cache, as large as their own caches together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there is no verifier, a verifier expects no issuer, or two
    /// verifiers expect the same issuer.
    pub fn by_issuer(verifiers: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        Group::of_issuers(verifiers).map(Self::from)
    }

    /// Combines verifiers for different algorithms, for example during a migration. A token's
    /// algorithm selects the verifier, and each verifier has its own keys. The verifiers share one
    /// cache, as with [`by_issuer`](Self::by_issuer).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there is no verifier, or two verifiers accept the same
    /// algorithm.
    pub fn by_algorithm(verifiers: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        Group::of_algorithms(verifiers).map(Self::from)
    }

    /// Creates a verifier for issuers that are known only at run time.
    #[must_use]
    pub fn tenants(tenants: Tenants<C>) -> Self {
        Self::from(Group::of_tenants(tenants))
    }

    fn assemble(rules: Rules<C>) -> Self {
        Self {
            kind: Kind::One(Arc::new(rules)),
        }
    }

    /// Returns `true` if there are keys that can verify tokens. For readiness probes.
    ///
    /// Of several verifiers, all must be ready. Tenants that are known only at run time do not
    /// count.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.kind {
            Kind::One(rules) => rules.keys.is_ready(),
            Kind::Group(group) => group.members().iter().all(|one| one.is_ready()),
        }
    }

    /// Returns the reason why there are no keys, or `None` if there are keys or the reason is
    /// unknown. For readiness probes.
    ///
    /// The reason has a fixed code without names, URLs or values. Of several verifiers, the first
    /// one without keys gives the reason.
    #[must_use]
    pub fn key_problem(&self) -> Option<KeyProblem> {
        match &self.kind {
            Kind::One(rules) => rules.keys.problem(),
            Kind::Group(group) => {
                let mut members = group.members().into_iter();
                members.find_map(|one| one.key_problem())
            }
        }
    }

    /// Waits until there are keys or the attempt to fetch them has failed. Use it to start a
    /// service only with keys.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::KeysUnavailable`] if the keys could not be fetched.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn ready(&self) -> Result<(), AuthError> {
        let mut sources = Vec::new();
        self.collect_sources(&mut sources);
        for source in sources {
            // Checked first, because `wait_ready` may start a fetch.
            if source.is_ready() {
                continue;
            }
            if let Some(wait) = source.wait_ready() {
                wait.await;
            }
        }
        if self.is_ready() {
            return Ok(());
        }
        Err(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1))
    }

    fn collect_sources(&self, sources: &mut Vec<Arc<dyn KeySource>>) {
        match &self.kind {
            Kind::One(rules) => sources.push(Arc::clone(&rules.keys)),
            Kind::Group(group) => {
                for member in group.members() {
                    member.collect_sources(sources);
                }
            }
        }
    }

    /// Adds the rules of this verifier, or of its members, each once.
    fn collect_rules(&self, all: &mut Vec<Arc<Rules<C>>>) {
        match &self.kind {
            Kind::One(rules) if all.iter().any(|known| Arc::ptr_eq(known, rules)) => {}
            Kind::One(rules) => all.push(Arc::clone(rules)),
            Kind::Group(group) => {
                for member in group.members() {
                    member.collect_rules(all);
                }
            }
        }
    }

    /// Returns the issuers whose metadata name the keys, and `true` if keys of another source verify
    /// tokens as well.
    pub(crate) fn discovered(&self) -> (Vec<String>, bool) {
        let mut rules = Vec::new();
        self.collect_rules(&mut rules);
        let issuers = rules.iter().filter_map(|rules| rules.discovered.as_deref());
        let mut issuers: Vec<_> = issuers.map(str::to_owned).collect();
        // Tenants are known only at run time.
        let has_others = rules.is_empty() || issuers.len() < rules.len();
        issuers.sort_unstable();
        issuers.dedup();
        (issuers, has_others)
    }

    /// Returns `true` unless the key that signed the caller's token was withdrawn. A caller without
    /// a token was signed by no key.
    pub(crate) fn holds_key_of(&self, caller: &Principal) -> bool
    where
        C: 'static,
    {
        let signer = caller.facts().signer.as_ref();
        let signer = signer.and_then(|key| key.downcast_ref::<VerifyingKey>());
        signer.is_none_or(|key| self.holds(key, caller.issuer()))
    }

    fn holds(&self, key: &VerifyingKey, issuer: Option<&str>) -> bool
    where
        C: 'static,
    {
        match &self.kind {
            Kind::One(rules) => rules.hold(key),
            Kind::Group(group) => group.holds(key, issuer),
        }
    }

    pub(crate) fn allows_padding(&self) -> bool {
        match &self.kind {
            Kind::One(rules) => rules.padded,
            Kind::Group(group) => group.padded,
        }
    }

    /// Returns `true` if every accepted token names an expected audience.
    pub(crate) fn requires_audience(&self) -> bool {
        let mut rules = Vec::new();
        self.collect_rules(&mut rules);
        // Tenants that are known only at run time have no rules here.
        rules.iter().all(|rules| rules.policy.requires_audience())
    }

    fn max_bytes(&self) -> usize {
        match &self.kind {
            Kind::One(rules) => rules.max_bytes,
            Kind::Group(group) => group.max_bytes,
        }
    }

    /// Returns the expected issuers. The list is empty if any issuer is accepted.
    fn issuers(&self) -> Vec<String> {
        match &self.kind {
            Kind::One(rules) => rules.policy.issuers.clone(),
            Kind::Group(group) => group.issuers(),
        }
    }

    /// Returns the accepted algorithms. The list is empty if they depend on the issuer.
    fn algorithms(&self) -> Vec<Algorithm> {
        match &self.kind {
            Kind::One(rules) => rules.allowed.clone(),
            Kind::Group(group) => group.algorithms(),
        }
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<C> Verifier<C> {
    /// Returns the payload of a token whose claims were not checked, for `test_util` only.
    pub(crate) fn signed_payload(&self, token: &[u8]) -> Result<Vec<u8>, AuthError> {
        match &self.kind {
            Kind::One(rules) => rules.signed_payload(token),
            Kind::Group(_) => Err(AuthErrorKind::Misconfigured.into()),
        }
    }
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self {
            kind: match &self.kind {
                Kind::One(rules) => Kind::One(Arc::clone(rules)),
                Kind::Group(group) => Kind::Group(Arc::clone(group)),
            },
        }
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("algorithms", &self.algorithms())
            .field("issuers", &self.issuers())
            .finish_non_exhaustive()
    }
}
