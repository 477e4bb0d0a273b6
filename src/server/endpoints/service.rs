//! The service, which routes requests to the endpoints.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    AuthEndpointsBuilder, CookieNames, WellKnown,
    answer::{Answer, Refusal, without_content},
    fields::{Fields, MAX_BYTES},
    flow::FlowKeys,
    identity::Providers,
    path::{is_sent_path, knows_sent_path},
    signup_limit::SignupLimit,
};
use crate::{
    event::Events,
    layer::{
        dpop::Dpop,
        extract::{Cookie, Credential, CsrfProofs, Kind, RequestHead, TokenExtractor},
        rate_limit::ClientIp,
        request_body::RequestBody,
        response::Whole,
    },
    principal::{Claims, Principal, SessionId},
    secret::SecretKey,
    server::{
        login::{Login, PasskeyAuthority, UnknownIdentity},
        mail::MailFlows,
        session::{Guests, Session, Sessions},
    },
    verify::Verifier,
};

/// The endpoints of a login server, as a tower service. Cheap to clone.
///
/// See the [module](super) for the routes.
#[derive(Clone)]
pub struct AuthEndpoints {
    pub(super) inner: Arc<Inner>,
    /// If `true`, the host removes the base path.
    pub(super) nested: bool,
}

pub(super) struct Inner {
    pub(super) sessions: Sessions,
    pub(super) login: Login,
    /// Accepts only live access tokens.
    pub(super) verifier: Verifier<Claims>,
    /// Also accepts expired access tokens, for a logout after expiry.
    pub(super) expired: Verifier<Claims>,
    pub(super) path: String,
    pub(super) cookies: Option<CookieNames>,
    pub(super) extractor: Option<Cookie>,
    /// Reads the access token in the `Authorization` header.
    pub(super) header: Arc<dyn TokenExtractor>,
    pub(super) dpop: Option<Dpop>,
    pub(super) proofs: CsrfProofs,
    pub(super) clients: ClientIp,
    pub(super) body_timeout: Duration,
    pub(super) registration: bool,
    pub(super) guests: Option<Guests>,
    pub(super) signup_limit: SignupLimit,
    pub(super) mail: Option<MailFlows>,
    pub(super) mail_limit: SignupLimit,
    pub(super) providers: Providers,
    pub(super) unknown: UnknownIdentity,
    pub(super) passkeys: Option<Arc<dyn PasskeyAuthority>>,
    pub(super) flows: FlowKeys,
    pub(super) flow_limit: SignupLimit,
    pub(super) events: Events,
    /// The background tasks of an `AuthServer`.
    pub(super) _kept: Option<Arc<dyn Send + Sync>>,
}

impl AuthEndpoints {
    /// Creates a builder for the endpoints of these sessions and this login. The CSRF proofs are
    /// derived from the server's secret.
    pub fn builder(sessions: Sessions, login: Login, secret: SecretKey) -> AuthEndpointsBuilder {
        AuthEndpointsBuilder::new(sessions, login, secret)
    }

    /// Returns the endpoints for a host that removes the [base path](AuthEndpointsBuilder::base_path),
    /// as `Router::nest_service` of axum does. Requests with the base path are then answered with 404.
    ///
    /// Each endpoint has exactly one path, so that a proxy which limits or guards an endpoint by its
    /// path covers every request to it.
    #[must_use]
    pub fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    /// Returns the service for the documents at the root of the site: the key set and the metadata.
    #[must_use]
    pub fn well_known(&self) -> WellKnown {
        let inner = &self.inner;
        let origin = inner.cookies.as_ref().map(CookieNames::origin);
        let dpop = inner.dpop.as_ref();
        WellKnown::new(inner.sessions.issuer(), origin, &inner.path, dpop)
    }

    /// Returns the names of the cookies, if a public origin is set.
    #[must_use]
    pub fn cookies(&self) -> Option<&CookieNames> {
        self.inner.cookies.as_ref()
    }

    /// Returns the extractor with which an API reads the tokens of these cookies, if a public origin is
    /// set.
    #[must_use]
    pub fn cookie(&self) -> Option<Cookie> {
        self.inner.extractor.clone()
    }
}

