//! Login and the token endpoint.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::USER_AGENT, request::Parts};
use serde::Serialize;

use super::{
    answer::{Answer, Refusal, empty, json},
    cookies::Kind,
    door::{Entry, Link, Proof, roles_of},
    fields::Fields,
    service::Inner,
};
use crate::{
    layer::extract::{RequestHead, Sender},
    secret::Secret,
    server::{
        login::{
            DeviceTokens, EmailAddress, Identifier, IdentifierError, LoginAttempt, LoginOutcome,
            LoginSuccess, Password, PasswordError, SignIn,
        },
        mail::MailFlows,
        session::{LinkOutcome, StartSession, TokenPair, TokenResponse},
    },
    store::port::{RevokeReason, UserRecord},
};

/// The place for the tokens in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Body,
    Cookie,
}

/// The content of a response with tokens, independent of their place.
pub(super) struct Given<'t> {
    tokens: &'t TokenPair,
    device: Option<&'t Secret<String>>,
    remembered: Option<&'t (Secret<String>, Duration)>,
    link: Option<LinkAnswer>,
    refreshed: bool,
}

impl<'t> Given<'t> {
    pub(super) fn of(tokens: &'t TokenPair) -> Self {
        Self {
            tokens,
            device: None,
            remembered: None,
            link: None,
            refreshed: false,
        }
    }

    /// Marks the session as one that existed before this request.
    pub(super) fn refreshed(mut self) -> Self {
        self.refreshed = true;
        self
    }

    /// Adds the device token. A refresh returns none.
    pub(super) fn device(mut self, token: Option<&'t Secret<String>>) -> Self {
        self.device = token;
        self
    }

    /// Adds the token of a device that is remembered from now on.
    pub(super) fn remembered(mut self, token: Option<&'t (Secret<String>, Duration)>) -> Self {
        self.remembered = token;
        self
    }

    pub(super) fn link(mut self, outcome: Option<LinkOutcome>) -> Self {
        self.link = outcome.map(LinkAnswer::of);
        self
    }
}

#[derive(Serialize)]
struct InBody<'a> {
    #[serde(flatten)]
    tokens: TokenResponse<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remember_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkAnswer>,
}

#[derive(Serialize)]
struct ByCookie<'a> {
    token_type: &'static str,
    expires_in: u64,
    csrf_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkAnswer>,
}

#[derive(Serialize)]
struct LinkAnswer {
    outcome: &'static str,
}

impl LinkAnswer {
    fn of(outcome: LinkOutcome) -> Self {
        let outcome = match outcome {
            LinkOutcome::Linked | LinkOutcome::Pending => "linked",
            LinkOutcome::AlreadyClaimed => "already_claimed",
            LinkOutcome::Expired => "expired",
            LinkOutcome::NotFound => "not_found",
            LinkOutcome::Unavailable => "unavailable",
        };
        Self { outcome }
    }
}

impl Inner {
    pub(super) async fn login(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        // A page of another site must not sign its visitors in to another account (login CSRF).
        self.refuse_foreign(parts)?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let credentials = credentials(fields, &["username", "email"], Identifier::existing)?;
        let answer = self
            .sign_in_with(parts, fields, credentials, transport)
            .await?;
        answer.ok_or_else(|| Refusal::unauthorized("Invalid credentials"))
    }

