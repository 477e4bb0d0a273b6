//! Builds the endpoints.

use std::sync::Arc;

use super::{
    AuthEndpoints, CookieNames, cookies::trusted, guests::GuestDesk, service::Inner,
    strangers::Strangers,
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    extract::{Cookie, CsrfProofs},
    login::{Login, ThrottleStore, UserStore},
    rate_limit::{ClientIp, RateLimitLayer},
    refresh::SessionStore,
    secret::SecretKey,
    session::{ClaimHook, GrantSource, GuestStore, Guests, Sessions},
};

/// Builds [`AuthEndpoints`].
#[must_use = "nothing is served before `build`"]
pub struct AuthEndpointsBuilder<S, G, U, T> {
    sessions: Sessions<S, G>,
    login: Login<U, T>,
    secret: SecretKey,
    path: String,
    nested: bool,
    origin: Option<String>,
    trusted: Vec<String>,
    prefix: Option<String>,
    clients: ClientIp,
    registration: bool,
    guests: Option<Arc<dyn GuestDesk>>,
    strangers: Option<RateLimitLayer>,
    events: Events,
}

impl<S, G, U, T> AuthEndpointsBuilder<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
{
    pub(super) fn new(sessions: Sessions<S, G>, login: Login<U, T>, secret: SecretKey) -> Self {
        Self {
            sessions,
            login,
            secret,
            path: "/api/auth".to_owned(),
            nested: false,
            origin: None,
            trusted: Vec::new(),
            prefix: None,
            clients: ClientIp::peer(),
            registration: false,
            guests: None,
            strangers: None,
            events: Events::default(),
        }
    }

    /// Sets the public path of the endpoints, `/api/auth` by default. It is also the path of the
    /// refresh cookie. Requests elsewhere are answered with 404.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Expects request paths without the [base path](Self::base_path), as `axum::Router::nest_service`
    /// passes them. Requests with the base path are then answered with 404.
    ///
    /// Each endpoint has one path, so that a proxy which limits or guards it by its path misses no
    /// second one. Prefer `Router::route_service("/api/auth/{*endpoint}", …)`, which passes the path as
    /// the client sent it.
    pub fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    /// The origin under which browsers reach this server. Without one there are no cookies: asking
    /// for them is 400.
    pub fn public_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Another origin whose pages may sign in here, as `https://www.app.example`; may be called
    /// repeatedly. It counts beside a [public origin](Self::public_origin) only: without one nobody is
    /// asked where he comes from.
    ///
    /// | the page and this server are | tokens in bodies | in cookies |
    /// |---|---|---|
    /// | of one site (`app.shop.example`, `api.shop.example`) | yes | yes; the CSRF proof is the answer's `csrf_token`, because a page cannot read another host's cookie |
    /// | of two sites (`shop.example`, `api.example`) | yes | no: all of them are `SameSite` |
    /// | an app's or an extension's (`capacitor://localhost`, `http://tauri.localhost`) | yes | no, likewise |
    ///
    /// Answers need CORS headers besides, from a layer outside; for cookies with
    /// `Access-Control-Allow-Credentials`, and the request is made with `credentials: "include"`.
    ///
    /// # Security
    ///
    /// A page there can do what a page of yours can. Name no origin that others publish under.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.trusted.push(origin.into());
        self
    }

    /// Sets the prefix of all cookie names: [`CookieNames::prefix`]. Two servers on one host need one
    /// each.
    pub fn cookie_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Which client a request comes from; the peer of its connection by default.
    pub fn clients(mut self, clients: ClientIp) -> Self {
        self.clients = clients;
        self
    }

    /// Lets anybody register; off by default.
    ///
    /// # Security
    ///
    /// - Each registration costs a hash of the password and a row, and no counter of guesses holds it
    ///   up: [`limit_strangers`](Self::limit_strangers) does, where it can tell networks apart.
    /// - 409 tells whoever asks that somebody has an account under that name, which a login never does.
    ///   Where that must not be known, leave this off, and let people register by a letter to their
    ///   address that says the same in both cases.
    /// - Nobody proves that the address is theirs. Do not take a name for one until they did.
    pub fn registration(mut self, open: bool) -> Self {
        self.registration = open;
        self
    }

    /// Lets strangers be guests, and guests be linked; off by default. The guests are those of the
    /// same sessions.
    ///
    /// # Security
    ///
    /// Whoever asks gets one: as many as [`limit_strangers`](Self::limit_strangers) allows.
    pub fn guests<H: ClaimHook>(mut self, guests: Guests<S, G, H>) -> Self
    where
        S: GuestStore,
    {
        self.guests = Some(Arc::new(guests));
        self
    }

    /// How many guests and accounts there are for one client, counted together; a guest who asks once
    /// more does not count. By default thirty an hour for each network of [`clients`](Self::clients),
    /// all of them at once if need be, and no limit where that cannot tell where requests come
    /// from. Beyond it the answer is 429.
    ///
    /// The layer's key and counts are used; what it would answer and whom it would tell are not.
    pub fn limit_strangers(mut self, limit: RateLimitLayer) -> Self {
        self.strangers = Some(limit);
        self
    }

    /// Who is told of requests that were refused because another site may have sent them:
    /// [`AuthEvent::Denied`](crate::event::AuthEvent::Denied) with
    /// [`CrossSite`](crate::error::AuthErrorKind::CrossSite), as a layer tells it. One is a client
    /// without its proof; many are somebody's attempt to sign others in or out.
    ///
    /// What becomes of logins and of sessions is told to the sinks of
    /// [`Login`](crate::login::LoginBuilder::events) and
    /// [`Sessions`](crate::session::SessionsBuilder::events).
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// The service.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: an origin or the path, see [`CookieNames::new`]; or the issuer
    /// has keys that cannot verify.
    pub fn build(self) -> Result<AuthEndpoints<S, G, U, T>, ConfigError> {
        let cookies = match (&self.origin, &self.prefix) {
            (Some(origin), Some(prefix)) => {
                Some(CookieNames::new(origin, &self.path)?.prefix(prefix)?)
            }
            (Some(origin), None) => Some(CookieNames::new(origin, &self.path)?),
            (None, _) => None,
        };
        let trusted = self.trusted.iter().map(|origin| trusted(origin));
        let trusted = trusted.collect::<Result<Vec<_>, _>>()?;
        // Also in the sessions that the application holds: roles come from the user store.
        self.sessions.default_grants(Arc::new(self.login.clone()));
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
        Ok(AuthEndpoints::from(Inner {
            verifier: issuer.verifier().no_cache().build()?,
            expired: issuer
                .verifier()
                .no_cache()
                .conversation_tokens()
                .dangerous_ignore_expiry()
                .build()?,
            path: self.path.trim_end_matches('/').to_owned(),
            nested: self.nested,
            sessions: self.sessions,
            login: self.login,
            registration: self.registration,
            guests: self.guests,
            strangers: match self.strangers {
                Some(limit) => Strangers::Limited(limit),
                None => Strangers::by_network(&self.clients),
            },
            clients: self.clients,
            events: self.events,
            cookies,
            extractor,
            proofs,
        }))
    }
}

impl<S, G, U, T> std::fmt::Debug for AuthEndpointsBuilder<S, G, U, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthEndpointsBuilder")
            .finish_non_exhaustive()
    }
}
