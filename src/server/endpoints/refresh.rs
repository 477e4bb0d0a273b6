//! New tokens for a refresh token.

use http::{HeaderMap, StatusCode, request::Parts};

use super::{
    answer::{Answer, Refusal},
    cookies::Kind,
    fields::Fields,
    login::{Given, Transport},
    service::Inner,
};
use crate::{
    layer::{dpop::Dpop, extract::CSRF_HEADER},
    principal::SessionId,
    server::session::{Presenter, SessionErrorKind, TokenPair},
};

impl Inner {
    pub(super) async fn refresh(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let presented = self.refresh_token(parts, fields)?;
        let missing = || Refusal::invalid_request("A refresh token is required");
        let (token, transport) = presented.ok_or_else(missing)?;
        let tokens = self.exchange(parts, fields, &token).await?;
        let given = Given::of(&tokens).refreshed();
        self.hand_over(StatusCode::OK, given, transport).await
    }

    /// Exchanges a refresh token, for the client and the key of the request.
    pub(super) async fn exchange(
        &self,
        parts: &Parts,
        fields: &Fields,
        token: &str,
    ) -> Result<TokenPair, Refusal> {
        self.expect_proof(parts, Transport::Body)?;
        let key = self.prove_for(parts, token).await?;
        let presenter = Presenter {
            client_id: self.client(fields),
            key: key.as_deref(),
            needs_binding: self.dpop.as_ref().is_some_and(Dpop::is_required),
        };
        let exchanged = self.sessions.exchange(token, presenter).await;
        exchanged.map_err(|error| match (error.kind(), &self.dpop) {
            // No proof is accepted here. The client has to sign in again.
            (SessionErrorKind::NotProved, None) => {
                Refusal::invalid_grant("The session is bound to a key")
            }
            _ => error.into(),
        })
    }

    /// Returns the request's refresh token and its place: the body or a cookie, but not both.
    pub(super) fn refresh_token(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Option<(String, Transport)>, Refusal> {
        // Clients of simplejwt call it `refresh`.
        let body = fields.one_of(&["refresh_token", "refresh"])?;
        let names = self.cookies.iter();
        let cookies = names.flat_map(|names| names.values(&parts.headers, Kind::Refresh));
        let cookies: Vec<String> = cookies.collect();
        match (body, cookies.is_empty()) {
            (Some(_), false) => Err(Refusal::invalid_request(
                "The request contains two refresh tokens",
            )),
            (Some(token), true) => Ok(Some((token.to_owned(), Transport::Body))),
            (None, false) => {
                let token = self.own(parts, cookies)?;
                Ok(Some((token, Transport::Cookie)))
            }
            (None, true) => Ok(None),
        }
    }

    /// Selects the refresh cookie. A cookie is accepted if the request comes from this site *and* has
    /// the CSRF proof of that cookie's session. A planted cookie fails, and does not hide the genuine
    /// one.
    fn own(&self, parts: &Parts, mut cookies: Vec<String>) -> Result<String, Refusal> {
        self.refuse_foreign(parts)?;
        cookies.sort_unstable();
        cookies.dedup();
        let single = cookies.len() == 1;
        let counts = |token: &String| match self.sessions.session_of(token) {
            Some(session) => self.proves(parts, session),
            // A value that is no token of this server is refused later. There is no session to protect.
            None => single,
        };
        let mut proved = cookies.into_iter().filter(counts);
        match (proved.next(), proved.next()) {
            (Some(token), None) => Ok(token),
            (None, _) if single => Err(Refusal::cross_site()),
            _ => Err(Refusal::planted()),
        }
    }

    /// Returns `true` if the request has the CSRF proof of this session.
    pub(super) fn proves(&self, parts: &Parts, session: SessionId) -> bool {
        let proof = only(&parts.headers);
        proof.is_some_and(|proof| self.proofs.proves(&session.to_string(), proof))
    }
}

fn only(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(&CSRF_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(proof), None) => Some(proof.as_bytes()),
        _ => None,
    }
}
