//! The common end of every sign-in: from an authenticated subject to the response with its tokens.

use std::time::Duration;

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
    request::Parts,
};

use super::{
    AuthEndpoints,
    answer::{Answer, Refusal},
    cookies::Kind,
    fields::Fields,
    guests::LinkIntent,
    login::{Given, Transport},
    service::Inner,
};
use crate::{
    layer::{extract::RequestHead, response::Whole},
    secret::Secret,
    server::{
        login::{LoginAttempt, LoginSuccess, SignIn},
        session::{LinkOutcome, SessionClaims, SessionErrorKind},
    },
    store::port::UserRecord,
};

impl AuthEndpoints {
    /// Signs in a subject that your code has authenticated, by a passkey, an identity provider or other
    /// means. Returns the response for the client, with the same tokens, cookies, CSRF proof and device
    /// token as a login.
    ///
    /// `parts` is the head of the request that authenticated the subject. Its query parameter
    /// `transport` selects cookies or the body, unless [`SignIn::in_cookies`] is set.
    ///
    /// | response | cause |
    /// |---|---|
    /// | 200 | signed in |
    /// | 400 | cookies were requested, and there is no public origin; or a guest's token is malformed |
    /// | 400 `invalid_dpop_proof`, `use_dpop_nonce` | the [proof](super#bound-tokens) of the request is not valid, or is missing and required |
    /// | 403 `mfa_required` | another factor is needed: [second step](super#second-step) |
    /// | 403 `access_denied` | another site caused the request; the user is disabled; or the [claims source](crate::server::session::ClaimsSource) refused the subject |
    /// | 503 with `Retry-After` | a store failed; or all sessions of the subject ended during the sign-in |
    ///
    /// With [`SignIn::redirect_to`] the status is 303 in all cases, and the cause is in the fragment of the
    /// location.
    ///
    /// A proof is used once: a layer in front of the route must not have used the one of this request.
    ///
    /// A subject that the user store does not contain is accepted if the claims source accepts it. The
    /// default claims source refuses it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Response, request::Parts};
    /// use tower_jwt_auth::{
    ///     layer::response::Whole,
    ///     server::{endpoints::AuthEndpoints, login::SignIn},
    /// };
    ///
    /// async fn after_passkey(
    ///     endpoints: &AuthEndpoints,
    ///     request: &Parts,
    ///     subject: &str, // whose assertion was verified
    /// ) -> Response<Whole> {
    ///     endpoints.sign_in(request, SignIn::new(subject).amr(["hwk"])).await
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may have started. Its tokens are lost.
    pub async fn sign_in(&self, parts: &Parts, who: SignIn) -> http::Response<Whole> {
        let inner = &self.inner;
        let location = who.location.clone();
        let prepared = inner.has_proof(parts).then(|| {
            let mut parts = parts.clone();
            inner.keep_proof(&mut parts, || None);
            parts
        });
        let parts = prepared.as_ref().unwrap_or(parts);
        let mut answer = match inner.sign_in(parts, who).await {
            Ok(answer) => answer,
            Err(refusal) => {
                refusal.emit(&inner.events, parts);
                refusal.answer_in(&inner.offered(parts))
            }
        };
        inner.complete_answer(parts, &mut answer);
        match location {
            Some(location) => redirected(answer, &location),
            None => answer,
        }
    }
}

/// A sign-in whose first step succeeded.
pub(super) struct Entry {
    pub(super) who: SignIn,
    pub(super) proof: Proof,
    pub(super) device: Option<Secret<String>>,
    pub(super) link: Link,
    /// The token of a device that is remembered from now on, and its lifetime.
    pub(super) remembered: Option<(Secret<String>, Duration)>,
    /// `true` if a remembered device may have replaced the second step.
    pub(super) is_remembered: bool,
    /// `true` if no second step follows.
    pub(super) is_complete: bool,
}

/// The part of an authentication that can be checked again.
pub(super) enum Proof {
    /// A correct password.
    Password(Box<(LoginAttempt, LoginSuccess)>),
    /// An authentication by the application, of which only the standing of the user is checked again.
    Standing,
    /// An authentication that is not repeated.
    Once,
}

/// The guest of a sign-in.
pub(super) enum Link {
    /// The guest of the request, if the request asks to link it.
    Requested,
    /// The guest of the request.
    Wanted,
    /// The guest was linked before.
    Done(Option<LinkOutcome>),
}

