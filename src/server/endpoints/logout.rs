//! Logout, revocation, and the list of sessions.

use std::time::Duration;

use http::{StatusCode, request::Parts};
use serde::Serialize;

use super::{
    answer::{Answer, Refusal, empty, json},
    fields::Fields,
    service::{Inner, session_of},
};
use crate::{
    principal::{Principal, PrincipalKind, SessionId},
    server::session::Session,
    store::port::RevokeReason,
    time::Timestamp,
    verify::Examined,
};

impl Inner {
    pub(super) async fn logout(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        match fields.get("scope") {
            None | Some("device") => self.end_this(parts, fields).await?,
            Some("others") => {
                let caller = self.proved_caller(parts).await?;
                let reason = RevokeReason::Logout;
                self.sessions
                    .revoke_others(caller.subject(), caller.id(), reason)
                    .await?;
                return Ok(empty(StatusCode::NO_CONTENT));
            }
            Some("all") => {
                let caller = self.proved_caller(parts).await?;
                let reason = RevokeReason::Logout;
                self.sessions.revoke_all(caller.subject(), reason).await?;
            }
            Some(_) => {
                return Err(Refusal::invalid_request(
                    "The scope must be device, others or all",
                ));
            }
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        // A cross-site form arrives without this site's cookies, which is no error here. The browser
        // would still apply a response that deletes the cookies (logout CSRF).
        if let (Some(cookies), Ok(())) = (&self.cookies, self.refuse_foreign(parts)) {
            cookies.clear_session(&mut answer);
        }
        Ok(answer)
    }

    /// Ends the session of the refresh token, or else of the access token, expired or not. A missing or
    /// unknown token is no error, because the caller is signed out already.
    async fn end_this(&self, parts: &Parts, fields: &Fields) -> Result<(), Refusal> {
        if let Some((token, _)) = self.refresh_token(parts, fields)? {
            // A planted refresh token must not hide the access token.
            if self.sessions.session_of(&token).is_some() {
                return Ok(self.sessions.revoke_token(&token).await?);
            }
        }
        let caller = self.presented(parts, &self.expired).await?;
        let caller = caller.filter(|caller| caller.conversation().is_none());
        if let Some(session) = caller.as_ref().and_then(session_of) {
            self.refuse_unproved(parts, session)?;
            self.sessions.revoke(session, RevokeReason::Logout).await?;
        }
        Ok(())
    }

    /// Returns the caller of an endpoint that ends sessions.
    pub(super) async fn proved_caller(&self, parts: &Parts) -> Result<Session, Refusal> {
        let caller = self.caller(parts).await?;
        self.refuse_unproved(parts, caller.id())?;
        Ok(caller)
    }

    /// Returns the session of a caller who is a user.
    pub(super) async fn user(&self, parts: &Parts) -> Result<Session, Refusal> {
        let caller = self.proved_caller(parts).await?;
        match caller.kind() {
            PrincipalKind::User => Ok(caller),
            _ => Err(Refusal::no_factors()),
        }
    }

    /// The holder of a stolen session must not add a factor or a way to sign in, which would outlive the
    /// session.
    pub(super) fn check_recent(&self, caller: &Session) -> Result<(), Refusal> {
        let now = self.sessions.issuer().keys().clock().now();
        match now < caller.auth_time().plus(RECENT) {
            true => Ok(()),
            false => Err(Refusal::stale_authentication()),
        }
    }

    /// Returns an error unless the token is in the header or the request has the session's CSRF proof.
    /// A cookie alone proves nothing, from whichever site the request comes.
    fn refuse_unproved(&self, parts: &Parts, session: SessionId) -> Result<(), Refusal> {
        match self.bearer(parts)?.is_some() || self.proves(parts, session) {
            true => Ok(()),
            false => Err(Refusal::cross_site()),
        }
    }

    /// Revokes a token (RFC 7009). Either token of a session ends the session, and with it the other
    /// token (§2.1).
    pub(super) async fn revoke(&self, fields: &Fields) -> Result<Answer, Refusal> {
        let missing = || Refusal::invalid_request("A token is required");
        let token = fields.get("token").ok_or_else(missing)?;
        if self.sessions.session_of(token).is_some() {
            self.sessions.revoke_token(token).await?;
        } else if let Some(caller) = self.named_by(token) {
            self.sessions.confirm(&caller);
            // A service that received a token for one conversation must not end its owner's session
            // with it. The token cannot be revoked separately.
            if caller.conversation().is_some() {
                let status = StatusCode::BAD_REQUEST;
                let description = "A token for a conversation ends with its session";
                let error = "unsupported_token_type";
                return Err(Refusal::new(status, error, description));
            }
            if let Some(session) = session_of(&caller) {
                self.sessions.revoke(session, RevokeReason::Logout).await?;
            }
        }
        // §2.2: an unknown token counts as revoked.
        Ok(empty(StatusCode::OK))
    }

    /// Returns the caller whose access token this is, bound or not. A token is revoked without a proof, so
    /// that everyone who finds one can end it.
    fn named_by(&self, token: &str) -> Option<Principal> {
        if let Ok(access) = self.expired.verify_now(token) {
            return Some(access.principal());
        }
        match self.expired.examine_bound(token.as_bytes()) {
            Examined::Accepted(access) | Examined::Remembered(access) => Some(access.principal()),
            Examined::Refused(_) | Examined::Wait(_) => None,
        }
    }

    pub(super) async fn list(&self, parts: &Parts) -> Result<Answer, Refusal> {
        let caller = self.caller(parts).await?;
        let current = Some(caller.id());
        let sessions = self.sessions.list(caller.subject(), current).await?;
        let sessions: Vec<_> = sessions.iter().map(Listed::of).collect();
        Ok(json(
            StatusCode::OK,
            &serde_json::json!({ "sessions": sessions }),
        ))
    }

    pub(super) async fn end(&self, parts: &Parts, session: &str) -> Result<Answer, Refusal> {
        let caller = self.proved_caller(parts).await?;
        let subject = caller.subject();
        let Ok(session) = session.parse::<SessionId>() else {
            return Err(Refusal::not_found());
        };
        let reason = RevokeReason::Logout;
        match self.sessions.revoke_own(subject, session, reason).await? {
            true => Ok(empty(StatusCode::NO_CONTENT)),
            false => Err(Refusal::not_found()),
        }
    }
}

/// A session in the list of sessions.
#[derive(Serialize)]
struct Listed<'s> {
    id: String,
    label: Option<&'s str>,
    user_agent: Option<&'s str>,
    ip: Option<String>,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
    current: bool,
    bound: bool,
}

impl<'s> Listed<'s> {
    fn of(session: &'s Session) -> Self {
        let seconds = |time: Timestamp| time.as_millis().div_euclid(1000);
        Self {
            id: session.id().to_string(),
            label: session.label(),
            user_agent: session.user_agent(),
            ip: session.ip().map(|ip| ip.to_string()),
            created_at: seconds(session.created_at()),
            last_used_at: seconds(session.used_at()),
            expires_at: seconds(session.ends_at()),
            current: session.is_current(),
            bound: session.bound_to().is_some(),
        }
    }
}

/// The challenge of `stale_authentication` names it too.
const RECENT: Duration = Duration::from_secs(15 * 60);
