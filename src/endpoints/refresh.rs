//! New tokens for a refresh token.

use http::{HeaderMap, StatusCode, request::Parts};

use super::{
    answer::{Answer, Refusal},
    cookies::Kind,
    fields::Fields,
    login::Transport,
    service::Inner,
};
use crate::{
    extract::{CSRF_HEADER, Sender},
    head::RequestHead,
    login::{ThrottleStore, UserStore},
    refresh::SessionStore,
    session::GrantSource,
    token::SessionId,
};

impl<S, G, U, T> Inner<S, G, U, T>
where
    S: SessionStore,
    G: GrantSource,
    U: UserStore,
    T: ThrottleStore,
{
    pub(super) async fn refresh(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let presented = self.refresh_token(parts, fields)?;
        let missing = || Refusal::invalid_request("A refresh token is needed");
        let (token, transport) = presented.ok_or_else(missing)?;
        let tokens = self.sessions.refresh(&token).await?;
        Ok(self.hand_over(StatusCode::OK, &tokens, transport))
    }

    /// The refresh token of a request, and where it was: in the body or in the cookie, not in both.
    pub(super) fn refresh_token(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Option<(String, Transport)>, Refusal> {
        // Clients of simplejwt call it `refresh`.
        let body = fields.one_of(&["refresh_token", "refresh"])?;
        let cookie = self.cookie_value(&parts.headers, Kind::Refresh)?;
        match (body, cookie) {
            (Some(_), Some(_)) => Err(Refusal::invalid_request("Two refresh tokens")),
            (Some(token), None) => Ok(Some((token.to_owned(), Transport::Body))),
            (None, Some(token)) => {
                self.refuse_forged(parts, self.sessions.session_of(&token))?;
                Ok(Some((token, Transport::Cookie)))
            }
            (None, None) => Ok(None),
        }
    }

    /// A cookie counts where the request comes from this site *and* proves that it knows the
    /// session of the very cookie, so that a tossed one fails.
    fn refuse_forged(&self, parts: &Parts, session: Option<SessionId>) -> Result<(), Refusal> {
        let head = RequestHead::of_parts(parts);
        let foreign = self
            .extractor
            .as_ref()
            .is_some_and(|cookie| cookie.sender(head) == Sender::Foreign);
        let proved = || {
            // What is no token of this server is refused as such, with nothing to protect.
            let Some(session) = session else { return true };
            let proof = only(&parts.headers);
            proof.is_some_and(|proof| self.proofs.proves(&session.to_string(), proof))
        };
        if foreign || !proved() {
            return Err(Refusal::cross_site());
        }
        Ok(())
    }
}

fn only(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(&CSRF_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(proof), None) => Some(proof.as_bytes()),
        _ => None,
    }
}
