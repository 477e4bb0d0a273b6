//! The builder of a verifier.

mod build;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

#[cfg(feature = "jwks")]
use super::introspection::Introspection;
use super::{
    CheckError, Provider, Verified,
    examine::Check,
    keys::Keys,
    place::{ClaimMap, RoleForm},
    policy::{Policy, Typ},
    preset::Dialect,
};
use crate::{
    error::ConfigError,
    key::Algorithm,
    principal::Claims,
    time::{Clock, SystemClock},
};

/// A builder of a [`Verifier`](super::Verifier). [`build`](Self::build) reports invalid values.
#[must_use = "nothing is verified before `build` is called"]
pub struct VerifierBuilder<C = Claims> {
    keys: Result<Keys, ConfigError>,
    algorithms: Option<Vec<Algorithm>>,
    policy: Policy,
    role_paths: Option<Vec<(String, RoleForm)>>,
    scope_paths: Vec<String>,
    subject_claim: Option<String>,
    client_claims: Option<Vec<String>>,
    presets: Vec<Provider>,
    all_clients: bool,
    /// `client_ids` was called without a client.
    no_clients: bool,
    required_typ: Option<String>,
    max_bytes: usize,
    cache: usize,
    cache_by_digest: bool,
    padded: bool,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "jwks")]
    introspection: Option<Introspection>,
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
                by_issuer: false,
                audiences: Vec::new(),
                any_audience: false,
                clients: Vec::new(),
                any_use: false,
                id_tokens: false,
                leeway: DEFAULT_LEEWAY,
                max_age: None,
                check_expiry: true,
                require_expiry: true,
                check_not_before: true,
                typ: Typ::Usual,
                conversations: false,
                map: ClaimMap::new(Vec::new(), None, &[]),
                dialect: Dialect::Common,
            },
            role_paths: None,
            scope_paths: Vec::new(),
            subject_claim: None,
            client_claims: None,
            presets: Vec::new(),
            all_clients: false,
            no_clients: false,
            required_typ: None,
            max_bytes: DEFAULT_MAX_BYTES,
            cache: DEFAULT_CACHE,
            cache_by_digest: false,
            padded: false,
            clock: Arc::new(SystemClock::new()),
            #[cfg(feature = "jwks")]
            introspection: None,
            check: None,
            check_lost: false,
            claims: PhantomData,
        }
    }
}

