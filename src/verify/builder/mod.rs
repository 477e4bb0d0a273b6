//! Builds a verifier: what is decided, and by default.

mod build;

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use super::{
    CheckError, Preset, Verified,
    examine::Check,
    keys::Keys,
    place::{ClaimMap, RoleForm},
    policy::{Policy, Typ},
    preset::Dialect,
};
use crate::{
    claims::Claims,
    clock::{Clock, SystemClock},
    error::ConfigError,
    key::Algorithm,
};

/// Builds a [`Verifier`](super::Verifier). Mistakes in the input are reported by [`build`](Self::build).
#[must_use = "nothing is verified before `build` is called"]
pub struct VerifierBuilder<C = Claims> {
    keys: Result<Keys, ConfigError>,
    algorithms: Option<Vec<Algorithm>>,
    policy: Policy,
    role_paths: Option<Vec<(String, RoleForm)>>,
    scope_paths: Vec<String>,
    subject_claim: Option<String>,
    client_claims: Option<Vec<String>>,
    presets: Vec<Preset>,
    all_clients: bool,
    /// `client_ids` was called without a client.
    no_clients: bool,
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
                any_issuer: false,
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

    /// Sets the issuer that is expected and so required (`iss`), compared exactly: a trailing slash or
    /// another case is another issuer.
    ///
    /// May be repeated for several names of one issuer: `https://accounts.google.com` and
    /// `accounts.google.com`. All of them are accepted for all keys of this verifier. Issuers with
    /// keys of their own belong into [`Verifier::any_issuer`](super::Verifier::any_issuer).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuers.push(issuer.into());
        self
    }

    /// Accepts tokens of any issuer, or of none.
    ///
    /// Keys from a URL need this or an [`issuer`](Self::issuer): [`build`](Self::build) refuses them
    /// otherwise. A key set from a file or from code may go without; then a warning is logged.
    ///
    /// # Security
    ///
    /// Some providers sign for many issuers with one key set, as Entra ID does for every tenant. Each
    /// of them can then write tokens for any subject of yours (RFC 8725 §3.8).
    pub fn dangerous_any_issuer(mut self) -> Self {
        self.policy.any_issuer = true;
        self
    }

    /// The audience that is expected and so required (`aud`). May be repeated: one must match.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.audiences.push(audience.into());
        self
    }

    /// Sets the clients whose tokens are accepted: `client_id`, else `azp`, compared exactly. For
    /// other claims see [`client_id_claim`](Self::client_id_claim).
    ///
    /// Without [`audience`](Self::audience) the client takes the audience's place, because some
    /// issuers (Amazon Cognito) write no `aud` into access tokens. An `aud` that is present must
    /// then name one of the clients (RFC 8725 §3.9), and ID tokens are refused whatever else is
    /// accepted. An empty list is refused by [`build`](Self::build).
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
    /// A token from a password-reset mail, or a refresh token that lives for months, then works as
    /// an access token (RFC 8725 §3.12).
    pub fn dangerous_any_token_use(mut self) -> Self {
        self.policy.any_use = true;
        self
    }

    /// Accepts ID tokens (OpenID Connect Core §2), whether they are recognised by `at_hash`,
    /// `c_hash` or `s_hash`, or by a use such as `token_use: id`.
    ///
    /// An [`audience`](Self::audience) must be named: the client's identifier.
    ///
    /// By default such tokens are refused whatever their audience. An ID token without any of these
    /// claims looks like an access token. If an API expects its client's identifier as the audience,
    /// only [`rfc9068`](Self::rfc9068) or [`required_typ`](Self::required_typ) with `at+jwt` keeps
    /// ID tokens out.
    ///
    /// # Security
    ///
    /// An ID token reports a sign-in to a client, and grants nothing. Clients pass it around with
    /// less care, and it carries no scope that limits the request (RFC 9068 §5).
    pub fn dangerous_accept_id_tokens(mut self) -> Self {
        self.policy.id_tokens = true;
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
    /// (`logout+jwt`, `dpop+jwt`, …) are refused whatever is said here. `conv+jwt` accepts
    /// [`conversation_tokens`](Self::conversation_tokens) alone.
    pub fn required_typ(mut self, typ: impl Into<String>) -> Self {
        self.required_typ = Some(typ.into());
        self
    }

    /// Accepts tokens for one conversation besides (`conv+jwt`,
    /// [`Sessions::conversation_token`](crate::session::Sessions::conversation_token)): for a chat's
    /// routes and sockets. By default they are refused, as other types are.
    ///
    /// # Security
    ///
    /// A route that does anything else than chat must not be satisfied with a caller who has a
    /// [conversation](crate::Principal::conversation).
    pub fn conversation_tokens(mut self) -> Self {
        self.policy.conversations = true;
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

    /// Adds a place that roles are read from: a claim's name, or a JSON Pointer (RFC 6901) if it
    /// starts with `/`. A step of the pointer may be an index of an array: `/groups/0`.
    ///
    /// May be repeated; the roles of all places are merged. By default `roles` and `role`. The
    /// value is a string, one role, or a list of strings; for others see
    /// [`roles_at_as`](Self::roles_at_as). A value of another form, `null` included, holds no roles
    /// that are read, and makes the caller one with
    /// [unreadable roles](crate::Principal::has_unreadable_roles).
    pub fn roles_at(self, path: impl Into<String>) -> Self {
        self.roles_at_as(path, RoleForm::Strings)
    }

    /// Adds a place that roles are read from, as [`roles_at`](Self::roles_at), and the form in which
    /// they are there.
    ///
    /// One place may be named with several forms, if tokens differ.
    pub fn roles_at_as(mut self, path: impl Into<String>, form: RoleForm) -> Self {
        let paths = self.role_paths.get_or_insert_default();
        paths.push((path.into(), form));
        self
    }

    /// Adds a place that scope tokens are read from, in addition to `scope` and `scp`: a claim's
    /// name, or a JSON Pointer as in [`roles_at`](Self::roles_at).
    ///
    /// The value is a string with spaces between the tokens, or a list with one token in each
    /// string. Laravel Passport writes the list `scopes`.
    pub fn scope_at(mut self, path: impl Into<String>) -> Self {
        self.scope_paths.push(path.into());
        self
    }

    /// Sets the claim that the [subject](crate::Principal::subject) is read from, instead of `sub`.
    ///
    /// The value is a string or a whole number; a number becomes its decimal text. Django REST
    /// framework's SimpleJWT writes `user_id`. A token without the claim has no subject. A value of
    /// another type refuses the token.
    pub fn subject_claim(mut self, claim: impl Into<String>) -> Self {
        self.subject_claim = Some(claim.into());
        self
    }

    /// Adds a claim that the [client](crate::Principal::client_id) is read from. The first one that
    /// is present counts, in the order of the calls; a value that is no string refuses the token.
    ///
    /// The named claims replace the default, which is `client_id`, then `azp`. Entra ID's tokens of
    /// version 1.0 and AD FS write `appid`, Okta writes `cid`.
    pub fn client_id_claim(mut self, claim: impl Into<String>) -> Self {
        let claims = self.client_claims.get_or_insert_default();
        claims.push(claim.into());
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
    /// over 4 KiB are not remembered, nor are those whose [`KeySource`](crate::key::KeySource) says
    /// nothing of its [`generation`](crate::key::KeySource::generation). What it takes in memory, and
    /// what becomes of expired tokens, stands in [the manual](crate::manual::remembered).
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
            scope_paths: self.scope_paths,
            subject_claim: self.subject_claim,
            client_claims: self.client_claims,
            presets: self.presets,
            all_clients: self.all_clients,
            no_clients: self.no_clients,
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

impl<C> fmt::Debug for VerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").finish_non_exhaustive()
    }
}

/// RFC 7519 §4.1.4 speaks of "no more than a few minutes".
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// Above any real token, and at the limit that servers put on a header anyway.
pub(super) const DEFAULT_MAX_BYTES: usize = 16 * 1024;
/// More callers than most processes serve within the lifetime of a token, and a few tens of MiB.
const DEFAULT_CACHE: usize = 10_000;