impl Inner {
    async fn answer<B>(self: Arc<Self>, mut parts: Parts, body: B, nested: bool) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let removed = nested && !knows_sent_path(&parts);
        let path = removed.then(|| format!("{}{}", self.path, parts.uri.path()));
        self.keep_proof(&mut parts, || path);
        let mut body = pin!(RequestBody::new(body, MAX_BYTES, self.body_timeout));
        let mut answer = match self.route(&parts, body.as_mut(), nested).await {
            Ok(answer) => answer,
            Err(refusal) => {
                refusal.emit(&self.events, &parts);
                refusal.answer_in(&self.offered(&parts))
            }
        };
        self.complete_answer(&parts, &mut answer);
        if parts.method == Method::HEAD {
            without_content(&mut answer);
        }
        body.finish(&parts, answer.headers_mut()).await;
        answer
    }

    async fn route<B>(
        &self,
        parts: &Parts,
        body: Pin<&mut RequestBody<B>>,
        nested: bool,
    ) -> Result<Answer, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Each endpoint has one path, so that a proxy which limits or guards an endpoint by its path
        // covers every request to it.
        let path = match nested {
            true => Some(parts.uri.path()),
            false => parts.uri.path().strip_prefix(&*self.path),
        };
        let path = path.and_then(|path| path.strip_prefix('/'));
        let path = path.filter(|path| !nested || is_sent_path(parts, path));
        let path = path.ok_or_else(Refusal::not_found)?;
        let only = |methods: &[Method], allow| match methods.contains(&parts.method) {
            true => Ok(()),
            false => Err(Refusal::method_not_allowed(allow)),
        };
        if path == "sessions" {
            // RFC 9110 §9.3.2
            only(&[Method::GET, Method::HEAD], "GET, HEAD")?;
            return self.list(parts).await;
        }
        if let Some(session) = path.strip_prefix("sessions/") {
            only(&[Method::DELETE], "DELETE")?;
            return self.end(parts, session).await;
        }
        if let Some(path) = path.strip_prefix("identity/") {
            let fields = match path.ends_with("/link") {
                true => {
                    only(&[Method::POST], "POST")?;
                    Fields::read(&["return_to"], &parts.headers, body).await?
                }
                false => {
                    only(&[Method::GET], "GET")?;
                    Fields::none(&["return_to"])
                }
            };
            return self.identity(parts, path, &fields).await;
        }
        let known = FIELDS.iter().find(|(endpoint, _)| *endpoint == path);
        let known = known.filter(|_| self.offers(path));
        #[cfg(feature = "totp")]
        if path == "totp" && parts.method != Method::POST && self.offers(path) {
            only(&[Method::GET, Method::HEAD], "GET, HEAD, POST")?;
            return self.factor_status(parts).await;
        }
        if path == "identities" && !self.providers.is_empty() {
            only(&[Method::GET, Method::HEAD], "GET, HEAD")?;
            return self.list_identities(parts).await;
        }
        if path == "passkeys" && self.passkeys.is_some() {
            only(&[Method::GET, Method::HEAD], "GET, HEAD")?;
            return self.list_passkeys(parts).await;
        }
        let (path, known) = known.ok_or_else(Refusal::not_found)?;
        only(&[Method::POST], "POST")?;
        let fields = Fields::read(known, &parts.headers, body).await?;
        match *path {
            "login" => self.login(parts, &fields).await,
            "guest" => self.guest(parts, &fields).await,
            "token" => self.token(parts, &fields).await,
            "refresh" => self.refresh(parts, &fields).await,
            "logout" => self.logout(parts, &fields).await,
            "revoke" => self.revoke(&fields).await,
            "password" => self.password(parts, &fields).await,
            "login/email" => self.request_code(parts, &fields).await,
            "login/code" => self.use_code(parts, &fields).await,
            "password/forgot" => self.forgot(parts, &fields).await,
            "password/reset" => self.reset(parts, &fields).await,
            "email/verification" => self.verification(parts, &fields).await,
            "email/verify" => self.verify(parts, &fields).await,
            "email/change" => self.change(parts, &fields).await,
            "email/confirm" => self.confirm_change(parts, &fields).await,
            "identities/unlink" => self.unlink_identity(parts, &fields).await,
            "passkeys/options" => self.passkey_options(parts).await,
            "passkeys/sign-in" => self.passkey_sign_in(parts, &fields).await,
            "passkeys/register/options" => self.passkey_registration_options(parts).await,
            "passkeys/register" => self.register_passkey(parts, &fields).await,
            "passkeys/remove" => self.remove_passkey(parts, &fields).await,
            #[cfg(feature = "totp")]
            "login/continue" => self.proceed(parts, &fields).await,
            #[cfg(feature = "totp")]
            "totp" => self.enroll(parts, &fields).await,
            #[cfg(feature = "totp")]
            "totp/confirm" => self.confirm_totp(parts, &fields).await,
            #[cfg(feature = "totp")]
            "totp/disable" => self.disable_totp(parts, &fields).await,
            #[cfg(feature = "totp")]
            "recovery-codes" => self.recovery_codes(parts, &fields).await,
            #[cfg(feature = "totp")]
            "step-up" => self.step_up(parts, &fields).await,
            _ => self.register(parts, &fields).await,
        }
    }

    /// Returns `true` if the endpoint exists with these settings.
    fn offers(&self, path: &str) -> bool {
        match path {
            "register" => self.registration,
            "password/forgot" | "password/reset" => self.mail.is_some(),
            path if path.starts_with("passkeys/") => self.passkeys.is_some(),
            "identities/unlink" => !self.providers.is_empty(),
            "login/email" | "login/code" => self.mail.as_ref().is_some_and(MailFlows::signs_in),
            "email/verification" | "email/verify" | "email/change" | "email/confirm" => {
                self.mail.is_some() && self.login.users().keeps_email()
            }
            #[cfg(feature = "totp")]
            "login/continue" | "totp" | "totp/confirm" | "totp/disable" | "recovery-codes"
            | "step-up" => self.login.second_factors().is_some(),
            _ => true,
        }
    }

    /// Returns the session of the caller, by a live access token in the header or the cookie.
    ///
    /// The session is looked up in the store: a stolen token must not work here after its session
    /// ended, because it could end other sessions.
    pub(super) async fn caller(&self, parts: &Parts) -> Result<Session, Refusal> {
        let credential = self.credential(parts)?.ok_or_else(Refusal::missing_token)?;
        let caller = self.caller_of(parts, &credential, &self.verifier).await?;
        let caller = caller.ok_or_else(Refusal::invalid_token)?;
        let session = self.session(&caller).await?;
        session.ok_or_else(Refusal::invalid_token)
    }

    /// Returns the live session of a caller, or an error if the store is unavailable.
    pub(super) async fn session(&self, caller: &Principal) -> Result<Option<Session>, Refusal> {
        let Some(id) = session_of(caller) else {
            return Ok(None);
        };
        let session = self.sessions.find(id).await?;
        Ok(session.filter(|session| Some(session.subject()) == caller.subject()))
    }

    /// Returns the caller, or `None` if the request has no token that this verifier accepts.
    pub(super) async fn presented(
        &self,
        parts: &Parts,
        verifier: &Verifier<Claims>,
    ) -> Result<Option<Principal>, Refusal> {
        match self.credential(parts)? {
            Some(credential) => self.caller_of(parts, &credential, verifier).await,
            None => Ok(None),
        }
    }

    /// Returns the access token of a request, unverified.
    pub(super) fn credential<'p>(
        &'p self,
        parts: &'p Parts,
    ) -> Result<Option<Credential<'p>>, Refusal> {
        let head = RequestHead::of_parts(parts);
        let found = self.header.extract(head).map_err(Refusal::from)?;
        let only_bound = self.dpop.as_ref().is_some_and(Dpop::is_required);
        let cookie = match &self.extractor {
            Some(cookie) if !only_bound => cookie.extract(head).map_err(Refusal::from)?,
            _ => None,
        };
        match (found, cookie) {
            (Some(_), Some(_)) => Err(Refusal::malformed("Two credentials")),
            (found, cookie) => Ok(found.or(cookie)),
        }
    }

    /// Returns the caller, or `None` if this verifier does not accept the token.
    pub(super) async fn caller_of(
        &self,
        parts: &Parts,
        credential: &Credential<'_>,
        verifier: &Verifier<Claims>,
    ) -> Result<Option<Principal>, Refusal> {
        if credential.kind() == Kind::Bound {
            let caller = self.bound_caller(parts, credential, verifier).await?;
            if let Some(caller) = &caller {
                self.sessions.confirm(caller);
            }
            return Ok(caller);
        }
        let Ok(token) = verifier.verify_now(credential.token()) else {
            return Ok(None);
        };
        let caller = token.principal();
        let proof = credential.proof();
        if proof.is_some_and(|proof| !proof.fits(caller.session_id())) {
            return Err(Refusal::cross_site());
        }
        self.sessions.confirm(&caller);
        Ok(Some(caller))
    }
}

