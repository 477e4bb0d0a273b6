//! Guests: starting a guest, and linking a guest at login or registration.

use http::{StatusCode, request::Parts};

use super::{
    answer::{Answer, Refusal, json},
    cookies::Kind,
    fields::Fields,
    login::{Given, Transport},
    service::Inner,
};
use crate::{
    layer::extract::{Kind as CredentialKind, RequestHead},
    principal::{Principal, PrincipalKind},
    server::session::{
        GuestStart, Guests, LinkOutcome, LinkRequest, Session, SessionError, StartSession,
        TokenPair, token_type,
    },
};

/// A request to link a guest.
pub(super) enum LinkIntent {
    Accepted(Guests, LinkRequest),
    /// The token cannot be linked, for this reason.
    Declined(LinkOutcome),
}

impl Inner {
    /// Returns the tokens of a new guest. A caller who is a guest already keeps the existing tokens.
    pub(super) async fn guest(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let guests = self.guests.as_ref().ok_or_else(Refusal::not_found)?;
        self.refuse_foreign(parts)?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let client_id = self.client(fields);
        if let Some(caller) = self.presented(parts, &self.verifier).await? {
            if guests.is_alive(&caller).await? {
                return self.as_it_is(parts, &caller);
            }
            if self.session(&caller).await?.is_some() {
                return Err(Refusal::invalid_request("The caller is already signed in"));
            }
        }
        if transport == Transport::Cookie
            && let Some((token, session)) = self.refreshable(parts).await?
        {
            // A new guest's cookies would replace those of this session.
            if session.kind() != PrincipalKind::Guest {
                return Err(Refusal::invalid_request("The caller is already signed in"));
            }
            let tokens = self.sessions.refresh(&token).await?;
            let given = Given::of(&tokens).refreshed();
            return self.hand_over(StatusCode::OK, given, transport).await;
        }
        self.signup_limit.take(parts)?;
        let mut start = GuestStart::new();
        if let Some(ip) = self.clients.client_ip(RequestHead::of_parts(parts)) {
            start = start.ip(ip);
        }
        if let Some(client_id) = client_id {
            start = start.client_id(client_id);
        }
        if transport == Transport::Cookie {
            start = start.bound_to_device();
        }
        if let Some(key) = self.prove(parts).await? {
            start = start.bound_to(key);
        }
        let guest = guests.start(start).await.map_err(Refusal::of_start)?;
        let given = Given::of(guest.tokens());
        let mut answer = self.hand_over(StatusCode::OK, given, transport).await?;
        if let (Some(cookies), Some(device)) = (&self.cookies, guest.device()) {
            cookies.set(&mut answer, Kind::Guest, device.expose(), guest.lifetime());
        }
        Ok(answer)
    }

    /// Returns the refresh token in a cookie and its live session, if the request has the session's
    /// CSRF proof. A cookie without the proof may be planted.
    async fn refreshable(&self, parts: &Parts) -> Result<Option<(String, Session)>, Refusal> {
        let names = self.cookies.iter();
        let mut tokens = names.flat_map(|names| names.values(&parts.headers, Kind::Refresh));
        let proved = tokens.find_map(|token| {
            let session = self.sessions.session_of(&token)?;
            self.proves(parts, session).then_some((token, session))
        });
        let Some((token, session)) = proved else {
            return Ok(None);
        };
        let session = self.sessions.find(session).await?;
        Ok(session.map(|session| (token, session)))
    }

    /// Starts the session of a user whose credentials were correct, and links the guest if the request
    /// contains `link`.
    pub(super) async fn start_linked(
        &self,
        start: StartSession,
        link: Option<&LinkIntent>,
    ) -> Result<(TokenPair, Option<LinkOutcome>), SessionError> {
        Ok(match link {
            Some(LinkIntent::Accepted(guests, link)) => {
                let signed_in = guests.sign_in(start, link.clone()).await?;
                (signed_in.tokens().clone(), Some(signed_in.outcome()))
            }
            Some(LinkIntent::Declined(outcome)) => {
                (self.sessions.start(start).await?, Some(*outcome))
            }
            None => (self.sessions.start(start).await?, None),
        })
    }

    /// Returns the guest to be linked. Without the `link` flag no token is read, because it may be a
    /// planted one.
    pub(super) async fn link(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Option<LinkIntent>, Refusal> {
        match fields.get("link") {
            Some("true") => self.guest_of(parts).await,
            _ => Ok(None),
        }
    }

    /// Returns the guest of a request that links it.
    pub(super) async fn guest_of(&self, parts: &Parts) -> Result<Option<LinkIntent>, Refusal> {
        let Some(guests) = &self.guests else {
            return Ok(None);
        };
        let Some(credential) = self.credential(parts)? else {
            return Ok(None);
        };
        let guest = self.caller_of(parts, &credential, &self.verifier).await?;
        let Some(guest) = guest else {
            let late = self.caller_of(parts, &credential, &self.expired).await?;
            let late = late.is_some_and(|late| late.kind() == PrincipalKind::Guest);
            return Ok(Some(LinkIntent::Declined(match late {
                true => LinkOutcome::Expired,
                false => LinkOutcome::NotFound,
            })));
        };
        let link = match self.bearer(parts)? {
            Some(_) => LinkRequest::from_body(guest),
            None => {
                let device = self.cookie_value(&parts.headers, Kind::Guest)?;
                LinkRequest::from_cookie(guest, device.as_deref())
            }
        };
        Ok(Some(LinkIntent::Accepted(guests.clone(), link)))
    }

    /// Returns the response to a guest who requests a guest again: the existing token.
    fn as_it_is(&self, parts: &Parts, caller: &Principal) -> Result<Answer, Refusal> {
        let now = self.sessions.issuer().keys().clock().now();
        let expires = caller.expires_at();
        let expires_in = expires.map_or(0, |expires| expires.since(now).as_secs());
        let sent = self.credential(parts)?;
        let is_bound = sent.is_some_and(|sent| sent.kind() == CredentialKind::Bound);
        let body = match self.bearer(parts)? {
            Some(token) => serde_json::json!({
                "access_token": token,
                "token_type": token_type(is_bound),
                "expires_in": expires_in,
            }),
            None => serde_json::json!({
                "token_type": "Bearer",
                "expires_in": expires_in,
                "csrf_token": self.proofs.of(caller.session_id().unwrap_or_default()),
            }),
        };
        Ok(json(StatusCode::OK, &body))
    }

    /// Returns the token in the `Authorization` header, in either scheme. Cookies are not read.
    pub(super) fn bearer(&self, parts: &Parts) -> Result<Option<String>, Refusal> {
        let found = self.header.extract(RequestHead::of_parts(parts))?;
        let text = found.map(|found| String::from_utf8(found.token().to_vec()));
        let malformed = |_| Refusal::malformed("The credential is malformed");
        text.transpose().map_err(malformed)
    }
}
