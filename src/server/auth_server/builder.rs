//! The builder of a login server.

use std::{fmt, sync::Arc};

use super::AuthServer;
use crate::{
    error::ConfigError,
    event::EventSink,
    key::SigningKey,
    layer::{dpop::Dpop, rate_limit::ClientIp},
    revocation::{RevocationCheck, RevocationChecks},
    secret::SecretKey,
    server::{
        endpoints::AuthEndpointsBuilder,
        issue::{KeyRing, TokenIssuerBuilder},
        login::{
            EmailClaims, IdentityProvider, Login, LoginBuilder, PasskeyAuthority, SecondStepPolicy,
            TakeOverHook, UnknownIdentity,
        },
        mail::{MailFlows, MailFlowsBuilder, Mailer},
        refresh::RefreshPolicy,
        session::{ClaimHook, ClaimsSource, GuestsBuilder, Sessions, SessionsBuilder},
        settings::AuthSettings,
    },
    store::port::{AuthStore, UserStore},
};

/// A builder of an [`AuthServer`].
///
/// The values come from [`settings`](Self::settings), from the methods below, or from both: a value
/// that is set in code takes precedence. Without either, only the issuer or the public origin is
/// required.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::{AuthServer, secret::SecretKey, store::MemoryStore};
///
/// let auth = AuthServer::builder(MemoryStore::new())
///     .public_origin("https://app.example")
///     .secret(SecretKey::generate()) // the same on all nodes: "…".parse()?
///     .registration(true)
///     .sessions(|sessions| sessions.max_sessions(10))
///     .start()
///     .await?;
/// assert_eq!(auth.issuer().issuer(), "https://app.example");
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
#[must_use = "nothing runs before `start`"]
pub struct AuthServerBuilder<S, U = S> {
    pub(super) store: S,
    pub(super) users: U,
    pub(super) settings: Option<AuthSettings>,
    pub(super) issuer: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) keys: Option<Result<KeyRing, ConfigError>>,
    pub(super) secret: Option<SecretKey>,
    pub(super) policy: Option<RefreshPolicy>,
    pub(super) public_origin: Option<String>,
    pub(super) registration: Option<bool>,
    pub(super) clients: Option<ClientIp>,
    pub(super) checks: RevocationChecks,
    pub(super) events: Option<Arc<dyn EventSink>>,
    pub(super) has_guests: bool,
    pub(super) mailer: Option<NewMails>,
    pub(super) has_totp: bool,
    /// `None`: the settings decide. `Some(None)`: no proof is accepted.
    pub(super) dpop: Option<Option<Dpop>>,
    pub(super) changes: Changes,
}

/// Creates the builder of the mails for a login and an origin.
pub(super) type NewMails = Box<dyn FnOnce(Login, Sessions, &str) -> MailFlowsBuilder + Send>;

/// The changes to the builders of the parts, in the order of the calls.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) tokens: Vec<Change<TokenIssuerBuilder>>,
    pub(super) sessions: Vec<Change<SessionsBuilder>>,
    pub(super) login: Vec<Change<LoginBuilder>>,
    pub(super) guests: Vec<Change<GuestsBuilder>>,
    pub(super) mail: Vec<Change<MailFlowsBuilder>>,
    pub(super) endpoints: Vec<Change<AuthEndpointsBuilder>>,
}

pub(super) type Change<B> = Box<dyn FnOnce(B) -> B + Send>;

impl<S: AuthStore> AuthServerBuilder<S> {
    pub(super) fn new(store: S) -> Self {
        Self {
            users: store.clone(),
            store,
            settings: None,
            issuer: None,
            audiences: Vec::new(),
            keys: None,
            secret: None,
            policy: None,
            public_origin: None,
            registration: None,
            clients: None,
            checks: RevocationChecks::new(),
            events: None,
            has_guests: false,
            mailer: None,
            has_totp: false,
            dpop: None,
            changes: Changes::default(),
        }
    }
}