/// Returns the session of a caller, if the token names a session of this server.
pub(super) fn session_of(caller: &Principal) -> Option<SessionId> {
    caller.session_id()?.parse().ok()
}

impl<B> Service<Request<B>> for AuthEndpoints
where
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
        let (inner, nested) = (Arc::clone(&self.inner), self.nested);
        Box::pin(async move { Ok(inner.answer(parts, body, nested).await) })
    }
}

impl fmt::Debug for AuthEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthEndpoints")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// The endpoints that read a body, with the fields of each.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "login",
        &[
            "username",
            "email",
            "password",
            "transport",
            "device",
            "device_token",
            "remember_token",
            "link",
            "client_id",
        ],
    ),
    (
        "register",
        &[
            "username",
            "email",
            "password",
            "transport",
            "device",
            "device_token",
            "link",
            "client_id",
        ],
    ),
    (
        "token",
        &[
            "grant_type",
            "username",
            "password",
            "refresh_token",
            "device",
            "device_token",
            "remember_token",
            "link",
            "client_id",
        ],
    ),
    ("guest", &["transport", "client_id"]),
    ("refresh", &["refresh_token", "refresh", "client_id"]),
    ("logout", &["scope", "refresh_token", "refresh"]),
    ("revoke", &["token"]),
    (
        "password",
        &["current_password", "new_password", "device", "device_token"],
    ),
    ("login/email", &["email", "transport", "device_token"]),
    (
        "login/code",
        &[
            "code",
            "flow",
            "transport",
            "device",
            "device_token",
            "remember_token",
            "link",
            "client_id",
        ],
    ),
    ("password/forgot", &["email"]),
    ("password/reset", &["token", "new_password"]),
    ("email/verification", &["email"]),
    ("email/verify", &["token"]),
    ("email/change", &["new_email", "current_password"]),
    ("email/confirm", &["token"]),
    ("identities/unlink", &["issuer", "subject"]),
    ("passkeys/options", &[]),
    (
        "passkeys/sign-in",
        &[
            "credential",
            "mfa_token",
            "transport",
            "device",
            "device_token",
            "remember_token",
            "link",
            "client_id",
        ],
    ),
    ("passkeys/register/options", &[]),
    ("passkeys/register", &["credential", "label"]),
    ("passkeys/remove", &["id"]),
    #[cfg(feature = "totp")]
    (
        "login/continue",
        &[
            "mfa_token",
            "code",
            "transport",
            "device",
            "device_token",
            "remember",
            "link",
        ],
    ),
    #[cfg(feature = "totp")]
    ("totp", &["account"]),
    #[cfg(feature = "totp")]
    ("totp/confirm", &["code"]),
    #[cfg(feature = "totp")]
    ("totp/disable", &["code", "device_token"]),
    #[cfg(feature = "totp")]
    ("recovery-codes", &["code", "device_token"]),
    #[cfg(feature = "totp")]
    ("step-up", &["code", "device", "device_token"]),
];
