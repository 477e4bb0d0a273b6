//! Verifies tokens: a JWT in, a [`Verified`] out.
//!
//! A [`Verifier`] needs no HTTP. A middleware asks it for every request; an application may ask it
//! for a token that came in a WebSocket message or a GraphQL field.
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
mod examine;
mod header;
mod keys;
mod near;
mod noted;
mod parse;
mod place;
mod policy;
mod preset;
mod token_use;
mod trust;
mod verified;
mod witness;

use std::{error::Error, fmt, sync::Arc};

use serde::de::DeserializeOwned;

pub use self::{
    builder::VerifierBuilder,
    place::RoleForm,
    preset::Preset,
    trust::{IssuerResolver, Resolution, Tenants},
    verified::Verified,
};
pub(crate) use self::{
    examine::Examined,
    header::media_type,
    policy::{ACCESS_TOKEN, CONVERSATION_TOKEN},
};
use self::{
    examine::Rules,
    keys::Keys,
    trust::{Chosen, Group},
};
#[cfg(feature = "jwks")]
use crate::key::remote::{RemoteKeySet, RemoteKeySetBuilder};
use crate::{
    claims::Claims,
    error::{AuthError, AuthErrorKind, ConfigError, KeyProblem},
    key::{Algorithm, KeySet, KeySource, VerifyingKey},
};

/// Verifies tokens by fixed rules. Cheap to clone.
///
/// The order of the checks: size, form, algorithm, type, key, signature, and only then the claims,
/// which nobody can have changed: issuer, times, audience, use, client, binding, the
/// application's own check.
///
/// A token that was verified is remembered, so that it costs next to nothing when it comes again:
/// [`cache`](VerifierBuilder::cache).
pub struct Verifier<C = Claims> {
    kind: Kind<C>,
}

enum Kind<C> {
    One(Arc<Rules<C>>),
    Group(Arc<Group<C>>),
}

impl Verifier<Claims> {
    /// Starts a verifier for HS256 with a secret of at least 32 random bytes.
    pub fn hs256(secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::secret(Algorithm::Hs256, secret)
    }

    /// Starts a verifier for an HMAC algorithm; see [`VerifyingKey::from_secret`].
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> VerifierBuilder {
        Self::from_key(VerifyingKey::from_secret(algorithm, secret))
    }

    /// Starts a verifier for the public keys or the certificate in a PEM; see [`KeySet::from_pem`].
    #[cfg(feature = "pem")]
    pub fn pem(pem: impl AsRef<[u8]>) -> VerifierBuilder {
        VerifierBuilder::new(KeySet::from_pem(pem).map(Keys::Set))
    }

    /// Starts a verifier for one key.
    pub fn key(key: VerifyingKey) -> VerifierBuilder {
        Self::from_key(Ok(key))
    }

    /// Starts a verifier for a set of keys.
    pub fn key_set(keys: KeySet) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Set(keys)))
    }

    /// Starts a verifier for a source of keys of one's own.
    pub fn key_source(keys: impl KeySource) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::Source(Arc::new(keys))))
    }

    /// Starts a verifier for the keys that a URL publishes; see [`key::remote`](crate::key::remote).
    ///
    /// An audience or a client must be named: such keys sign for many. `build` starts the fetching
    /// and must be called within a tokio runtime.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn jwks(url: &str) -> VerifierBuilder {
        Self::remote(RemoteKeySet::jwks(url))
    }

    /// Starts a verifier for the tokens of an issuer whose keys are found through its metadata
    /// (OpenID Connect Discovery, RFC 8414); as [`jwks`](Self::jwks), with the issuer expected.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn oidc(issuer: &str) -> VerifierBuilder {
        Self::remote(RemoteKeySet::oidc(issuer)).issuer(issuer)
    }

    /// Starts a verifier for a well-known provider: its issuer, keys, scopes and roles.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn provider(preset: Preset) -> VerifierBuilder {
        Self::oidc(preset.issuer()).preset(preset)
    }

    /// Starts a verifier for remote keys with numbers, certificates or listeners of one's own.
    ///
    /// The keys take the verifier's clock.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn remote(keys: RemoteKeySetBuilder) -> VerifierBuilder {
        VerifierBuilder::new(Ok(Keys::remote(keys)))
    }

    fn from_key(key: Result<VerifyingKey, ConfigError>) -> VerifierBuilder {
        VerifierBuilder::new(key.and_then(KeySet::try_from).map(Keys::Set))
    }
}

impl<C> Verifier<C> {
    /// Several issuers, each with its own verifier: its keys, audience, algorithms, roles.
    ///
    /// A token's issuer selects the verifier before any key is looked up, so a key of one issuer
    /// never verifies a token of another (RFC 8725 §3.8), and an issuer that is not among them
    /// costs no fetch.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: no verifier, one that expects no issuer, or two for one issuer.
    pub fn any_issuer(verifiers: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        Group::of_issuers(verifiers).map(Self::from)
    }

