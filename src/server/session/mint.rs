//! Minting of a session's tokens.

use std::time::Duration;

use tokio::time;

use super::{
    ClaimsOrigin, ErasedClaimsSource, Inner, Session, SessionClaims, SessionError,
    SessionErrorKind, StaticClaims, TokenPair,
};
use crate::{
    principal::PrincipalKind,
    server::{
        issue::{AccessToken, AccessTokenClaims},
        refresh::RefreshToken,
    },
    store::port::SessionRecord,
};

impl Inner {
    fn claims_source(&self) -> &dyn ErasedClaimsSource {
        self.claims.get().map_or(&StaticClaims, |source| &**source)
    }

    /// Returns the origin of the claims. Users of another store than the sessions' are elsewhere.
    pub(super) fn origin(&self) -> ClaimsOrigin {
        match self.claims_source().origin() {
            ClaimsOrigin::Users(users) if self.store.users() != Some(users) => {
                ClaimsOrigin::Elsewhere
            }
            origin => origin,
        }
    }

    /// Calls the claims source and returns the subject's current claims.
    pub(super) async fn claims_of(&self, session: &Session) -> Result<SessionClaims, SessionError> {
        let claims = self.claims_source().claims(session);
        let claims = time::timeout(self.claims_timeout, claims).await;
        let unavailable = SessionErrorKind::ClaimsUnavailable;
        claims
            .map_err(|late| SessionError::caused_by(unavailable, late))?
            .map_err(|failed| SessionError::caused_by(unavailable, failed))?
            .ok_or_else(|| SessionError::new(SessionErrorKind::Disabled))
    }

    /// Mints an access token that expires no later than the session.
    pub(super) fn mint(
        &self,
        session: &Session,
        claims: &SessionClaims,
        generation: u64,
        left: Duration,
    ) -> Result<AccessToken, SessionError> {
        let left = Duration::from_secs(left.as_secs());
        if left.is_zero() {
            return Err(SessionError::new(SessionErrorKind::Expired));
        }
        let token = match session.kind() {
            PrincipalKind::Guest => AccessTokenClaims::for_guest(session.subject()),
            _ => AccessTokenClaims::for_subject(session.subject()),
        };
        let mut token = token
            .session(session.id())
            .epoch(session.epoch)
            .refresh_generation(generation)
            .auth_time(session.auth_time())
            .amr(session.amr())
            .lifetime(self.issuer.access_lifetime().min(left));
        if let Some(class) = session.acr() {
            token = token.acr(class);
        }
        if let Some(client) = session.client_id() {
            token = token.client_id(client);
        }
        if let Some(thumbprint) = session.bound_to() {
            token = token.bound_to(thumbprint);
        }
        Ok(self.issuer.issue_access_token(claims.apply_to(token))?)
    }

    pub(super) fn pair(
        &self,
        access: AccessToken,
        refresh: &RefreshToken,
        claims: &SessionClaims,
        session: &SessionRecord,
        left: Duration,
    ) -> TokenPair {
        TokenPair {
            access,
            refresh_token: self.tokens.write(refresh),
            refresh_expires_in: left,
            scope: claims.scope_text().to_owned(),
            session_id: session.id,
            is_bound: session.bound_key.is_some(),
            is_new: true,
        }
    }
}
