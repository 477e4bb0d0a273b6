//! The service: which endpoint a request is for.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    AuthEndpointsBuilder, CookieNames, WellKnown,
    answer::{Answer, Refusal},
    fields::Fields,
    guests::GuestDesk,
    strangers::Strangers,
};
use crate::{
    body::Whole,
    claims::Claims,
    event::Events,
    extract::{Bearer, Cookie, CsrfProofs, TokenExtractor},
    head::RequestHead,
    login::{Login, ThrottleStore, UserStore},
    principal::Principal,
    rate_limit::ClientIp,
    refresh::SessionStore,
    secret::SecretKey,
    session::{GrantSource, Session, Sessions},
    token::SessionId,
    verify::Verifier,
};

/// The endpoints of a login server, as a tower service. Cheap to clone.
///
/// See the [module](super) for the routes.
pub struct AuthEndpoints<S, G, U, T> {
    inner: Arc<Inner<S, G, U, T>>,
}

pub(super) struct Inner<S, G, U, T> {
    pub(super) sessions: Sessions<S, G>,
    pub(super) login: Login<U, T>,
    /// Accepts live access tokens.
    pub(super) verifier: Verifier<Claims>,
    /// Accepts expired ones too: whoever signs out may come late.
    pub(super) expired: Verifier<Claims>,
    pub(super) path: String,
    pub(super) cookies: Option<CookieNames>,
    pub(super) extractor: Option<Cookie>,
    pub(super) proofs: CsrfProofs,
    pub(super) clients: ClientIp,
    pub(super) registration: bool,
    pub(super) guests: Option<Arc<dyn GuestDesk>>,
    pub(super) strangers: Strangers,
    pub(super) events: Events,
}

impl<S, G, U, T> AuthEndpoints<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
{
    /// Starts to build the endpoints of these sessions and this login. The secret is the server's:
    /// the CSRF proofs rest on it.
    pub fn builder(
        sessions: Sessions<S, G>,
        login: Login<U, T>,
        secret: SecretKey,
    ) -> AuthEndpointsBuilder<S, G, U, T> {
        AuthEndpointsBuilder::new(sessions, login, secret)
    }

    /// The documents that belong at the root of the site: the key set and the metadata.
    #[must_use]
    pub fn well_known(&self) -> WellKnown {
        WellKnown::new(self.inner.sessions.issuer(), &self.inner.path)
    }

    /// The names of the cookies, where there are any.
    #[must_use]
    pub fn cookies(&self) -> Option<&CookieNames> {
        self.inner.cookies.as_ref()
    }

    /// What an API that accepts these cookies reads its tokens with.
    #[must_use]
    pub fn cookie(&self) -> Option<Cookie> {
        self.inner.extractor.clone()
    }
}

impl<S, G, U, T> Inner<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
{
    async fn answer<B>(self: Arc<Self>, parts: Parts, body: B) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.route(&parts, body).await {
            Ok(answer) => answer,
            Err(refusal) => {
                refusal.tell(&self.events);
                refusal.answer()
            }
        }
    }

    async fn route<B>(&self, parts: &Parts, body: B) -> Result<Answer, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = parts.uri.path();
        // One path for each: whoever limits or guards one by its path in front of this server has
        // named all of it.
        let below = path.strip_prefix(&*self.path);
        let path = below.filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let path = path.strip_prefix('/').unwrap_or_default();
        let only = |method: Method, allow| match parts.method == method {
            true => Ok(()),
            false => Err(Refusal::method_not_allowed(allow)),
        };
        if path == "sessions" {
            only(Method::GET, "GET")?;
            return self.list(parts).await;
        }
        if let Some(session) = path.strip_prefix("sessions/") {
            only(Method::DELETE, "DELETE")?;
            return self.end(parts, session).await;
        }
        if !POSTED.contains(&path) || (path == "register" && !self.registration) {
            return Err(Refusal::not_found());
        }
        only(Method::POST, "POST")?;
        let fields = Fields::read(&parts.headers, body).await?;
        match path {
            "login" => self.login(parts, &fields).await,
            "guest" => self.guest(parts, &fields).await,
            "token" => self.token(parts, &fields).await,
            "refresh" => self.refresh(parts, &fields).await,
            "logout" => self.logout(parts, &fields).await,
            "revoke" => self.revoke(&fields).await,
            "password" => self.password(parts, &fields).await,
            _ => self.register(parts, &fields).await,
        }
    }

    /// Whose session is calling, by a live access token in the header or the cookie.
    ///
    /// The session is asked for: a token that was stolen must not outlive it here, where it could
    /// end others.
    pub(super) async fn caller(&self, parts: &Parts) -> Result<Session, Refusal> {
        let caller = self.presented(parts, &self.verifier)?;
        let caller = caller.ok_or_else(Refusal::invalid_token)?;
        let session = self.session(&caller).await?;
        session.ok_or_else(Refusal::invalid_token)
    }

    /// The live session of a caller; an error where the store cannot say.
    pub(super) async fn session(&self, caller: &Principal) -> Result<Option<Session>, Refusal> {
        let Some(id) = session_of(caller) else {
            return Ok(None);
        };
        let session = self.sessions.find(id).await?;
        Ok(session.filter(|session| Some(session.subject()) == caller.subject()))
    }

    /// The caller by this verifier; `None` where there is no token that it accepts.
    pub(super) fn presented(
        &self,
        parts: &Parts,
        verifier: &Verifier<Claims>,
    ) -> Result<Option<Principal>, Refusal> {
        let head = RequestHead::of_parts(parts);
        let bearer = Bearer::new();
        let found = bearer.extract(head).map_err(Refusal::from)?;
        let cookie = match &self.extractor {
            Some(cookie) => cookie.extract(head).map_err(Refusal::from)?,
            None => None,
        };
        let credential = match (found, cookie) {
            (Some(_), Some(_)) => return Err(Refusal::invalid_request("Two credentials")),
            (found, cookie) => found.or(cookie),
        };
        let Some(credential) = credential else {
            return Ok(None);
        };
        let Ok(token) = verifier.verify_now(credential.token()) else {
            return Ok(None);
        };
        let caller = token.principal();
        let proof = credential.proof();
        if proof.is_some_and(|proof| !proof.fits(caller.session_id())) {
            return Err(Refusal::cross_site());
        }
        Ok(Some(caller))
    }
}

/// The session of a caller, where its token names one of ours.
pub(super) fn session_of(caller: &Principal) -> Option<SessionId> {
    caller.session_id()?.parse().ok()
}

impl<S, G, U, T, B> Service<Request<B>> for AuthEndpoints<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Whole>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.answer(parts, body).await) })
    }
}

impl<S, G, U, T> From<Inner<S, G, U, T>> for AuthEndpoints<S, G, U, T> {
    fn from(inner: Inner<S, G, U, T>) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl<S, G, U, T> Clone for AuthEndpoints<S, G, U, T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S, G, U, T> fmt::Debug for AuthEndpoints<S, G, U, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthEndpoints")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

const POSTED: [&str; 8] = [
    "login", "guest", "token", "refresh", "logout", "revoke", "register", "password",
];