    /// Verifiers for different algorithms side by side, as during a migration: the token's
    /// algorithm selects the verifier, and each has its own keys.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: no verifier, or two that accept one algorithm.
    pub fn any_of(verifiers: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        Group::of_algorithms(verifiers).map(Self::from)
    }

    /// Issuers that are known at run time only.
    #[must_use]
    pub fn tenants(tenants: Tenants<C>) -> Self {
        Self::from(Group::of_tenants(tenants))
    }

    fn assemble(rules: Rules<C>) -> Self {
        Self {
            kind: Kind::One(Arc::new(rules)),
        }
    }

    /// Whether there are keys that could verify a token now: for readiness probes.
    ///
    /// Of several verifiers all must be ready; tenants known at run time only do not count.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.kind {
            Kind::One(rules) => rules.keys.is_ready(),
            Kind::Group(group) => group.members().iter().all(|one| one.is_ready()),
        }
    }

    /// Returns the reason why there are no keys, for readiness probes: `None` if there are keys or
    /// the reason is not known.
    ///
    /// Its code is fixed and holds no name, URL or value. Of several verifiers it is the first
    /// one's that has no keys.
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

    /// Waits until there are keys, or the attempt to get them failed: for those who would rather
    /// not start than start without.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::KeysUnavailable`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), AuthError> {
        let mut sources = Vec::new();
        self.collect_sources(&mut sources);
        for source in sources {
            // Asked first: a source that is asked for a wait starts a fetch.
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

    pub(crate) fn allows_padding(&self) -> bool {
        match &self.kind {
            Kind::One(rules) => rules.padded,
            Kind::Group(group) => group.padded,
        }
    }

    fn max_bytes(&self) -> usize {
        match &self.kind {
            Kind::One(rules) => rules.max_bytes,
            Kind::Group(group) => group.max_bytes,
        }
    }

    /// The issuers that are expected; empty where any is accepted.
    fn issuers(&self) -> Vec<String> {
        match &self.kind {
            Kind::One(rules) => rules.policy.issuers.clone(),
            Kind::Group(group) => group.issuers(),
        }
    }

    /// The algorithms that are accepted; empty where that depends on the issuer.
    fn algorithms(&self) -> Vec<Algorithm> {
        match &self.kind {
            Kind::One(rules) => rules.allowed.clone(),
            Kind::Group(group) => group.algorithms(),
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token, waiting for its key where that has to be fetched.
    ///
    /// # Errors
    ///
    /// Why the token is refused, or that it cannot be decided now
    /// ([`AuthErrorKind::KeysUnavailable`], [`AuthErrorKind::CheckUnavailable`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a fetch that it waits for goes on for the others.
    pub async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        let token = token.as_ref();
        match self.examine(token) {
            Examined::Done(verdict) => verdict,
            Examined::Remembered(verified) => Ok(verified),
            Examined::Wait(wait, _) => {
                wait.await;
                self.verify_now(token)
            }
        }
    }

    /// Verifies a token with the keys at hand.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify). A key that would have to be fetched first is
    /// [`AuthErrorKind::KeysUnavailable`]; a key at hand that does not verify the token is not
    /// waited for.
    pub fn verify_now(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        match self.examine(token.as_ref()) {
            Examined::Done(verdict) => verdict,
            Examined::Remembered(verified) => Ok(verified),
            Examined::Wait(_, error) => Err(error),
        }
    }

    pub(crate) fn examine(&self, token: &[u8]) -> Examined<C> {
        let examined = match &self.kind {
            Kind::One(rules) => rules.examine(token),
            Kind::Group(group) => match group.choose(token) {
                Ok(Chosen::Verifier(verifier)) => Ok(verifier.examine(token)),
                Ok(Chosen::Wait(wait)) => {
                    let error = AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1);
                    Ok(Examined::Wait(wait, error))
                }
                Err(error) => Err(error),
            },
        };
        examined.unwrap_or_else(|error| Examined::Done(Err(error)))
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<C> Verifier<C> {
    /// The payload of a token whose claims nobody checked, for `test_util` alone.
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

/// Why the application's own check did not pass a token.
#[derive(Debug)]
pub struct CheckError {
    kind: AuthErrorKind,
    reason: Box<dyn Error + Send + Sync>,
}

impl CheckError {
    /// The token is refused: 401. The reason is for the log; the client does not see it.
    #[must_use]
    pub fn rejected(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::Rejected,
            reason: reason.into(),
        }
    }

    /// It cannot be decided now: 503. The reason is for the log; the client does not see it.
    #[must_use]
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: AuthErrorKind::CheckUnavailable,
            reason: reason.into(),
        }
    }

    fn into_error(self) -> AuthError {
        AuthError::caused_by(self.kind, self.reason)
    }
}