impl<S, U> AuthServerBuilder<S, U> {
    /// Sets the values from the environment.
    pub fn settings(mut self, settings: AuthSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Sets the users, instead of those in the store: your users table.
    ///
    /// Logins, password changes and registrations use it. Roles and disabled accounts are read from it
    /// at every refresh, unless there is a [`claims_source`](Self::claims_source).
    pub fn users<V: UserStore>(self, users: V) -> AuthServerBuilder<S, V> {
        AuthServerBuilder {
            users,
            store: self.store,
            settings: self.settings,
            issuer: self.issuer,
            audiences: self.audiences,
            keys: self.keys,
            secret: self.secret,
            policy: self.policy,
            public_origin: self.public_origin,
            registration: self.registration,
            clients: self.clients,
            checks: self.checks,
            events: self.events,
            has_guests: self.has_guests,
            mailer: self.mailer,
            has_totp: self.has_totp,
            dpop: self.dpop,
            changes: self.changes,
        }
    }

    /// Sets the source of the claims in access tokens, which is called at every login and refresh. The
    /// default reads the roles of the [users](Self::users).
    pub fn claims_source(self, source: impl ClaimsSource) -> Self {
        self.sessions(|sessions| sessions.claims_source(source))
    }

    /// Enables guests, and sets the hook that moves a guest's data when the guest becomes a user. A hook
    /// that fails is called again by a background task.
    pub fn on_claim(self, hook: impl ClaimHook) -> Self {
        self.guests(|guests| guests.on_claim(hook))
    }

    /// Sets the sender of mails, and enables the [endpoints](crate::server::endpoints) for resets and
    /// verifications, and notices. It needs a public origin, to which the links lead.
    ///
    /// A background task sends the mails. [`AuthServer::flush_mail`] waits for it before the process
    /// ends.
    pub fn mailer(mut self, mailer: impl Mailer) -> Self {
        self.mailer = Some(Box::new(|login, sessions, origin| {
            MailFlows::builder(mailer, login, sessions, origin)
        }));
        self
    }

    /// Enables authenticator apps and recovery codes. `name` is the name of the service in the apps.
    ///
    /// A user enrols over the [endpoints](crate::server::endpoints#second-step). From then on, sign-ins of
    /// the user need a code. The [manual](crate::manual::recipes::second_factor) has a recipe.
    ///
    /// A store that outlives the process also needs a [`secret`](Self::secret), because the secrets of
    /// authenticators are encrypted under it.
    #[cfg(feature = "totp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
    pub fn totp(mut self, name: impl Into<String>) -> Self {
        self.has_totp = true;
        let name = name.into();
        self.login(|login| login.totp(name))
    }

    /// Sets a policy that may ask for another factor after the first one, beside the built-in one of
    /// `totp`. See [`SecondStepPolicy`].
    pub fn second_step(self, policy: impl SecondStepPolicy) -> Self {
        self.login(|login| login.second_step(policy))
    }

    /// Lets users remember a device for this long, on which they have proved a second factor; off by
    /// default. See [`LoginBuilder::remember_devices`].
    #[cfg(feature = "totp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
    pub fn remember_devices(self, lifetime: std::time::Duration) -> Self {
        self.login(move |login| login.remember_devices(lifetime))
    }

    /// Sets the claims about the user's address in access tokens: `email_verified`, and `email` if chosen.
    /// None by default.
    pub fn email_claims(self, claims: EmailClaims) -> Self {
        self.login(move |login| login.email_claims(claims))
    }

    /// Adds a hook that removes what your application keeps for an account, before the owner of an address that
    /// was never verified takes the account over. [API keys](crate::layer::api_key::ApiKeys) in the store of the
    /// server need none. See [`TakeOverHook`].
    pub fn on_take_over(self, hook: impl TakeOverHook) -> Self {
        self.login(|login| login.on_take_over(hook))
    }

    /// Adds an identity provider with which users sign in, such as `"google"`. May be called repeatedly, with
    /// different names. It needs a public origin. The [manual](crate::manual::recipes::oidc) has a recipe.
    pub fn identity_provider(
        self,
        name: impl Into<String>,
        provider: impl IdentityProvider,
    ) -> Self {
        let name = name.into();
        self.endpoints(|endpoints| endpoints.identity_provider(name, provider))
    }

    /// Sets the treatment of an identity that no user has. By default the sign-in is refused.
    ///
    /// With [`CreateAccount`](UnknownIdentity::CreateAccount) a sign-in creates an account, if the provider
    /// has verified the address. An account of this address that was never verified is taken over first. The
    /// users must implement [`create`](crate::store::port::UserStore::create) and
    /// [keep addresses](crate::store::port::UserStore::keeps_email).
    ///
    /// # Security
    ///
    /// See [`Identities::sign_up`](crate::server::login::Identities::sign_up).
    pub fn on_unknown_identity(self, unknown: UnknownIdentity) -> Self {
        self.endpoints(move |endpoints| endpoints.on_unknown_identity(unknown))
    }

    /// Enables passkeys. `authority` verifies the responses of authenticators, by a library of your choice. It
    /// needs a public origin. The [manual](crate::manual::recipes::passkeys) has a recipe.
    pub fn passkeys(self, authority: impl PasskeyAuthority) -> Self {
        self.endpoints(|endpoints| endpoints.passkeys(authority))
    }

    /// Sets the rules for proofs of a key of the client (RFC 9449), for the endpoints and for the layer. A
    /// session that is started with a proof is [bound](crate::server::endpoints#bound-tokens) to its key.
    ///
    /// Without this method, a server with a public origin accepts proofs and requires none, or does what
    /// `AUTH_DPOP` says. `dpop` is built for the public origin.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::{
    ///     AuthServer, layer::dpop::Dpop, store::MemoryStore, verify::proof::Nonces,
    /// };
    ///
    /// let origin = "https://app.example";
    /// let nonces = Nonces::generate()?; // several nodes share a key: Nonces::with_key(…)
    /// let auth = AuthServer::builder(MemoryStore::new())
    ///     .public_origin(origin)
    ///     .dpop(Dpop::at(origin).nonces(nonces).required().build()?)
    ///     .start()
    ///     .await?;
    /// # drop(auth);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// ```
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(Some(dpop));
        self
    }

