//! Revocation of sessions.
//!
//! Revoking is idempotent, so a write that was interrupted is repeated.

use super::{Inner, SessionError, Sessions, is_interrupted, repeated};
use crate::{
    event::{RevokeReason, RevokedScope, SessionEvent},
    principal::SessionId,
    revocation::RevocationTarget,
};

impl Sessions {
    /// Ends the session of a refresh token: a logout on this device.
    ///
    /// A token that this server did not issue, or whose session has ended, is not an error (RFC
    /// 7009 §2.2).
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](super::SessionErrorKind::StoreUnavailable): the session was not ended,
    /// or the result is unknown.
    pub async fn revoke_token(&self, presented: &str) -> Result<(), SessionError> {
        if let Some(id) = self.session_of(presented) {
            self.revoke(id, RevokeReason::Logout).await?;
        }
        Ok(())
    }

    /// Ends a session. Returns `false` if no live session has this id.
    ///
    /// # Errors
    ///
    /// As [`revoke_token`](Self::revoke_token).
    pub async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, SessionError> {
        self.revoke_of(id, None, reason).await
    }

    /// Ends a session of which the subject may be known already.
    async fn revoke_of(
        &self,
        id: SessionId,
        subject: Option<String>,
        reason: RevokeReason,
    ) -> Result<bool, SessionError> {
        self.write(move |inner| async move {
            let mut ended = inner.store.revoke(id, reason).await;
            if is_interrupted(&ended) {
                // If no live session is left, the first write ended it.
                ended = inner.store.revoke(id, reason).await.map(|_| true);
            }
            let ended = ended?;
            // Also if another process ended it: its entry may not have arrived over the feed yet.
            inner.refuse_session(id);
            if ended {
                let subject = match subject {
                    None => inner.owner(id).await,
                    known => known,
                };
                inner.revoked(subject, RevokedScope::Session(id), reason);
            }
            Ok(ended)
        })
        .await
    }

    /// Ends one of the subject's sessions, as chosen from the list of devices. Returns `false` if
    /// the subject has no live session of this id.
    ///
    /// # Security
    ///
    /// Session ids are not secret. The check of the subject keeps a client from ending another
    /// user's session by its id.
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
        match self.inner.store.load(id).await? {
            Some(loaded) if loaded.session.subject == subject => {
                self.revoke_of(id, Some(loaded.session.subject), reason)
                    .await
            }
            _ => Ok(false),
        }
    }

    /// Ends all sessions of the subject except `keep`, and returns how many were ended.
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
            let ended = repeated(|| inner.store.revoke_others(&subject, keep, reason)).await?;
            ended.iter().for_each(|id| inner.refuse_session(*id));
            let number = u64::try_from(ended.len()).unwrap_or(u64::MAX);
            let scope = RevokedScope::Others { kept: keep, ended };
            inner.revoked(Some(subject), scope, reason);
            Ok(number)
        })
        .await
    }

    /// Ends all sessions of the subject, including those that are being started concurrently.
    /// Returns the subject's new epoch.
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
            let epoch = repeated(|| inner.store.revoke_all(&subject, reason)).await?;
            inner.refuse_older(&subject, epoch);
            inner.revoked(Some(subject), RevokedScope::All { epoch }, reason);
            Ok(epoch)
        })
        .await
    }
}

impl Inner {
    fn revoked(&self, subject: Option<String>, scope: RevokedScope, reason: RevokeReason) {
        self.events.session(|| SessionEvent::Revoked {
            subject,
            scope,
            reason,
        });
    }

    /// Returns the subject of an ended session, for its event. The store keeps an ended session, and
    /// it is read only if an event sink is set.
    async fn owner(&self, id: SessionId) -> Option<String> {
        if !self.events.is_enabled() {
            return None;
        }
        let loaded = self.store.load(id).await.ok()??;
        Some(loaded.session.subject)
    }

    /// Makes this process refuse the session's access tokens from now on.
    pub(super) fn refuse_session(&self, id: SessionId) {
        self.refuse(|| RevocationTarget::Session(id.to_string()));
    }

    /// Makes this process refuse the subject's access tokens of older epochs from now on.
    pub(super) fn refuse_older(&self, subject: &str, epoch: u32) {
        self.refuse(|| RevocationTarget::Subject {
            subject: subject.to_owned(),
            epoch,
        });
    }

    /// Adds the target to this process's revocation sets. The store's feed notifies all nodes too,
    /// but only after the caller has its result.
    fn refuse(&self, target: impl Fn() -> RevocationTarget) {
        for set in &self.revocations {
            set.insert_from_now(target());
        }
    }
}
