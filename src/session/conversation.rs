//! Tokens for one conversation, and the question whether a session is alive.

use std::time::Duration;

use super::{GrantSource, Session, SessionError, SessionErrorKind, Sessions, is_interrupted};
use crate::{
    issue::{AccessToken, Minted},
    principal::{Principal, PrincipalKind},
    refresh::SessionStore,
    revoke::MAX_TOKEN_LIFETIME,
    token::SessionId,
};

impl<S: SessionStore, G: GrantSource> Sessions<S, G> {
    /// A token for one conversation, for a widget or a socket: of the caller's session, with the
    /// claim `conv` and the scope `chat`, without roles, for half an hour at most.
    ///
    /// It dies with the session. There is no refresh token to it; whoever holds the session asks
    /// for another one. The conversation is 1 to 255 bytes long.
    ///
    /// # Security
    ///
    /// Whether the caller may enter the conversation is to be looked at before. The token's type is
    /// not that of access tokens, so that only verifiers of a chat take it which
    /// [ask for it](crate::verify::VerifierBuilder::conversation_tokens).
    ///
    /// # Errors
    ///
    /// - [`SessionErrorKind::Invalid`]: the caller has no session of this service, or a token for a
    ///   conversation, which is good for no other one.
    /// - [`SessionErrorKind::Expired`], [`SessionErrorKind::Revoked`],
    ///   [`SessionErrorKind::Disabled`], [`SessionErrorKind::StoreUnavailable`],
    ///   [`SessionErrorKind::GrantsUnavailable`], [`SessionErrorKind::NotMinted`].
    pub async fn conversation_token(
        &self,
        caller: &Principal,
        conversation: &str,
    ) -> Result<Minted, SessionError> {
        if caller.conversation().is_some() {
            return Err(SessionError::new(SessionErrorKind::Invalid));
        }
        let (session, left) = self.alive(caller).await?;
        // Not for what it grants: whoever is disabled gets nothing.
        let _ = self.inner.grants_of(&session).await?;
        let token = match session.kind() {
            PrincipalKind::Guest => AccessToken::for_guest(session.subject()),
            _ => AccessToken::for_subject(session.subject()),
        };
        let mut token = token
            .session(session.id())
            .epoch(session.epoch)
            .scope(SCOPE)
            .conversation(conversation)
            .auth_time(session.auth_time().to_calendar().into())
            .amr(session.amr())
            .lifetime(MAX_TOKEN_LIFETIME.min(left));
        if let Some(class) = session.acr() {
            token = token.acr(class);
        }
        if let Some(client) = session.client_id() {
            token = token.client_id(client);
        }
        Ok(self.inner.issuer.access(token)?)
    }

    /// The caller's session, as the store has it, and how long it lives if it is not used again, in
    /// whole seconds, at least one.
    pub(super) async fn alive(
        &self,
        caller: &Principal,
    ) -> Result<(Session, Duration), SessionError> {
        let invalid = || SessionError::new(SessionErrorKind::Invalid);
        // Names of sessions and subjects are unique within their issuer only.
        if caller.issuer() != Some(self.inner.issuer.issuer()) {
            return Err(invalid());
        }
        self.confirm(caller);
        let id = caller.session_id().ok_or_else(invalid)?;
        let id: SessionId = id.parse().map_err(|_| invalid())?;
        let mut peek = self.inner.store.peek(id).await;
        if is_interrupted(&peek) {
            peek = self.inner.store.peek(id).await;
        }
        let peek = peek?.ok_or_else(invalid)?;
        if Some(peek.session.subject.as_str()) != caller.subject() {
            return Err(invalid());
        }
        if peek.session.family.revoked {
            return Err(SessionError::new(SessionErrorKind::Revoked));
        }
        let session = Session::of(&peek.session)?;
        let left = Duration::from_secs(session.ends_at().since(peek.now).as_secs());
        if left.is_zero() {
            return Err(SessionError::new(SessionErrorKind::Expired));
        }
        Ok((session, left))
    }
}

const SCOPE: &str = "chat";
