//! The refresh: one read, one call of the grant source, one write.

use super::{
    ClaimsSource, Inner, Session, SessionError, SessionErrorKind, SessionEvent, Sessions,
    TokenPair, is_interrupted,
};
use crate::{
    principal::SessionId,
    server::refresh::{RefreshOutcome, apply, decide},
    store::port::{Rotation, SessionRecord, SessionStore},
    time::Timestamp,
};

impl<S: SessionStore, G: ClaimsSource> Sessions<S, G> {
    /// Exchanges a refresh token for a new access token and the next refresh token.
    ///
    /// A token that this server did not issue is refused without a query. Otherwise the session is
    /// read. If the token needs no change of the session (a repeat within the grace window, for
    /// example), no write follows. The [grant source](ClaimsSource) is called and the access token
    /// is minted before the write. The write is one atomic operation, which makes the final
    /// decision.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](SessionErrorKind::Invalid), [`Expired`](SessionErrorKind::Expired),
    ///   [`Revoked`](SessionErrorKind::Revoked), [`Reused`](SessionErrorKind::Reused),
    ///   [`Disabled`](SessionErrorKind::Disabled): the user has to sign in again.
    /// - [`StoreUnavailable`](SessionErrorKind::StoreUnavailable),
    ///   [`GrantsUnavailable`](SessionErrorKind::GrantsUnavailable): the client keeps its token and
    ///   tries again.
    /// - [`NotMinted`](SessionErrorKind::NotMinted): the client keeps its token and tries again. An
    ///   operator should investigate.
    pub async fn refresh(&self, presented: &str) -> Result<TokenPair, SessionError> {
        self.refresh_for(presented, None).await
    }

    /// Refreshes as [`refresh`](Self::refresh) does, for a client that sent its `client_id`.
    ///
    /// A token of another client is [`Invalid`](SessionErrorKind::Invalid), and nothing is written
    /// (RFC 6749 §10.4). A session that was started without a client belongs to the issuer's
    /// default client.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_for(
        &self,
        presented: &str,
        client_id: Option<&str>,
    ) -> Result<TokenPair, SessionError> {
        let inner = &self.inner;
        let invalid = || SessionError::new(SessionErrorKind::Invalid);
        let token = inner.tokens.read(presented).ok_or_else(invalid)?;
        let (id, generation) = (token.session_id(), token.generation());

        let mut peek = inner.store.peek(id).await;
        if is_interrupted(&peek) {
            peek = inner.store.peek(id).await;
        }
        let mut seen = peek?.ok_or_else(invalid)?;
        if let Some(client) = client_id {
            let session = Session::of(&seen.session)?;
            let own = session.client_id().unwrap_or(inner.issuer.client_id());
            if client != own {
                return Err(invalid());
            }
        }
        let expected = decide(&seen.session.family, generation, &inner.policy, seen.now);
        if !expected.answers() {
            // Reuse revokes the session; the other refusals write nothing.
            if expected.writes()
                && let Some(rotation) = self.rotate(id, generation, expected).await?
            {
                return Err(SessionError::refused(rotation.outcome));
            }
            if matches!(expected, RefreshOutcome::Expired | RefreshOutcome::Idle) {
                inner.emit(&SessionEvent::Expired {
                    session: id,
                    subject: seen.session.subject,
                });
            }
            return Err(SessionError::refused(expected));
        }

        // Every fallible step runs before the write.
        seen.session.family = apply(&seen.session.family, generation, expected, seen.now);
        let session = Session::of(&seen.session)?;
        let grants = inner.grants_of(&session).await?;
        let mint = |session: &SessionRecord, now: Timestamp| {
            let view = Session::of(session)?;
            let left = view.ends_at().since(now);
            let next = token.successor(session.family.generation);
            let access = inner.mint(&view, &grants, next.generation(), left)?;
            Ok::<_, SessionError>(TokenPair {
                is_new: next.generation() != generation,
                ..inner.pair(access, &next, &grants, id, left)
            })
        };
        let pair = mint(&seen.session, seen.now)?;
        if !expected.writes() {
            inner.emit(&SessionEvent::Refreshed {
                session: id,
                outcome: expected,
            });
            return Ok(pair);
        }
        let rotation = self.rotate(id, generation, expected).await?;
        let rotation = rotation.ok_or_else(invalid)?;
        if !rotation.outcome.answers() {
            return Err(SessionError::refused(rotation.outcome));
        }
        // A concurrent refresh may have moved the end of the session.
        if rotation.session.family.generation == seen.session.family.generation {
            return Ok(pair);
        }
        mint(&rotation.session, rotation.now)
    }

    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        expected: RefreshOutcome,
    ) -> Result<Option<Rotation>, SessionError> {
        self.write(move |inner| async move { inner.rotate(id, presented, expected).await })
            .await
    }
}

impl<S: SessionStore, G: ClaimsSource> Inner<S, G> {
    /// Performs the write of a refresh and emits its events.
    async fn rotate(
        &self,
        id: SessionId,
        presented: u64,
        expected: RefreshOutcome,
    ) -> Result<Option<Rotation>, SessionError> {
        let reuse = matches!(expected, RefreshOutcome::Reused(_));
        let mut done = self.store.rotate(id, presented, self.policy).await;
        let mut again = false;
        // The result of the first write is unknown. A second write sees the first one's parent and
        // gives the same answer, unless the policy has no grace window. Revoking a session twice is
        // harmless.
        if is_interrupted(&done) && (reuse || !self.policy.grace_window().is_zero()) {
            again = true;
            done = self.store.rotate(id, presented, self.policy).await;
        }
        let Some(mut rotation) = done? else {
            return Ok(None);
        };
        if again && reuse && rotation.outcome == RefreshOutcome::Revoked {
            // The first write revoked the session.
            rotation.outcome = expected;
        }
        self.emit_outcome(&rotation);
        Ok(Some(rotation))
    }

    fn emit_outcome(&self, rotation: &Rotation) {
        let session = rotation.session.id;
        match rotation.outcome {
            RefreshOutcome::Reused(reuse) => {
                self.refuse_session(session);
                let family = &rotation.session.family;
                let refreshed = family.rotated_at.unwrap_or(rotation.session.created_at);
                self.emit(&SessionEvent::ReuseDetected {
                    session,
                    subject: rotation.session.subject.clone(),
                    reuse,
                    age: rotation.now.since(refreshed),
                });
            }
            outcome if outcome.answers() => {
                if outcome == RefreshOutcome::Ahead {
                    self.emit(&SessionEvent::StoreLostWrite { session });
                }
                self.emit(&SessionEvent::Refreshed { session, outcome });
            }
            _ => {}
        }
    }
}
