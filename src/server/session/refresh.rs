//! The refresh.

use super::{
    ClaimsOrigin, Inner, Session, SessionClaims, SessionError, SessionErrorKind, Sessions,
    TokenPair, is_interrupted, repeated,
};
use crate::{
    error::StoreError,
    event::{RefreshOutcome, SessionEvent},
    principal::SessionId,
    server::refresh::{RefreshPolicy, RefreshToken, Rotation, apply, contended, decide, write},
    store::port::{LoadedSession, SessionRecord, UserStanding},
    task::Contention,
    time::Timestamp,
};

impl Sessions {
    /// Exchanges a refresh token for a new access token and the next refresh token.
    ///
    /// A token that this server did not issue is refused without a query.
    ///
    /// If the session keeps the claims of its start, or the roles come from the users in the same store,
    /// the refresh is one conditional write. Otherwise the session is read, the
    /// [claims source](super::ClaimsSource) is called, the access token is minted, and the session is
    /// written if it is still what was read. A token that needs no change of the session (a repeat within
    /// the grace window, for example) is answered without a write.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](SessionErrorKind::Invalid), [`Expired`](SessionErrorKind::Expired),
    ///   [`Revoked`](SessionErrorKind::Revoked), [`Reused`](SessionErrorKind::Reused),
    ///   [`Disabled`](SessionErrorKind::Disabled): the user has to sign in again.
    /// - [`NotProved`](SessionErrorKind::NotProved): the session is bound to a key, see
    ///   [`refresh_bound`](Self::refresh_bound).
    /// - [`StoreUnavailable`](SessionErrorKind::StoreUnavailable),
    ///   [`ClaimsUnavailable`](SessionErrorKind::ClaimsUnavailable): the client keeps its token and
    ///   tries again.
    /// - [`NotMinted`](SessionErrorKind::NotMinted): the client keeps its token and tries again. An
    ///   operator should investigate.
    pub async fn refresh(&self, presented: &str) -> Result<TokenPair, SessionError> {
        self.exchange(presented, Presenter::default()).await
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
        let presenter = Presenter {
            client_id,
            ..Presenter::default()
        };
        self.exchange(presented, presenter).await
    }

