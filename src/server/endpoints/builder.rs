//! The builder of the endpoints.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    AuthEndpoints, CookieNames,
    cookies::trusted,
    flow::FlowKeys,
    identity::{Providers, check_name},
    service::Inner,
    signup_limit::SignupLimit,
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    layer::{
        dpop::Dpop,
        extract::{Bearer, Cookie, CsrfProofs, TokenExtractor, WithDpop},
        rate_limit::{ClientIp, RateLimitLayer},
    },
    secret::SecretKey,
    server::{
        login::{
            ErasedIdentityProvider, IdentityProvider, Login, PasskeyAuthority, UnknownIdentity,
        },
        mail::MailFlows,
        session::{Guests, Sessions},
    },
};

/// A builder for [`AuthEndpoints`].
#[must_use = "nothing is served before `build`"]
pub struct AuthEndpointsBuilder {
    sessions: Sessions,
    login: Login,
    secret: SecretKey,
    path: String,
    origin: Option<String>,
    trusted: Vec<String>,
    prefix: Option<String>,
    clients: ClientIp,
    body_timeout: Duration,
    registration: bool,
    guests: Option<Guests>,
    signup_limit: Option<RateLimitLayer>,
    mail: Option<MailFlows>,
    mail_limit: Option<RateLimitLayer>,
    flow_limit: Option<RateLimitLayer>,
    providers: Vec<(String, Arc<dyn ErasedIdentityProvider>)>,
    unknown: UnknownIdentity,
    passkeys: Option<Arc<dyn PasskeyAuthority>>,
    dpop: Option<Dpop>,
    events: Events,
    kept: Option<Arc<dyn Send + Sync>>,
}

impl AuthEndpointsBuilder {
    pub(super) fn new(sessions: Sessions, login: Login, secret: SecretKey) -> Self {
        Self {
            sessions,
            login,
            secret,
            path: "/api/auth".to_owned(),
            origin: None,
            trusted: Vec::new(),
            prefix: None,
            clients: ClientIp::peer(),
            body_timeout: DEFAULT_BODY_TIMEOUT,
            registration: false,
            guests: None,
            signup_limit: None,
            mail: None,
            mail_limit: None,
            flow_limit: None,
            providers: Vec::new(),
            unknown: UnknownIdentity::default(),
            passkeys: None,
            dpop: None,
            events: Events::default(),
            kept: None,
        }
    }