impl<C: 'static> VerifierBuilder<C> {
    /// Sets the accepted algorithms (RFC 8725 §3.1). Another call replaces the list.
    ///
    /// Without a list, a key that states its algorithm is used with that one, an RSA key with
    /// RS256, and any other key with the algorithm of its curve. `EdDSA` and `Ed25519` are two
    /// names of one algorithm (RFC 9864); accepting one of them accepts both.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets the expected issuer (`iss`), which is then required. The comparison is exact: a
    /// trailing slash or another case is a different issuer.
    ///
    /// May be called repeatedly for several names of one issuer, such as
    /// `https://accounts.google.com` and `accounts.google.com`. Every name is accepted with every
    /// key of this verifier. For issuers with different keys use
    /// [`Verifier::by_issuer`](super::Verifier::by_issuer).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuers.push(issuer.into());
        self
    }

    /// Accepts tokens of any issuer, and tokens without one.
    ///
    /// For keys from a URL, [`build`](Self::build) requires this setting or an
    /// [`issuer`](Self::issuer). For a key set from a file or from code both are optional; without
    /// them a warning is logged.
    ///
    /// # Security
    ///
    /// Some providers sign for many issuers with one key set, as Entra ID does for every tenant.
    /// Each of those issuers can then create tokens for any of your subjects (RFC 8725 §3.8).
    pub fn dangerous_any_issuer(mut self) -> Self {
        self.policy.by_issuer = true;
        self
    }

    /// Adds an expected audience (`aud`), which is then required. If several are set, one must
    /// match.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.audiences.push(audience.into());
        self
    }

    /// Sets the clients whose tokens are accepted: `client_id`, else `azp`, compared exactly. For
    /// other claims see [`client_id_claim`](Self::client_id_claim).
    ///
    /// Without [`audience`](Self::audience), the client takes the place of the audience, because
    /// some issuers (Amazon Cognito) write no `aud` into access tokens. If `aud` is present, it
    /// must name one of the clients (RFC 8725 §3.9). ID tokens are refused, even with
    /// [`dangerous_any_token_use`](Self::dangerous_any_token_use). [`build`](Self::build) refuses
    /// an empty list.
    pub fn client_ids<I>(mut self, clients: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let before = self.policy.clients.len();
        self.policy
            .clients
            .extend(clients.into_iter().map(Into::into));
        self.no_clients |= self.policy.clients.len() == before;
        self
    }

    /// Accepts tokens for any audience.
    ///
    /// # Security
    ///
    /// Any other service that receives tokens of the same issuer can then use its users' tokens
    /// here (RFC 9700 §2.3, RFC 8725 §3.9).
    pub fn dangerous_any_audience(mut self) -> Self {
        self.policy.any_audience = true;
        self
    }

    /// Accepts tokens that state another use than access.
    ///
    /// By default a token is refused if `type`, `typ`, `token_use`, `token_type`, `tokenType` or
    /// `use` in its claims names a refresh, logout, reset, verification, activation, invitation,
    /// magic link, MFA, OTP or ID token. The cause of the refusal names the claim and its value.
    /// Security event tokens (`events`, RFC 8417 §2.2) and ID tokens with `at_hash`, `c_hash` or
    /// `s_hash` are still refused.
    ///
    /// # Security
    ///
    /// A token from a password-reset mail, or a refresh token with a lifetime of months, then works
    /// as an access token (RFC 8725 §3.12).
    pub fn dangerous_any_token_use(mut self) -> Self {
        self.policy.any_use = true;
        self
    }

    /// Accepts ID tokens (OpenID Connect Core §2): tokens with `at_hash`, `c_hash` or `s_hash`, or
    /// with a use such as `token_use: id`.
    ///
    /// An [`audience`](Self::audience) must be set: the identifier of the client.
    ///
    /// By default such tokens are refused, whatever their audience is. An ID token without any of
    /// these claims cannot be distinguished from an access token. If an API expects its client's
    /// identifier as the audience, only [`rfc9068`](Self::rfc9068) or
    /// [`required_typ`](Self::required_typ) with `at+jwt` excludes ID tokens.
    ///
    /// # Security
    ///
    /// An ID token reports a sign-in to a client and grants no access. Clients handle it with less
    /// care, and it contains no scope that limits the request (RFC 9068 §5).
    pub fn dangerous_accept_id_tokens(mut self) -> Self {
        self.policy.id_tokens = true;
        self
    }

    /// Sets the accepted clock difference between issuer and verifier. The default is 60 s, the
    /// maximum 300 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.policy.leeway = leeway;
        self
    }

    /// Sets the maximum time since the token was issued. The claim `iat` is then required.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age);
        self
    }

    /// Accepts tokens that never expire.
    ///
    /// # Security
    ///
    /// A stolen token without `exp` works until its key is removed.
    pub fn dangerous_optional_expiry(mut self) -> Self {
        self.policy.require_expiry = false;
        self
    }

    /// Accepts expired tokens.
    ///
    /// # Security
    ///
    /// Every token that ever leaked from a log or a backup works again.
    pub fn dangerous_ignore_expiry(mut self) -> Self {
        self.policy.check_expiry = false;
        self
    }

    /// Accepts tokens before their `nbf`.
    ///
    /// # Security
    ///
    /// A token issued for a later time works immediately.
    pub fn dangerous_ignore_not_before(mut self) -> Self {
        self.policy.check_not_before = false;
        self
    }

    /// Sets the only accepted `typ`, compared without case and without `application/`.
    ///
    /// By default a token may have no `typ`, `JWT` or `at+jwt`. The types of other tokens
    /// (`logout+jwt`, `dpop+jwt`, …) cannot be accepted. With `conv+jwt`, only
    /// [conversation tokens](Self::allow_conversation_tokens) are accepted.
    pub fn required_typ(mut self, typ: impl Into<String>) -> Self {
        self.required_typ = Some(typ.into());
        self
    }

    /// Accepts tokens for a single conversation in addition (`conv+jwt`,
    /// [`Sessions::conversation_token`](../server/session/struct.Sessions.html#method.conversation_token)), for the
    /// routes and sockets of a chat. By default they are refused, as other types are.
    ///
    /// # Security
    ///
    /// Routes for anything other than chat must refuse a caller with a
    /// [conversation](crate::Principal::conversation).
    pub fn allow_conversation_tokens(mut self) -> Self {
        self.policy.conversations = true;
        self
    }

    /// Accepts only access tokens of [RFC 9068]: `typ` is `at+jwt`, and the claims `iss`, `exp`,
    /// `aud`, `sub`, `client_id`, `iat` and `jti` are required. An issuer and an audience must be
    /// set.
    ///
    /// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
    pub fn rfc9068(mut self) -> Self {
        self.policy.typ = Typ::Rfc9068;
        self
    }

    /// Adds a place from which roles are read: a claim's name, or a JSON Pointer (RFC 6901) if it
    /// starts with `/`. A step of the pointer may be an array index: `/groups/0`.
    ///
    /// May be called repeatedly; the roles of all places are merged. The default is `roles` and
    /// `role`. The value is a string with one role, or a list of strings. For other forms see
    /// [`roles_at_as`](Self::roles_at_as). A value of another form, including `null`, yields no
    /// roles, and the caller has [unreadable roles](crate::Principal::has_unreadable_roles).
    pub fn roles_at(self, path: impl Into<String>) -> Self {
        self.roles_at_as(path, RoleForm::Strings)
    }

    /// Adds a place from which roles are read, as [`roles_at`](Self::roles_at) does, with the form
    /// of its value.
    ///
    /// If the form differs between tokens, add the same place with several forms.
    pub fn roles_at_as(mut self, path: impl Into<String>, form: RoleForm) -> Self {
        let paths = self.role_paths.get_or_insert_default();
        paths.push((path.into(), form));
        self
    }

    /// Adds a place from which scope tokens are read, in addition to `scope` and `scp`: a claim's
    /// name, or a JSON Pointer as in [`roles_at`](Self::roles_at).
    ///
    /// The value is a string of tokens separated by spaces, or a list of strings with one token
    /// each. Laravel Passport writes the list `scopes`.
    pub fn scope_at(mut self, path: impl Into<String>) -> Self {
        self.scope_paths.push(path.into());
        self
    }

    /// Sets the claim from which the [subject](crate::Principal::subject) is read, instead of
    /// `sub`.
    ///
    /// The value is a string or a whole number, which is converted to decimal text. Django REST
    /// framework's SimpleJWT writes `user_id`. A token without the claim has no subject. A token
    /// with a value of another type is refused.
    pub fn subject_claim(mut self, claim: impl Into<String>) -> Self {
        self.subject_claim = Some(claim.into());
        self
    }

    /// Adds a claim from which the [client](crate::Principal::client_id) is read. The first claim
    /// that is present is used, in the order of the calls. A token with a value that is not a
    /// string is refused.
    ///
    /// These claims replace the default, which is `client_id`, then `azp`. Entra ID's tokens of
    /// version 1.0 and AD FS use `appid`, Okta uses `cid`.
    pub fn client_id_claim(mut self, claim: impl Into<String>) -> Self {
        let claims = self.client_claims.get_or_insert_default();
        claims.push(claim.into());
        self
    }

    /// Adds the roles of *every* client in Keycloak's `resource_access`.
    ///
    /// # Security
    ///
    /// Anyone who can grant `admin` in another client of the realm can then grant `admin` here.
    pub fn dangerous_roles_of_all_clients(mut self) -> Self {
        self.all_clients = true;
        self
    }

    /// Applies the preset of a known provider: its issuer, the places of its roles, and the
    /// specifics of its tokens. Only one preset is allowed. If [`issuer`](Self::issuer) is also
    /// called, one of its names must be the preset's issuer.
    pub fn provider(mut self, preset: Provider) -> Self {
        self.presets.push(preset);
        self
    }

    /// Sets the maximum length of a token in bytes. The default is 16 KiB.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Accepts base64url segments with `=` padding, as AWS Application Load Balancers send them.
    ///
    /// # Security
    ///
    /// RFC 7515 §2 forbids padding. With it a token has several spellings, so tokens must not be
    /// identified by their text, for example in a deny list of token hashes.
    pub fn dangerous_allow_padding(mut self) -> Self {
        self.padded = true;
        self
    }

    /// Sets the size of the cache, as a number of verified tokens of up to 853 bytes. The default is
    /// 10 000.
    ///
    /// A token that is sent again is looked up as a whole and not verified again, as long as it has
    /// not expired and the keys of the source have not changed. Requests with the same token share
    /// one [`Verified`].
    ///
    /// The cache is limited in bytes: a longer token takes the place of several. Nothing is cached if
    /// [`KeySource::generation`](crate::key::KeySource::generation) returns `None`. For the sizes,
    /// memory use, admission and eviction see [the manual](crate::manual::remembered).
    pub fn cache_capacity(mut self, tokens: usize) -> Self {
        self.cache = tokens;
        self
    }

    /// Stores a digest of each token in the cache (BLAKE3 under a random key of this verifier)
    /// instead of the token. A memory dump then contains no cached token that could be
    /// used again.
    ///
    /// The claims are stored as before, the signature is not. The digest is computed for every
    /// request and costs about as much as an HS256 signature. Most of the speed-up remains for RSA,
    /// ECDSA and EdDSA, and some of it for HMAC; see the [figures](crate::manual::remembered).
    pub fn cache_by_digest(mut self) -> Self {
        self.cache_by_digest = true;
        self
    }

    /// Disables the cache: every token is verified again, and none is kept in memory.
    pub fn without_cache(self) -> Self {
        self.cache_capacity(0)
    }

    /// Sets the clock. The default is the operating system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Introspects the tokens that are no JWTs (RFC 7662): opaque tokens of the issuer whose JWTs this
    /// verifier's keys verify. With [`all_tokens`](Introspection::all_tokens) JWTs are introspected, too,
    /// after their signature.
    ///
    /// The answer is checked as the claims of a JWT are: issuer (if present), times, audience, use, client,
    /// binding, the application's check. [`rfc9068`](Self::rfc9068) and
    /// [`required_typ`](Self::required_typ) apply to JWTs only. `build` must be called within a tokio
    /// runtime.
    ///
    /// # Security
    ///
    /// Set an [`audience`](Self::audience). Some servers call refresh tokens active, and only their missing
    /// audience distinguishes them from access tokens.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn introspection(mut self, settings: Introspection) -> Self {
        self.introspection = Some(settings);
        self
    }

    /// Sets the application's type for the claims. A token that does not match it is refused.
    ///
    /// Call this before [`validate_with`](Self::validate_with), which receives that type.
    pub fn claims<T>(self) -> VerifierBuilder<T> {
        VerifierBuilder {
            check_lost: self.check_lost || self.check.is_some(),
            keys: self.keys,
            algorithms: self.algorithms,
            policy: self.policy,
            role_paths: self.role_paths,
            scope_paths: self.scope_paths,
            subject_claim: self.subject_claim,
            client_claims: self.client_claims,
            presets: self.presets,
            all_clients: self.all_clients,
            no_clients: self.no_clients,
            required_typ: self.required_typ,
            max_bytes: self.max_bytes,
            cache: self.cache,
            cache_by_digest: self.cache_by_digest,
            padded: self.padded,
            clock: self.clock,
            #[cfg(feature = "jwks")]
            introspection: self.introspection,
            check: None,
            claims: PhantomData,
        }
    }

    /// Adds a custom check after all others. With the cache it may be called once per token instead
    /// of once per request, so it must depend only on the claims.
    ///
    /// [`CheckError::rejected`] refuses the token (401). [`CheckError::unavailable`] means that the
    /// check cannot decide now (503).
    pub fn validate_with<F>(mut self, check: F) -> Self
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

impl<C> fmt::Debug for VerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").finish_non_exhaustive()
    }
}

/// RFC 7519 §4.1.4: "no more than a few minutes".
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// Longer than any real token, and the usual limit of servers for a header.
pub(super) const DEFAULT_MAX_BYTES: usize = 16 * 1024;
/// More callers than most processes serve within the lifetime of a token, in a few tens of MiB.
pub(super) const DEFAULT_CACHE: usize = 10_000;