    /// Refreshes as [`refresh_for`](Self::refresh_for) does, for a client that has proved to hold the key
    /// with this thumbprint (RFC 9449 §5).
    ///
    /// A session that is bound to another key is [`NotProved`](SessionErrorKind::NotProved), and so is a
    /// bound session in the other two methods. Nothing is written then, so that the thief of a refresh token
    /// neither uses it up nor ends the session. A session that is not bound to a key stays as it is:
    /// otherwise a thief could bind it to the thief's key. Its tokens are of the type `Bearer`.
    ///
    /// Bound sessions follow
    /// [`RefreshPolicy::of_bound_sessions`](crate::server::refresh::RefreshPolicy::of_bound_sessions).
    ///
    /// # Security
    ///
    /// Call it only after your code has verified a proof by the key. The
    /// [endpoints](crate::server::endpoints#bound-tokens) do so.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_bound(
        &self,
        presented: &str,
        client_id: Option<&str>,
        thumbprint: &str,
    ) -> Result<TokenPair, SessionError> {
        let presenter = Presenter {
            client_id,
            key: Some(thumbprint),
            needs_binding: false,
        };
        self.exchange(presented, presenter).await
    }

    pub(crate) async fn exchange(
        &self,
        presented: &str,
        presenter: Presenter<'_>,
    ) -> Result<TokenPair, SessionError> {
        let token = self.inner.tokens.read(presented).ok_or_else(invalid)?;
        let origin = self.inner.origin();
        let mut lost = false;
        // The client of a session stands in its details, which the store does not read. Nor does the write
        // refuse a session without a key, if none was proved.
        // A write before a token that cannot be signed would spend the presented token.
        let may_sign = self.inner.issuer.keys().may_sign();
        let is_checked_by_write =
            presenter.client_id.is_none() && (presenter.key.is_some() || !presenter.needs_binding);
        if origin != ClaimsOrigin::Elsewhere && is_checked_by_write && may_sign {
            let (id, live) = (token.session_id(), token.generation());
            let key = presenter.key.map(str::to_owned);
            let advance = self.write(move |inner| async move {
                inner.advance_live(id, live, origin, key.as_deref()).await
            });
            match advance.await? {
                Written::Done((LoadedSession { session, now, .. }, user)) => {
                    let view = Session::of(&session)?;
                    let inner = &self.inner;
                    let Standing::Read(user) = user else {
                        return inner.answer(&token, &session, &view, now, view.claims());
                    };
                    let claims = view.claims_of(user).ok_or_else(disabled)?;
                    return inner.answer(&token, &session, &view, now, &claims);
                }
                Written::Changed => {}
                Written::Lost => lost = true,
            }
        }
        // Boxed: the future is large, and most refreshes do not come here.
        Box::pin(self.load_and_exchange(&token, presenter, origin, lost)).await
    }

    /// Loads, decides, and writes if the session is still what was loaded. `lost`: the answer to a write
    /// was lost before.
    async fn load_and_exchange(
        &self,
        token: &RefreshToken,
        presenter: Presenter<'_>,
        origin: ClaimsOrigin,
        mut lost: bool,
    ) -> Result<TokenPair, SessionError> {
        let inner = &self.inner;
        let (id, presented) = (token.session_id(), token.generation());
        let mut fetched = None;
        // A change that makes another load necessary also makes the presented token spent or its answer
        // final, except for a confirmation.
        let mut contention = Contention::new();
        loop {
            let (loaded, user) = inner.load(id, origin).await?.ok_or_else(invalid)?;
            inner.check_presenter(&loaded.session, presenter)?;
            let policy = inner.policy_of(loaded.session.bound_key.as_deref());
            let outcome = decide(&loaded.session.family, presented, &policy, loaded.now);
            if !outcome.answers() {
                return Err(self.refuse(loaded, presented, outcome).await);
            }

            // Every fallible step runs before the write.
            let mut next = loaded.session.clone();
            next.family = apply(&next.family, presented, outcome, loaded.now);
            let view = Session::of(&next)?;
            let claims = match (user, fetched.take()) {
                (Standing::Read(user), _) => view.claims_of(user).ok_or_else(disabled)?,
                (Standing::Unread, Some(claims)) => claims,
                (Standing::Unread, None) => inner.claims_of(&view).await?,
            };
            let pair = inner.answer(token, &next, &view, loaded.now, &claims)?;
            if !outcome.writes() {
                inner.refreshed(&loaded.session, outcome);
                return Ok(pair);
            }
            let write = self.write(move |inner| async move {
                inner.write_outcome(loaded, presented, outcome, lost).await
            });
            match write.await? {
                Written::Done(_) => return Ok(pair),
                Written::Changed if contention.wait().await => {}
                Written::Changed => return Err(contended().into()),
                Written::Lost => lost = true,
            }
            fetched = Some(claims);
        }
    }

    /// Returns the error of a refusal. A reuse ends the session first.
    async fn refuse(
        &self,
        loaded: LoadedSession,
        presented: u64,
        outcome: RefreshOutcome,
    ) -> SessionError {
        if !outcome.writes() {
            if matches!(outcome, RefreshOutcome::Expired | RefreshOutcome::Idle) {
                self.inner.events.session(|| SessionEvent::Expired {
                    subject: loaded.session.subject,
                    session: loaded.session.id,
                });
            }
            return SessionError::refused(outcome);
        }
        let write = self.write(move |inner| async move {
            inner.write_outcome(loaded, presented, outcome, true).await
        });
        match write.await {
            Ok(Written::Done(rotation)) => SessionError::refused(rotation.outcome),
            Ok(_) => SessionError::refused(outcome),
            Err(error) => error,
        }
    }
}

/// The proofs of a client that presents a refresh token.
#[derive(Clone, Copy, Default)]
pub(crate) struct Presenter<'a> {
    pub(crate) client_id: Option<&'a str>,
    /// The thumbprint of the key that it has proved to hold.
    pub(crate) key: Option<&'a str>,
    /// `true` if sessions without a key are refused.
    pub(crate) needs_binding: bool,
}

/// The result of a conditional write.
enum Written<T> {
    Done(T),
    /// Nothing was written: the session is not what it was expected to be.
    Changed,
    /// The answer was lost. A write whose result is unknown gives the same answer to a repeat within
    /// the grace window, so the session is read again, once.
    Lost,
}

/// The standing of the subject, as it was loaded.
enum Standing {
    /// The store has other users than the claims source, or the source reads none.
    Unread,
    Read(Option<UserStanding>),
}

impl Inner {
    /// Reads the session, and its user if the claims come from the users of the same store.
    async fn load(
        &self,
        id: SessionId,
        origin: ClaimsOrigin,
    ) -> Result<Option<(LoadedSession, Standing)>, StoreError> {
        if matches!(origin, ClaimsOrigin::Users(_)) {
            let loaded = repeated(|| self.store.load_with_user(id)).await?;
            return Ok(loaded.map(|(loaded, user)| (loaded, Standing::Read(user))));
        }
        let loaded = repeated(|| self.store.load(id)).await?;
        Ok(loaded.map(|loaded| (loaded, Standing::Unread)))
    }

