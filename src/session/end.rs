//! The ends of sessions.
//!
//! To end what has ended does no harm, so that where the store was lost it is asked again.

use super::{
    GrantSource, Inner, RevokedScope, SessionError, SessionEvent, Sessions, is_interrupted,
};
use crate::{
    refresh::{RevokeReason, SessionStore},
    revoke::Target,
    token::SessionId,
};

impl<S: SessionStore, G: GrantSource> Sessions<S, G> {
    /// Ends the session of a refresh token: what signing out does on this device.
    ///
    /// A token that is not of this server, or whose session has ended, is no error
    /// (RFC 7009 §2.2).
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](super::SessionErrorKind::StoreUnavailable): it was not ended, or nobody
    /// knows.
    pub async fn revoke_token(&self, presented: &str) -> Result<(), SessionError> {
        if let Some(id) = self.session_of(presented) {
            self.revoke(id, RevokeReason::Logout).await?;
        }
        Ok(())
    }

    /// Ends a session; `false` where there was none alive.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, SessionError> {
        self.write(move |inner| async move {
            let mut ended = inner.store.revoke(id, reason).await;
            if is_interrupted(&ended) {
                // Where there is none alive any more, it was this one that ended it.
                ended = inner.store.revoke(id, reason).await.map(|_| true);
            }
            let ended = ended?;
            // Whoever ended it: its news may not have come here yet.
            inner.refuse_session(id);
            if ended {
                inner.revoked(RevokedScope::Session(id), reason);
            }
            Ok(ended)
        })
        .await
    }

    /// Ends one of the subject's own sessions, as chosen from its list of devices; `false` where it
    /// has none of this name alive.
    ///
    /// # Security
    ///
    /// Names of sessions are no secrets, so a name that a client sends must not end a session of
    /// somebody else.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke_own(
        &self,
        subject: &str,
        id: SessionId,
        reason: RevokeReason,
    ) -> Result<bool, SessionError> {
        match self.inner.store.peek(id).await? {
            Some(peek) if peek.session.subject == subject => self.revoke(id, reason).await,
            _ => Ok(false),
        }
    }

    /// Ends the subject's other sessions, and says how many there were.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<u64, SessionError> {
        let subject = subject.to_owned();
        self.write(move |inner| async move {
            let mut ended = inner.store.revoke_others(&subject, keep, reason).await;
            if is_interrupted(&ended) {
                ended = inner.store.revoke_others(&subject, keep, reason).await;
            }
            let ended = ended?;
            ended.iter().for_each(|id| inner.refuse_session(*id));
            let ended = u64::try_from(ended.len()).unwrap_or(u64::MAX);
            let scope = RevokedScope::Others {
                subject,
                kept: keep,
                ended,
            };
            inner.revoked(scope, reason);
            Ok(ended)
        })
        .await
    }

    /// Ends all of the subject's sessions, those that are just being started included, and says its
    /// new epoch.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke_all(
        &self,
        subject: &str,
        reason: RevokeReason,
    ) -> Result<u32, SessionError> {
        let subject = subject.to_owned();
        self.write(move |inner| async move {
            let mut epoch = inner.store.revoke_all(&subject, reason).await;
            if is_interrupted(&epoch) {
                epoch = inner.store.revoke_all(&subject, reason).await;
            }
            let epoch = epoch?;
            inner.refuse_older(&subject, epoch);
            inner.revoked(RevokedScope::All { subject, epoch }, reason);
            Ok(epoch)
        })
        .await
    }
}

impl<S: SessionStore, G: GrantSource> Inner<S, G> {
    pub(super) fn revoked(&self, scope: RevokedScope, reason: RevokeReason) {
        self.tell(&SessionEvent::Revoked { scope, reason });
    }

    /// From now on this process refuses the session's access tokens.
    pub(super) fn refuse_session(&self, id: SessionId) {
        self.refuse(|| Target::Session(id.to_string()));
    }

    /// From now on this process refuses the subject's access tokens of older epochs.
    pub(super) fn refuse_older(&self, subject: &str, epoch: u32) {
        self.refuse(|| Target::Subject {
            subject: subject.to_owned(),
            epoch,
        });
    }

    /// The store tells all nodes of it, this one included, but after the answer.
    fn refuse(&self, target: impl Fn() -> Target) {
        for set in &self.revocations {
            set.insert_from_now(target());
        }
    }
}