impl Inner {
    pub(super) async fn sign_in(&self, parts: &Parts, who: SignIn) -> Result<Answer, Refusal> {
        if !who.is_cross_site {
            self.refuse_foreign(parts)?;
        }
        let mut fields = Fields::none(&[
            "transport",
            "link",
            "device",
            "device_token",
            "remember_token",
        ]);
        if who.is_linked {
            fields.set("link", "true");
        }
        match who.in_cookies {
            Some(true) => fields.set("transport", "cookie"),
            Some(false) => fields.set("transport", "body"),
            None => {}
        }
        let transport = match who.in_cookies {
            Some(_) => self.named_transport(fields.get("transport"))?,
            None => self.transport(parts, &fields)?,
        };
        self.expect_proof(parts, transport)?;
        let Some(facts) = who.completes.clone() else {
            return self.admit(parts, &fields, who, transport).await;
        };
        self.check_first_step(&facts.subject, facts.epoch).await?;
        let user = self.standing(&facts.subject).await?;
        self.login.spend_step(&facts).await?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        self.login.emit_second_factor(&facts.subject, client);
        self.complete(parts, &fields, who, (user, None), transport)
            .await
    }

    /// Starts the session of a sign-in whose second factor was proved. `fields` contain `device`,
    /// `device_token` and `link`.
    pub(super) async fn complete(
        &self,
        parts: &Parts,
        fields: &Fields,
        who: SignIn,
        (user, remembered): (Option<UserRecord>, Option<(Secret<String>, Duration)>),
        transport: Transport,
    ) -> Result<Answer, Refusal> {
        let links = who.is_linked || fields.get("link") == Some("true");
        let mut who = with_roles(who, user.as_ref());
        who.is_known |= user
            .as_ref()
            .is_none_or(|user| self.is_known_device(parts, fields, user));
        let entry = Entry {
            who,
            proof: Proof::Once,
            remembered,
            is_remembered: false,
            device: user.map(|user| self.login.proved_device_token(&user)),
            link: match links {
                true => Link::Wanted,
                false => Link::Done(None),
            },
            is_complete: true,
        };
        let entered = self.enter(parts, fields, StatusCode::OK, entry, transport);
        let mut answer = entered.await?.ok_or_else(Refusal::disabled)?;
        if let (Transport::Cookie, Some(cookies)) = (transport, &self.cookies) {
            cookies.set(&mut answer, Kind::Step, "", Duration::ZERO);
        }
        Ok(answer)
    }

    /// Signs in a subject that was authenticated by other means than a password. `fields` contain
    /// `device`, `device_token`, `remember_token` and `link`.
    pub(super) async fn admit(
        &self,
        parts: &Parts,
        fields: &Fields,
        who: SignIn,
        transport: Transport,
    ) -> Result<Answer, Refusal> {
        let user = self.standing(&who.subject).await?;
        let mut who = with_roles(who, user.as_ref());
        match &user {
            Some(user) => {
                self.check_verified(parts, user).await?;
                who.is_known = self.is_known_device(parts, fields, user);
            }
            // Without a record there is no address to write to.
            None => who.is_known = true,
        }
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        self.login.emit_success(&who.subject, client);
        let entry = Entry {
            who,
            remembered: None,
            is_remembered: false,
            device: user.map(|user| self.login.device_token(&user)),
            proof: Proof::Standing,
            link: Link::Requested,
            is_complete: false,
        };
        let entered = self.enter(parts, fields, StatusCode::OK, entry, transport);
        entered.await?.ok_or_else(Refusal::disabled)
    }

    /// Starts the session of a sign-in, and returns the response with its tokens, or `None` if the
    /// proof has become invalid in the meantime.
    pub(super) async fn enter(
        &self,
        parts: &Parts,
        fields: &Fields,
        status: StatusCode,
        mut entry: Entry,
        transport: Transport,
    ) -> Result<Option<Answer>, Refusal> {
        if !entry.is_complete {
            let device = self.remembered(parts, fields)?;
            entry.is_remembered = device.is_some();
            let step = self.second_step(parts, fields, (&entry, device), transport);
            if let Some(answer) = step.await? {
                return Ok(Some(answer));
            }
        }
        let link = match &entry.link {
            Link::Requested => self.link(parts, fields).await?,
            Link::Wanted => self.guest_of(parts).await?,
            Link::Done(Some(outcome)) => Some(LinkIntent::Declined(*outcome)),
            Link::Done(None) => None,
        };
        entry.is_complete = true;
        let key = self.prove(parts).await?;
        for _ in 0..STARTS {
            let who = &entry.who;
            let mut start = who.start.clone();
            if let Some(claims) = &who.claims {
                start = start.claims(claims.clone());
            }
            if let Some(epoch) = who.epoch {
                start = start.epoch(epoch);
            }
            if let Some(key) = &key {
                start = start.bound_to(key);
            }
            let start = self.at(parts, fields, start);
            match self.start_linked(start, link.as_ref()).await {
                Ok((tokens, link)) => {
                    let given = Given::of(&tokens)
                        .device(entry.device.as_ref())
                        .remembered(entry.remembered.as_ref())
                        .link(link);
                    let answer = self.hand_over(status, given, transport).await?;
                    self.notice_device(parts, &entry.who);
                    return Ok(Some(answer));
                }
                // A logout of all sessions ran during this sign-in. It ends earlier sessions, not this
                // one.
                Err(error) if error.kind() == SessionErrorKind::Superseded => {
                    match self.again(entry).await? {
                        Some(checked) => entry = checked,
                        None => return Ok(None),
                    }
                }
                Err(error) => return Err(Refusal::of_start(error)),
            }
        }
        Err(Refusal::unavailable(SECOND))
    }