    /// Serves the grants of RFC 6749 §4.3 and §6, for first-party clients that were built for them.
    pub(super) async fn token(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        match fields.get("grant_type") {
            Some("refresh_token") => {
                let token = fields.get("refresh_token");
                let token = token.ok_or(Refusal::invalid_request("A refresh token is required"))?;
                let tokens = self.exchange(parts, fields, token).await?;
                Ok(json(StatusCode::OK, &tokens.to_response()))
            }
            // FastAPI's clients omit it.
            Some("password") | None => {
                self.refuse_foreign(parts)?;
                self.expect_proof(parts, Transport::Body)?;
                let credentials = credentials(fields, &["username"], Identifier::existing)?;
                let answer = self.sign_in_with(parts, fields, credentials, Transport::Body);
                // RFC 6749 §5.2
                let answer = answer.await.map_err(Refusal::at_token_endpoint)?;
                let wrong = || Refusal::invalid_grant("Invalid credentials");
                let mut answer = answer.ok_or_else(wrong)?;
                // A second step is required.
                if answer.status() == StatusCode::FORBIDDEN {
                    *answer.status_mut() = StatusCode::BAD_REQUEST;
                }
                Ok(answer)
            }
            Some(_) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Only password and refresh_token are supported",
            )),
        }
    }

    pub(super) async fn register(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let client_id = self.client(fields);
        let (identifier, password) = credentials(fields, &["username", "email"], Identifier::new)?;
        let policy = self.login.password_policy();
        policy.check(&password).map_err(PasswordError::from)?;
        let must_verify = self.mail.as_ref().is_some_and(MailFlows::requires_verified);
        if must_verify && EmailAddress::of(&identifier).is_none() {
            return Err(Refusal::invalid_request("An e-mail address is required"));
        }
        self.sessions.check_keys()?;
        self.signup_limit.take(parts)?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let hash = self.login.hash_new(&password, client).await?;
        let name = identifier.clone();
        let account = self.keep_account(parts, fields, identifier, hash.clone());
        let account = account.await?;
        self.verify_new(parts, &name).await;
        if must_verify {
            return Ok(empty(StatusCode::ACCEPTED));
        }
        let mut who = SignIn::new(&account.subject).amr(["pwd"]);
        if let Some(client_id) = client_id {
            who = who.client_id(client_id);
        }
        if let Some(epoch) = account.epoch {
            who = who.epoch(epoch);
        }
        let user = UserRecord::new(account.subject).password(hash);
        let entry = Entry {
            who,
            proof: Proof::Once,
            device: Some(self.login.device_token(&user)),
            remembered: None,
            is_remembered: false,
            link: Link::Done(account.link),
            is_complete: true,
        };
        let entered = self.enter(parts, fields, StatusCode::CREATED, entry, transport);
        let wait = Duration::from_secs(1);
        entered.await?.ok_or_else(|| Refusal::unavailable(wait))
    }

    /// Returns the sign-in of the user with these credentials, or `None` if they are wrong.
    async fn attempt(
        &self,
        parts: &Parts,
        fields: &Fields,
        (identifier, password): (Identifier, Password),
    ) -> Result<Option<Entry>, Refusal> {
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let mut attempt = LoginAttempt::new(identifier, password).from(client);
        if let Some(device) = self.device(parts, fields)? {
            attempt = attempt.device(device);
        }
        let Some(accepted) = decided(self.login.attempt(&attempt).await)? else {
            return Ok(None);
        };
        // A login with the old password must not outlive a password change, which ends all sessions by
        // raising the epoch. If the epoch is read after the password, the password is compared again. A
        // later change raises the epoch, so that no session starts.
        let (accepted, epoch) = match accepted.user().epoch {
            Some(epoch) => (accepted, epoch),
            None => {
                let epoch = self.sessions.epoch(&accepted.user().subject).await?;
                match self.confirm(&attempt, accepted).await? {
                    Some(accepted) => (accepted, epoch),
                    None => return Ok(None),
                }
            }
        };
        let user = accepted.user();
        self.check_verified(parts, user).await?;
        let mut who = SignIn::new(&user.subject)
            .amr(["pwd"])
            .claims(roles_of(user))
            .epoch(epoch);
        who.is_known = self.is_known_device(parts, fields, user);
        if let Some(client_id) = self.client(fields) {
            who = who.client_id(client_id);
        }
        Ok(Some(Entry {
            who,
            device: Some(accepted.device_token().clone()),
            proof: Proof::Password(Box::new((attempt, accepted))),
            remembered: None,
            is_remembered: false,
            link: Link::Requested,
            is_complete: false,
        }))
    }

    /// Checks an accepted password again. Returns `None` if it is wrong now, or if the user is disabled.
    pub(super) async fn confirm(
        &self,
        attempt: &LoginAttempt,
        accepted: LoginSuccess,
    ) -> Result<Option<LoginSuccess>, Refusal> {
        decided(self.login.confirm(attempt, accepted).await)
    }

    /// Returns the response to these credentials, or `None` if they are wrong.
    async fn sign_in_with(
        &self,
        parts: &Parts,
        fields: &Fields,
        credentials: (Identifier, Password),
        transport: Transport,
    ) -> Result<Option<Answer>, Refusal> {
        let Some(entry) = self.attempt(parts, fields, credentials).await? else {
            return Ok(None);
        };
        self.enter(parts, fields, StatusCode::OK, entry, transport)
            .await
    }

    /// Returns the request's client, if the issuer knows it. Clients are not authenticated, so that an
    /// unknown name counts as absent.
    pub(super) fn client<'f>(&self, fields: &'f Fields) -> Option<&'f str> {
        let known = |client: &&str| self.sessions.issuer().knows_client(client);
        fields.get("client_id").filter(known)
    }

    /// Adds the client address, the user agent and the client's name for the device to a session start.
    pub(super) fn at(
        &self,
        parts: &Parts,
        fields: &Fields,
        mut start: StartSession,
    ) -> StartSession {
        if let Some(ip) = self.clients.client_ip(RequestHead::of_parts(parts)) {
            start = start.ip(ip);
        }
        if let Some(agent) = text(&parts.headers) {
            start = start.user_agent(agent);
        }
        if let Some(label) = fields.get("device") {
            start = start.label(label);
        }
        start
    }

    /// Returns the request's device token, from the body or, if it is absent there, from the cookie.
    pub(super) fn device(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Option<Secret<String>>, Refusal> {
        if let Some(token) = fields.get("device_token") {
            return Ok(Some(token.to_owned().into()));
        }
        let cookie = self.cookie_value(&parts.headers, Kind::Device)?;
        Ok(cookie.map(Secret::new))
    }

    /// Returns the response with the tokens, in its body or in cookies. It includes the device token if
    /// a password was verified or set.
    ///
    /// If the access token is too large for cookies, a new session is ended. A session that existed
    /// before continues.
    pub(super) async fn hand_over(
        &self,
        status: StatusCode,
        given: Given<'_>,
        transport: Transport,
    ) -> Result<Answer, Refusal> {
        let tokens = given.tokens;
        match (transport, &self.cookies) {
            (Transport::Cookie, Some(cookies)) => {
                let proof = self.proofs.of(&tokens.session_id().to_string());
                let body = ByCookie {
                    token_type: tokens.token_type(),
                    expires_in: tokens.expires_in().as_secs(),
                    csrf_token: &proof,
                    link: given.link,
                };
                let mut answer = json(status, &body);
                if let Err(too_large) = cookies.set_session(&mut answer, tokens, &proof) {
                    too_large.log();
                    if !given.refreshed {
                        let reason = RevokeReason::Logout;
                        self.sessions.revoke(tokens.session_id(), reason).await?;
                        return Err(Refusal::too_large());
                    }
                    // The session continues, for when its tokens are smaller.
                    let mut answer = Refusal::too_large().answer();
                    cookies.set_refresh(&mut answer, tokens);
                    return Ok(answer);
                }
                if let Some(device) = given.device {
                    let age = DeviceTokens::MAX_AGE;
                    cookies.set(&mut answer, Kind::Device, device.expose(), age);
                }
                if let Some((token, age)) = given.remembered {
                    cookies.set(&mut answer, Kind::Remembered, token.expose(), *age);
                }
                Ok(answer)
            }
            _ => {
                let body = InBody {
                    tokens: tokens.response(),
                    device_token: given.device.map(|device| &**device.expose()),
                    remember_token: given.remembered.map(|(token, _)| &**token.expose()),
                    link: given.link,
                };
                Ok(json(status, &body))
            }
        }
    }

    pub(super) fn transport(&self, parts: &Parts, fields: &Fields) -> Result<Transport, Refusal> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        let asked = pairs.find(|(name, _)| name == "transport");
        let asked = asked.map(|(_, value)| value);
        self.named_transport(asked.as_deref().or(fields.get("transport")))
    }

    pub(super) fn named_transport(&self, name: Option<&str>) -> Result<Transport, Refusal> {
        match name {
            None | Some("body") => Ok(Transport::Body),
            Some("cookie") if self.cookies.is_some() => Ok(Transport::Cookie),
            Some(_) => Err(Refusal::invalid_request("This transport is not offered")),
        }
    }

    pub(super) fn cookie_value(
        &self,
        headers: &HeaderMap,
        kind: Kind,
    ) -> Result<Option<String>, Refusal> {
        match &self.cookies {
            Some(cookies) => cookies.value(headers, kind),
            None => Ok(None),
        }
    }

    pub(super) fn refuse_foreign(&self, parts: &Parts) -> Result<(), Refusal> {
        let head = RequestHead::of_parts(parts);
        match self.extractor.as_ref().map(|cookie| cookie.sender(head)) {
            Some(Sender::Foreign) => Err(Refusal::cross_site()),
            _ => Ok(()),
        }
    }
}

