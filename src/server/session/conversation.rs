//! Tokens for one conversation, and the lookup of a caller's live session.

use std::time::Duration;

use super::{Session, SessionError, SessionErrorKind, Sessions, repeated};
use crate::{
    principal::{Principal, PrincipalKind, SessionId},
    revocation::MAX_TOKEN_LIFETIME,
    server::issue::{AccessToken, AccessTokenClaims},
};

impl Sessions {
    /// Returns a token for one conversation, for a chat widget or a socket.
    ///
    /// The token belongs to the caller's session. It has the claim `conv` and the scope `chat`, and
    /// no roles. It lives for 30 minutes at most, and ends with the session. There is no refresh
    /// token for it: the client requests another one with its session. `conversation` is 1 to 255
    /// bytes long.
    ///
    /// The token is not bound to a key, also if the session is: a browser adds no proof to the handshake of
    /// a socket.
    ///
    /// # Security
    ///
    /// Check before the call that the caller may enter the conversation. The token's type differs
    /// from that of access tokens: only verifiers that [opt
    /// in](crate::verify::VerifierBuilder::allow_conversation_tokens) accept it.
    ///
    /// # Errors
    ///
    /// - [`SessionErrorKind::Invalid`]: the caller has no session of this service, or its token is
    ///   itself a conversation token.
    /// - [`SessionErrorKind::Expired`], [`SessionErrorKind::Revoked`],
    ///   [`SessionErrorKind::Disabled`], [`SessionErrorKind::StoreUnavailable`],
    ///   [`SessionErrorKind::ClaimsUnavailable`], [`SessionErrorKind::NotMinted`].
    pub async fn conversation_token(
        &self,
        caller: &Principal,
        conversation: &str,
    ) -> Result<AccessToken, SessionError> {
        if caller.conversation().is_some() {
            return Err(SessionError::new(SessionErrorKind::Invalid));
        }
        let (session, left) = self.alive(caller).await?;
        // The claims are not used: the call refuses disabled subjects.
        let _ = self.inner.claims_of(&session).await?;
        let token = match session.kind() {
            PrincipalKind::Guest => AccessTokenClaims::for_guest(session.subject()),
            _ => AccessTokenClaims::for_subject(session.subject()),
        };
        let mut token = token
            .session(session.id())
            .epoch(session.epoch)
            .scope(SCOPE)
            .conversation(conversation)
            .auth_time(session.auth_time())
            .amr(session.amr())
            .lifetime(MAX_TOKEN_LIFETIME.min(left));
        if let Some(class) = session.acr() {
            token = token.acr(class);
        }
        if let Some(client) = session.client_id() {
            token = token.client_id(client);
        }
        Ok(self.inner.issuer.issue_access_token(token)?)
    }

    /// Reads the caller's session from the store. Returns the session and its remaining time if it
    /// is not used again, in whole seconds, at least one.
    pub(super) async fn alive(
        &self,
        caller: &Principal,
    ) -> Result<(Session, Duration), SessionError> {
        let invalid = || SessionError::new(SessionErrorKind::Invalid);
        // Session ids and subjects are unique only within their issuer.
        if caller.issuer() != Some(self.inner.issuer.issuer()) {
            return Err(invalid());
        }
        self.confirm(caller);
        let id = caller.session_id().ok_or_else(invalid)?;
        let id: SessionId = id.parse().map_err(|_| invalid())?;
        let loaded = repeated(|| self.inner.store.load(id)).await?;
        let loaded = loaded.ok_or_else(invalid)?;
        if Some(loaded.session.subject.as_str()) != caller.subject() {
            return Err(invalid());
        }
        if loaded.session.family.revoked {
            return Err(SessionError::new(SessionErrorKind::Revoked));
        }
        let session = Session::of(&loaded.session)?;
        let left = Duration::from_secs(session.ends_at().since(loaded.now).as_secs());
        if left.is_zero() {
            return Err(SessionError::new(SessionErrorKind::Expired));
        }
        Ok((session, left))
    }
}

const SCOPE: &str = "chat";
