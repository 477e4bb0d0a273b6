//! A session with another proof of authentication, in place of one without it.

use super::{
    Inner, Prepared, Session, SessionError, SessionErrorKind, Sessions, StartSession, TokenPair,
    is_interrupted,
};
use crate::{
    error::StoreError,
    event::{RevokeReason, RevokedScope, SessionEvent},
    principal::SessionId,
    store::port::{CreateOutcome, NewSessionRecord, SessionRecord},
};

impl Sessions {
    /// Ends a session and starts another one in its place, in one step. Call it after the subject of a
    /// session has proved another factor.
    ///
    /// `raised` is usually [`StartSession::raising`]. Its subject is the one of the session.
    ///
    /// # Security
    ///
    /// The new session has a new family of refresh tokens. An attacker who holds a refresh token of the
    /// old session does not get the new proof with it (session fixation). Of several concurrent calls for
    /// one session, one succeeds.
    ///
    /// # Errors
    ///
    /// - [`SessionErrorKind::Revoked`]: the session has ended in the meantime. No session was started.
    /// - [`SessionErrorKind::Superseded`], [`SessionErrorKind::Disabled`],
    ///   [`SessionErrorKind::StoreUnavailable`], [`SessionErrorKind::ClaimsUnavailable`],
    ///   [`SessionErrorKind::NotMinted`]: as [`start`](Self::start). The old session continues, unless the
    ///   result of the write is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::server::session::{
    ///     Session, SessionError, Sessions, StartSession, TokenPair,
    /// };
    ///
    /// async fn raise(sessions: &Sessions, session: &Session) -> Result<TokenPair, SessionError> {
    ///     // The subject has just used a passkey.
    ///     sessions.step_up(session, StartSession::raising(session, ["hwk"])).await
    /// }
    /// ```
    pub async fn step_up(
        &self,
        session: &Session,
        raised: StartSession,
    ) -> Result<TokenPair, SessionError> {
        let raised = match raised.epoch {
            Some(_) => raised,
            None => raised.epoch(session.epoch),
        };
        let Prepared {
            new,
            token,
            claims,
            access,
            idle,
        } = self.inner.prepare(raised).await?;
        let old = session.id();
        let record = self
            .write(move |inner| async move { inner.replace(old, new).await })
            .await?;
        Ok(self.inner.pair(access, &token, &claims, &record, idle))
    }
}

impl Inner {
    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<SessionRecord, SessionError> {
        let id = new.id;
        let mut replaced = self.store.replace(old, new).await;
        if is_interrupted(&replaced) {
            // Ids are random: a session with this one proves that the write happened.
            let loaded = self.store.load(id).await?;
            replaced = match loaded {
                Some(loaded) => Ok(Some(CreateOutcome::Created(loaded.session))),
                None => replaced,
            };
        }
        match replaced? {
            Some(CreateOutcome::Created(record)) => {
                self.refuse_session(old);
                self.events.session(|| SessionEvent::Revoked {
                    subject: Some(record.subject.clone()),
                    scope: RevokedScope::Session(old),
                    reason: RevokeReason::Replaced,
                });
                self.events.session(|| SessionEvent::Started {
                    subject: record.subject.clone(),
                    session: record.id,
                    kind: record.kind,
                });
                Ok(record)
            }
            Some(CreateOutcome::EpochMoved) => Err(SessionError::new(SessionErrorKind::Superseded)),
            Some(CreateOutcome::Exists) => {
                Err(StoreError::invalid("a session of this name exists").into())
            }
            None => Err(SessionError::new(SessionErrorKind::Revoked)),
        }
    }
}