/// Returns the accepted user, or `None` if the credentials are wrong.
fn decided(outcome: LoginOutcome) -> Result<Option<LoginSuccess>, Refusal> {
    match outcome {
        LoginOutcome::Success(accepted) => Ok(Some(accepted)),
        LoginOutcome::InvalidCredentials => Ok(None),
        LoginOutcome::Throttled { retry_after } => Err(Refusal::slow_down(retry_after)),
        LoginOutcome::Overloaded { retry_after } => Err(Refusal::unavailable(retry_after)),
        _ => Err(Refusal::unavailable(Duration::from_secs(1))),
    }
}

fn credentials(
    fields: &Fields,
    names: &[&str],
    read: fn(&str) -> Result<Identifier, IdentifierError>,
) -> Result<(Identifier, Password), Refusal> {
    let missing = || Refusal::invalid_request("A name and a password are required");
    let name = fields.one_of(names)?.ok_or_else(missing)?;
    let password = fields.get("password").ok_or_else(missing)?;
    let name = read(name).map_err(|_| Refusal::invalid_request("The name is not valid"))?;
    let password = Password::new(password.to_owned())
        .map_err(|_| Refusal::invalid_request("The password is empty or too long"))?;
    Ok((name, password))
}

fn text(headers: &HeaderMap) -> Option<&str> {
    headers.get(USER_AGENT)?.to_str().ok()
}