    /// Refuses the refresh token of another client, and that of a session whose key the client has not
    /// proved to hold.
    fn check_presenter(
        &self,
        session: &SessionRecord,
        presenter: Presenter<'_>,
    ) -> Result<(), SessionError> {
        match session.bound_key.as_deref() {
            None if presenter.needs_binding => return Err(invalid()),
            Some(bound) if presenter.key != Some(bound) => {
                self.events.session(|| SessionEvent::NotProved {
                    subject: session.subject.clone(),
                    session: session.id,
                });
                return Err(SessionError::new(SessionErrorKind::NotProved));
            }
            _ => {}
        }
        if let Some(client) = presenter.client_id {
            let session = Session::of(session)?;
            if client != session.client_id().unwrap_or(self.issuer.client_id()) {
                return Err(invalid());
            }
        }
        Ok(())
    }

    /// Returns the policy of a session that is bound to this key, if to any.
    fn policy_of(&self, key: Option<&str>) -> RefreshPolicy {
        match key {
            None => self.policy,
            Some(_) => self.policy.of_bound_sessions(),
        }
    }

    /// Advances the live generation in one round trip. A user who may not sign in is not advanced.
    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        origin: ClaimsOrigin,
        key: Option<&str>,
    ) -> Result<Written<(LoadedSession, Standing)>, SessionError> {
        let grace = self.policy_of(key).grace_window();
        let store = &self.store;
        let advanced = match origin {
            ClaimsOrigin::Users(_) => {
                let advanced = store.advance_live_with_user(id, live, grace, key).await;
                advanced.map(|done| done.map(|(session, user)| (session, Standing::Read(user))))
            }
            _ => {
                let advanced = store.advance_live(id, live, grace, key).await;
                advanced.map(|done| done.map(|session| (session, Standing::Unread)))
            }
        };
        if is_interrupted(&advanced) && !grace.is_zero() {
            return Ok(Written::Lost);
        }
        let Some(advanced) = advanced? else {
            return Ok(Written::Changed);
        };
        self.refreshed(&advanced.0.session, RefreshOutcome::Rotated);
        Ok(Written::Done(advanced))
    }

    /// Performs the write of a refresh and emits its events. `last`: nothing is repeated if the answer
    /// is lost, except for the end of a reused session.
    async fn write_outcome(
        &self,
        loaded: LoadedSession,
        presented: u64,
        outcome: RefreshOutcome,
        last: bool,
    ) -> Result<Written<Rotation>, SessionError> {
        let reuse = matches!(outcome, RefreshOutcome::Reused(_));
        let policy = self.policy_of(loaded.session.bound_key.as_deref());
        let mut done = write(&*self.store, loaded.clone(), presented, outcome).await;
        if is_interrupted(&done) {
            if reuse {
                // Revoking a session twice is harmless. If no live session is left, the first write
                // ended it.
                done = write(&*self.store, loaded, presented, outcome).await;
                if let Ok(Some(rotation)) = &mut done {
                    rotation.outcome = outcome;
                }
            } else if !last && !policy.grace_window().is_zero() {
                return Ok(Written::Lost);
            }
        }
        let Some(rotation) = done? else {
            return Ok(Written::Changed);
        };
        self.emit_outcome(&rotation);
        Ok(Written::Done(rotation))
    }

    /// Mints the tokens of a session after a refresh. `view` is the same session.
    fn answer(
        &self,
        token: &RefreshToken,
        session: &SessionRecord,
        view: &Session,
        now: Timestamp,
        claims: &SessionClaims,
    ) -> Result<TokenPair, SessionError> {
        let left = view.ends_at().since(now);
        let next = token.successor(session.family.generation);
        let access = self.mint(view, claims, next.generation(), left)?;
        Ok(TokenPair {
            is_new: next.generation() != token.generation(),
            ..self.pair(access, &next, claims, session, left)
        })
    }

    fn emit_outcome(&self, rotation: &Rotation) {
        let session = &rotation.session;
        match rotation.outcome {
            RefreshOutcome::Reused(reuse) => {
                self.refuse_session(session.id);
                let refreshed = session.family.rotated_at.unwrap_or(session.created_at);
                self.events.session(|| SessionEvent::ReuseDetected {
                    subject: session.subject.clone(),
                    session: session.id,
                    reuse,
                    age: rotation.now.since(refreshed),
                });
            }
            outcome if outcome.answers() => self.refreshed(session, outcome),
            _ => {}
        }
    }

    fn refreshed(&self, session: &SessionRecord, outcome: RefreshOutcome) {
        self.events.session(|| SessionEvent::Refreshed {
            subject: session.subject.clone(),
            session: session.id,
            outcome,
        });
    }
}

fn disabled() -> SessionError {
    SessionError::new(SessionErrorKind::Disabled)
}

fn invalid() -> SessionError {
    SessionError::new(SessionErrorKind::Invalid)
}