    /// Repeats the check of a sign-in after all sessions of the user ended, under the new epoch.
    /// Returns `None` if the proof is not valid any more.
    async fn again(&self, entry: Entry) -> Result<Option<Entry>, Refusal> {
        match entry.proof {
            // The end of the sessions has ended the trust in the device.
            Proof::Password(proof) if !entry.is_remembered => {
                let epoch = self.sessions.epoch(&entry.who.subject).await?;
                let (attempt, accepted) = *proof;
                let confirmed = self.confirm(&attempt, accepted).await?;
                Ok(confirmed.map(|accepted| Entry {
                    device: Some(accepted.device_token().clone()),
                    who: entry.who.epoch(epoch).claims(roles_of(accepted.user())),
                    proof: Proof::Password(Box::new((attempt, accepted))),
                    link: entry.link,
                    remembered: entry.remembered,
                    is_remembered: false,
                    is_complete: true,
                }))
            }
            Proof::Standing if entry.who.epoch.is_none() && !entry.is_remembered => {
                let user = self.standing(&entry.who.subject).await?;
                let device = user.map(|user| self.login.device_token(&user));
                Ok(Some(Entry { device, ..entry }))
            }
            // The proof may be older than the end of the sessions.
            Proof::Standing | Proof::Once | Proof::Password(_) => Err(Refusal::unavailable(SECOND)),
        }
    }

    /// Returns the user, if the user store contains one with this subject.
    pub(super) async fn standing(&self, subject: &str) -> Result<Option<UserRecord>, Refusal> {
        let user = self.login.users().find_by_subject(subject).await?;
        match user {
            Some(user) if user.disabled => Err(Refusal::disabled()),
            user => Ok(user),
        }
    }
}

/// Sets the user's current roles as claims, unless the application has set claims.
fn with_roles(who: SignIn, user: Option<&UserRecord>) -> SignIn {
    match (user, &who.claims) {
        (Some(user), None) => who.claims(roles_of(user)),
        _ => who,
    }
}

/// Returns the claims of a user whose application sets none.
pub(super) fn roles_of(user: &UserRecord) -> SessionClaims {
    SessionClaims::new().roles(&user.roles)
}

/// Replaces a response by a redirect with the same cookies. The members of an error follow in the
/// fragment.
pub(super) fn redirected(answer: Answer, location: &str) -> Answer {
    let is_success = answer.status().is_success();
    let (mut parts, body) = answer.into_parts();
    let mut location = location.to_owned();
    if !is_success {
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body.as_bytes()).unwrap_or_default();
        let mut fragment = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &members {
            match value {
                serde_json::Value::String(text) => fragment.append_pair(name, text),
                serde_json::Value::Array(list) => {
                    let list: Vec<_> = list.iter().filter_map(|one| one.as_str()).collect();
                    fragment.append_pair(name, &list.join(" "))
                }
                other => fragment.append_pair(name, &other.to_string()),
            };
        }
        location.push('#');
        location.push_str(&fragment.finish());
    }
    parts.status = StatusCode::SEE_OTHER;
    parts.headers.remove(CONTENT_TYPE);
    // Both parts consist of characters that are valid in a header.
    if let Ok(location) = HeaderValue::try_from(location) {
        parts.headers.insert(LOCATION, location);
    }
    Answer::from_parts(parts, Whole::default())
}

/// The number of session starts that one sign-in tries if logouts of all sessions interrupt it. After
/// that the client has to wait.
const STARTS: usize = 3;
const SECOND: Duration = Duration::from_secs(1);