    /// Sets the public path of the endpoints, `/api/auth` by default. The refresh cookie has the same
    /// path. Requests to other paths are answered with 404.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the origin under which browsers reach this server. Without it there are no cookies: a
    /// request for tokens in cookies is answered with 400.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Adds another origin whose pages may sign in here, such as `https://www.app.example`. May be
    /// called repeatedly. Has no effect without a [public origin](Self::public_origin), because origins
    /// are not checked then.
    ///
    /// | the page and this server are | tokens in bodies | in cookies |
    /// |---|---|---|
    /// | of one site (`app.shop.example`, `api.shop.example`) | yes | yes; the CSRF proof is the response's `csrf_token`, because a page cannot read another host's cookie |
    /// | of two sites (`shop.example`, `api.example`) | yes | no, because all cookies are `SameSite` |
    /// | an app's or an extension's (`capacitor://localhost`, `http://tauri.localhost`) | yes | no, for the same reason |
    ///
    /// The responses also need CORS headers from a layer outside. With cookies, the CORS layer must
    /// send `Access-Control-Allow-Credentials`, and the page must use `credentials: "include"`.
    ///
    /// # Security
    ///
    /// A page of this origin can do everything that a page of your own can do. Do not add an origin
    /// under which others publish pages.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted.push(origin.into());
        self
    }

    /// Sets the prefix of all cookie names: [`CookieNames::prefix`]. Two servers on one host need
    /// different prefixes.
    pub fn cookie_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the source of a request's client address. The default is the peer of the connection.
    pub fn client_ip(mut self, clients: ClientIp) -> Self {
        self.clients = clients;
        self
    }

    /// Enables registration. Off by default.
    ///
    /// # Security
    ///
    /// - Each registration hashes a password and adds a row, and the login throttle does not limit it.
    ///   [`signup_rate_limit`](Self::signup_rate_limit) does, if client addresses are known.
    /// - The response 409 reveals that an account with the name exists, which a login never does. If
    ///   that must stay secret, leave registration off, and register users by an e-mail to their
    ///   address, with the same response in both cases.
    /// - Registration does not verify that the address belongs to the user. Do not trust a name as an
    ///   address before it is verified: see
    ///   [`require_verified`](crate::server::mail::MailFlowsBuilder::require_verified).
    pub fn registration(mut self, open: bool) -> Self {
        self.registration = open;
        self
    }

    /// Enables guests, and the linking of guests to accounts. Off by default. The guests must belong to
    /// the same sessions, or to a clone of them.
    ///
    /// # Security
    ///
    /// Any client can become a guest, as often as [`signup_rate_limit`](Self::signup_rate_limit) allows.
    pub fn guests(mut self, guests: Guests) -> Self {
        self.guests = Some(guests);
        self
    }

    /// Limits how many guests and accounts one client may create. Both count together. Requesting a
    /// guest again does not count. The default is 30 per hour for each network of
    /// [`client_ip`](Self::client_ip), all of which may be created in a burst. If the client address is
    /// unknown, the default has no limit. Above the limit the response is 429.
    ///
    /// Only the layer's key and counts are used. Its responder and its event sink are not.
    pub fn signup_rate_limit(mut self, limit: RateLimitLayer) -> Self {
        self.signup_limit = Some(limit);
        self
    }

    /// Enables the endpoints for mails: links for new passwords and for the verification of addresses,
    /// and notices. Off by default. The mails must belong to the same login, or to a clone of it.
    ///
    /// # Security
    ///
    /// A response never depends on the account: [`MailFlows`] look the user up after it. Requests are
    /// limited for each address, and for each client by [`mail_rate_limit`](Self::mail_rate_limit).
    pub fn mail(mut self, mail: MailFlows) -> Self {
        self.mail = Some(mail);
        self
    }

    /// Limits how many mails one client may request, for all addresses together. The default is 30 per
    /// hour for each network of [`client_ip`](Self::client_ip), all of which may be requested in a
    /// burst. If the client address is unknown, the default has no limit. Above the limit the response
    /// is 429.
    ///
    /// Only the layer's key and counts are used.
    pub fn mail_rate_limit(mut self, limit: RateLimitLayer) -> Self {
        self.mail_limit = Some(limit);
        self
    }

    /// Adds an identity provider with which users sign in. May be called repeatedly, with different names.
    /// The name is part of the endpoints' paths: 1 to 24 lower-case letters, digits and `-`.
    ///
    /// It needs a [public origin](Self::public_origin), and a login with a
    /// [store of credentials](crate::server::login::LoginBuilder::credentials). See
    /// [`endpoints`](super#identity-providers).
    pub fn identity_provider(
        mut self,
        name: impl Into<String>,
        provider: impl IdentityProvider,
    ) -> Self {
        self.providers.push((name.into(), Arc::new(provider)));
        self
    }

    /// Sets the treatment of an identity that no user has. By default the sign-in is refused.
    ///
    /// An account that a sign-in creates counts for the [`signup_rate_limit`](Self::signup_rate_limit). It
    /// does not need [`registration`](Self::registration).
    ///
    /// # Security
    ///
    /// See [`Identities::sign_up`](crate::server::login::Identities::sign_up).
    pub fn on_unknown_identity(mut self, unknown: UnknownIdentity) -> Self {
        self.unknown = unknown;
        self
    }

    /// Enables passkeys. `authority` verifies the responses of authenticators.
    ///
    /// It needs a [public origin](Self::public_origin), and a login with a
    /// [store of credentials](crate::server::login::LoginBuilder::credentials). See
    /// [`endpoints`](super#passkeys).
    pub fn passkeys(mut self, authority: impl PasskeyAuthority) -> Self {
        self.passkeys = Some(Arc::new(authority));
        self
    }

    /// Limits how many [flows](AuthEndpoints::begin_flow) one client may begin, for all names together. The
    /// default is 600 per hour for each network of [`client_ip`](Self::client_ip), all of which may begin in
    /// a burst. If the client address is unknown, the default has no limit. Above the limit the response is
    /// 429.
    ///
    /// Each flow is a row for ten minutes. The memory store keeps 100 000, and a new one replaces the oldest. The
    /// other stores have no maximum.
    ///
    /// Only the layer's key and counts are used.
    pub fn flow_rate_limit(mut self, limit: RateLimitLayer) -> Self {
        self.flow_limit = Some(limit);
        self
    }

    /// Accepts proofs of a key of the client (RFC 9449), and binds the sessions that are started with a proof
    /// to its key. Off by default.
    ///
    /// With [`required`](crate::layer::dpop::DpopBuilder::required), sessions without a key are neither
    /// started nor refreshed. It conflicts with an [identity provider](Self::identity_provider), because the
    /// redirect of a browser has no proof. See [`endpoints`](super#bound-tokens).
    ///
    /// The layers of your API need the same value ([`JwtAuthLayer::dpop`](crate::JwtAuthLayer::dpop)), or
    /// another one with the URL of the API.
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(dpop);
        self
    }

    /// Sets the event sink for requests that were refused because another site may have sent them. It
    /// receives [`AuthEvent::Denied`](crate::event::AuthEvent::Denied) with
    /// [`CrossSite`](crate::error::AuthErrorKind::CrossSite), as from a layer. A single event is
    /// typically a client without its CSRF proof. Many events indicate an attempt to sign users in or
    /// out.
    ///
    /// Logins and sessions report to the sinks of [`Login`](crate::server::login::LoginBuilder::events) and
    /// [`Sessions`](crate::server::session::SessionsBuilder::events).
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Sets the time for which a body is read: 10 seconds by default. A slower one is refused with 408.
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.body_timeout = limit;
        self
    }

    /// Keeps a value until the last clone of the endpoints is dropped.
    pub(crate) fn keeping(mut self, kept: Arc<dyn Send + Sync>) -> Self {
        self.kept = Some(kept);
        self
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Refuses settings of browsers that have no effect without a public origin.
    pub(crate) fn check_origin(&self) -> Result<(), ConfigError> {
        let refused = |name| {
            let problem = "has no effect without a public origin";
            Err(ConfigError::invalid(name, problem))
        };
        match self.origin {
            None if !self.trusted.is_empty() => refused("trusted_origin"),
            None if self.prefix.is_some() => refused("cookie_prefix"),
            _ => Ok(()),
        }
    }

    fn checked_providers(&self, has_origin: bool) -> Result<Providers, ConfigError> {
        let refused = |problem| Err(ConfigError::invalid("identity_provider", problem));
        let mut providers = Providers::new();
        for (name, provider) in &self.providers {
            check_name(name)?;
            if providers
                .insert(name.clone(), Arc::clone(provider))
                .is_some()
            {
                return refused("two providers have the same name");
            }
        }
        match providers.is_empty() {
            true => Ok(providers),
            false if !has_origin => refused("needs a public origin"),
            false if self.dpop.as_ref().is_some_and(Dpop::is_required) => {
                refused("conflicts with required proofs of a key: a redirect has none")
            }
            false if !self.login.has_credentials() => {
                refused("needs a store of credentials (`LoginBuilder::credentials`)")
            }
            false => Ok(providers),
        }
    }

    /// Builds the service.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if an origin or the path is invalid (see [`CookieNames::new`]), if the
    /// guests belong to other sessions or the mails to another login, if registration is enabled and the users do not implement
    /// [`create`](crate::store::port::UserStore::create), if there is an identity provider and proofs are required, or if the
    /// issuer has keys that cannot verify.
    pub fn build(self) -> Result<AuthEndpoints, ConfigError> {
        let cookies = match (&self.origin, &self.prefix) {
            (Some(origin), Some(prefix)) => {
                Some(CookieNames::new(origin, &self.path)?.prefix(prefix)?)
            }
            (Some(origin), None) => Some(CookieNames::new(origin, &self.path)?),
            (None, _) => None,
        };
        let foreign = |guests: &Guests| !guests.sessions().is_same(&self.sessions);
        if self.guests.as_ref().is_some_and(foreign) {
            return Err(ConfigError::invalid(
                "guests",
                "must belong to the sessions of the endpoints",
            ));
        }
        if self.registration && !self.login.users().can_create() {
            return Err(ConfigError::invalid(
                "registration",
                "the user store does not create users (`UserStore::can_create`)",
            ));
        }
        let users = self.login.users();
        if self.unknown == UnknownIdentity::CreateAccount
            && !(users.can_create() && users.keeps_email())
        {
            return Err(ConfigError::invalid(
                "on_unknown_identity",
                "the user store does not create users with verified addresses \
                 (`UserStore::can_create`, `UserStore::keeps_email`)",
            ));
        }
        if self
            .mail
            .as_ref()
            .is_some_and(|mail| !mail.is_of(&self.login))
        {
            return Err(ConfigError::invalid(
                "mail",
                "must belong to the login of the endpoints",
            ));
        }
        if self.body_timeout.is_zero() {
            return Err(ConfigError::invalid("body_timeout", "zero"));
        }
        self.login.check_second_step()?;
        let providers = self.checked_providers(cookies.is_some())?;
        if self.passkeys.is_some() && !(cookies.is_some() && self.login.has_credentials()) {
            let problem = "need a public origin, and a store of credentials";
            return Err(ConfigError::invalid("passkeys", problem));
        }
        let trusted = self.trusted.iter().map(|origin| trusted(origin));
        let trusted = trusted.collect::<Result<Vec<_>, _>>()?;
        // Applies also to the sessions that the application holds: roles come from the user store.
        self.sessions.default_claims(self.login.user_claims());
        let issuer = self.sessions.issuer();
        let proofs = CsrfProofs::new(&self.secret);
        let extractor = match &cookies {
            Some(cookies) => {
                let cookie = Cookie::new(cookies.access())?.public_origin(cookies.origin())?;
                let mut trusted = trusted.iter();
                let cookie =
                    trusted.try_fold(cookie, |cookie, origin| cookie.trusted_origin(origin))?;
                let cookie = match cookies.is_secure() {
                    true => cookie,
                    false => cookie.plain_http(),
                };
                Some(cookie.split().csrf_proofs(proofs.clone()))
            }
            None => None,
        };
        let header: Arc<dyn TokenExtractor> = match &self.dpop {
            None => Arc::new(Bearer::new()),
            Some(dpop) => Arc::new(WithDpop {
                inner: Arc::new(Bearer::new()),
                only_authorization: true,
                required: dpop.is_required(),
            }),
        };
        let inner = Inner {
            header,
            dpop: self.dpop,
            verifier: issuer.verifier().without_cache().build()?,
            expired: issuer
                .verifier()
                .without_cache()
                .allow_conversation_tokens()
                .dangerous_ignore_expiry()
                .build()?,
            path: self.path.trim_end_matches('/').to_owned(),
            sessions: self.sessions,
            login: self.login,
            registration: self.registration,
            guests: self.guests,
            signup_limit: SignupLimit::new(self.signup_limit, AN_HOUR, &self.clients),
            mail: self.mail,
            mail_limit: SignupLimit::new(self.mail_limit, AN_HOUR, &self.clients),
            flow_limit: SignupLimit::new(self.flow_limit, FLOWS_AN_HOUR, &self.clients),
            providers,
            unknown: self.unknown,
            passkeys: self.passkeys,
            flows: FlowKeys::new(&self.secret),
            clients: self.clients,
            body_timeout: self.body_timeout,
            events: self.events,
            cookies,
            extractor,
            proofs,
            _kept: self.kept,
        };
        Ok(AuthEndpoints {
            inner: Arc::new(inner),
            nested: false,
        })
    }
}

impl std::fmt::Debug for AuthEndpointsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthEndpointsBuilder")
            .finish_non_exhaustive()
    }
}

const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Guests and accounts, and mails, of one network.
const AN_HOUR: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// More than sign-ups, because a page may begin a flow whenever it is opened.
const FLOWS_AN_HOUR: NonZeroU32 = NonZeroU32::new(600).unwrap();