    /// Accepts no proofs, so that every token is a bearer token. Sessions that are bound to a key cannot be
    /// refreshed then.
    pub fn without_dpop(mut self) -> Self {
        self.dpop = Some(None);
        self
    }

    /// Sets the event sink of every part.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Some(Arc::new(sink));
        self
    }

    /// Adds a custom revocation check, for the layer and for sockets. May be called repeatedly: all
    /// checks apply, beside the revocations of the store.
    pub fn revocation(mut self, check: impl RevocationCheck) -> Self {
        self.checks = self.checks.and(check);
        self
    }

    /// Sets the issuer, the claim `iss`. The default is the public origin.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Adds an audience, a value of the claim `aud`. The default is the issuer.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the key that signs access tokens.
    ///
    /// Without a key, a server with a [`secret`](Self::secret) keeps its keys in the store, encrypted
    /// and shared by all nodes, and rotates them
    /// ([`SharedKeyRing`](crate::server::issue::SharedKeyRing)). A server without a secret generates a
    /// key that ends with the process.
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.keys = Some(KeyRing::new(key));
        self
    }

    /// Sets several signing keys, or keys with a custom rotation. See
    /// [`signing_key`](Self::signing_key) for the default.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(Ok(keys));
        self
    }

    /// Sets the server's secret. All nodes on one store need the same.
    ///
    /// Without a secret, only refresh tokens survive a restart:
    /// [`AuthSettings::secrets`](crate::AuthSettings::secrets).
    pub fn secret(mut self, secret: SecretKey) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets how lenient a refresh is; [`browser`](RefreshPolicy::browser) by default.
    pub fn policy(mut self, policy: RefreshPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets the origin under which browsers reach this server, such as `https://app.example`.
    ///
    /// Without settings there is no default: tokens are then returned in bodies only, and a request for
    /// cookies is answered with 400.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.public_origin = Some(origin.into());
        self
    }

    /// Enables registration; off by default. The users must implement
    /// [`UserStore::create`](crate::store::port::UserStore::create).
    ///
    /// # Security
    ///
    /// See [`AuthEndpointsBuilder::registration`].
    pub fn registration(mut self, open: bool) -> Self {
        self.registration = Some(open);
        self
    }

    /// Sets the source of a request's client address. The default is the peer of the connection, or,
    /// with settings, what `AUTH_TRUSTED_PROXIES` report.
    pub fn client_ip(mut self, clients: ClientIp) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Changes the builder of the issuer: clients, the lifetime of access tokens.
    ///
    /// The closure gets the builder after the settings were applied. May be called repeatedly. The same
    /// holds for the methods below.
    pub fn tokens(
        mut self,
        change: impl FnOnce(TokenIssuerBuilder) -> TokenIssuerBuilder + Send + 'static,
    ) -> Self {
        self.changes.tokens.push(Box::new(change));
        self
    }

    /// Changes the builder of the sessions: lifetimes, the number of sessions per user.
    ///
    /// The secret, the revocations, the confirmations and the event sink are set after it.
    pub fn sessions(
        mut self,
        change: impl FnOnce(SessionsBuilder) -> SessionsBuilder + Send + 'static,
    ) -> Self {
        self.changes.sessions.push(Box::new(change));
        self
    }

    /// Changes the builder of the login: the password policy, the hasher, a hard lock.
    ///
    /// The store of one-time tokens and the event sink are set after it.
    pub fn login(
        mut self,
        change: impl FnOnce(LoginBuilder) -> LoginBuilder + Send + 'static,
    ) -> Self {
        self.changes.login.push(Box::new(change));
        self
    }

    /// Enables guests, and changes the builder of the guests. Pass `|guests| guests` for the defaults.
    pub fn guests(
        mut self,
        change: impl FnOnce(GuestsBuilder) -> GuestsBuilder + Send + 'static,
    ) -> Self {
        self.has_guests = true;
        self.changes.guests.push(Box::new(change));
        self
    }

    /// Changes the builder of the mails: signing in by a code, the pages to which links lead, lifetimes.
    ///
    /// The event sink is set after it. It has no effect without a [`mailer`](Self::mailer).
    pub fn mail(
        mut self,
        change: impl FnOnce(MailFlowsBuilder) -> MailFlowsBuilder + Send + 'static,
    ) -> Self {
        self.changes.mail.push(Box::new(change));
        self
    }

    /// Changes the builder of the endpoints: the path, trusted origins, the limit of sign-ups.
    ///
    /// The event sink is set after it.
    pub fn endpoints(
        mut self,
        change: impl FnOnce(AuthEndpointsBuilder) -> AuthEndpointsBuilder + Send + 'static,
    ) -> Self {
        self.changes.endpoints.push(Box::new(change));
        self
    }
}

impl<S: AuthStore, U: UserStore> AuthServerBuilder<S, U> {
    /// Validates the values, loads keys and revocations, creates the seed users of the settings, and
    /// starts the background tasks.
    ///
    /// It waits up to 5 seconds for the revocations. If the store does not deliver them in that time,
    /// the server starts, requests with a token are answered with 503, and
    /// [`is_ready`](AuthServer::is_ready) returns `false` until it has.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with the variable or the method as its name:
    ///
    /// - neither an issuer nor a public origin is set, or one of them is invalid,
    /// - registration is enabled, or there are seed users, and the users do not implement
    ///   [`create`](crate::store::port::UserStore::create),
    /// - a trusted origin, a cookie prefix or a mailer is set without a public origin,
    /// - a seed user has an invalid name or password,
    /// - the store is unavailable, or the secret does not open its keys,
    /// - a part refuses its settings,
    /// - there is no tokio runtime.
    ///
    /// The other variants of [`ConfigError`] are those of the signing key.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. Keys and seed users may have been stored, and the next call finds
    /// them.
    pub async fn start(self) -> Result<AuthServer, ConfigError> {
        super::start::start(self).await
    }
}

impl<S, U> fmt::Debug for AuthServerBuilder<S, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthServerBuilder")
            .field("settings", &self.settings)
            .field("issuer", &self.issuer)
            .field("public_origin", &self.public_origin)
            .finish_non_exhaustive()
    }
}
