//! Credentials, linked to the user of a session.

use std::time::Duration;

use super::{Login, identity::OIDC as IDENTITY, passkey::PASSKEY};
use crate::{
    error::StoreError,
    principal::SessionId,
    secret::{base62::base62, random},
    server::session::Sessions,
    store::port::{CredentialRecord, NewCredential, UNFINISHED},
};

/// The result of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linking {
    Linked,
    /// The credential belonged to the user before.
    LinkedBefore,
    /// The credential belongs to another user.
    Taken,
    /// The user has too many credentials of the kind.
    TooMany,
    /// The session has ended.
    Ended,
}

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlinking {
    Unlinked,
    /// The user has no such credential.
    Unknown,
    /// The user could not sign in without the credential.
    Last,
}

impl From<bool> for Unlinking {
    fn from(unlinked: bool) -> Self {
        match unlinked {
            true => Self::Unlinked,
            false => Self::Unknown,
        }
    }
}

impl Login {
    /// Links a credential to the user of a session, unless the user has `most` of its kind.
    ///
    /// A take-over ends the sessions first, and removes the credentials afterwards. A credential that is
    /// written after the removal would outlive it, and a crash would keep this process from removing it.
    /// The first write therefore has no effect. After it the session is checked, and the second write
    /// completes the link if the row of the first one is still there:
    ///
    /// - If the first write was before the removal, the second one finds no row.
    /// - If it was after the removal, the session has ended before the check.
    pub(super) async fn link_in(
        &self,
        (sessions, session): (&Sessions, SessionId),
        mut new: NewCredential,
        most: usize,
    ) -> Result<Linking, StoreError> {
        let rows = self.credentials()?;
        let data = std::mem::replace(&mut new.data, unfinished());
        if !self.link_free(&new).await? {
            return self.holder(&new).await;
        }
        let held = rows.credentials(&new.kind, &new.subject).await?;
        let Some(own) = held.iter().find(|row| row.data == new.data) else {
            return self.replaced((sessions, session), &new).await;
        };
        let mut count = held.len();
        for row in held.iter().filter(|row| is_abandoned(row, own)) {
            self.discard(row).await?;
            count -= 1;
        }
        // Those of concurrent requests count, so that not all of them succeed.
        if count > most {
            self.discard(own).await?;
            return Ok(Linking::TooMany);
        }
        if !is_alive(sessions, session, &new.subject).await? {
            self.discard(own).await?;
            return Ok(Linking::Ended);
        }
        match rows.update_credential(own, &data).await? {
            true => Ok(Linking::Linked),
            false => self.replaced((sessions, session), &new).await,
        }
    }

    /// Returns the result for a row that is gone: a take-over has removed it, or a concurrent request has
    /// replaced it.
    async fn replaced(
        &self,
        (sessions, session): (&Sessions, SessionId),
        new: &NewCredential,
    ) -> Result<Linking, StoreError> {
        match is_alive(sessions, session, &new.subject).await? {
            true => self.holder(new).await,
            false => Ok(Linking::Ended),
        }
    }

    /// Unlinks a credential of a subject, unless it is the last one by which the subject can sign in.
    ///
    /// The store compares a credential that stays while it removes this one. Two concurrent removals therefore
    /// do not count on each other's credential.
    pub(crate) async fn unlink_beside(
        &self,
        (kind, id): (&str, &str),
        subject: &str,
        opens: impl Fn(&CredentialRecord) -> bool,
    ) -> Result<Unlinking, StoreError> {
        let rows = self.credentials()?;
        for _ in 0..ATTEMPTS {
            let mut held = Vec::new();
            for kind in KINDS {
                held.extend(rows.credentials(kind, subject).await?);
            }
            let is_own = |row: &CredentialRecord| row.kind == kind && row.id == id;
            if !held.iter().any(is_own) {
                return Ok(Unlinking::Unknown);
            }
            let stays = |row: &&CredentialRecord| !is_own(row) && row.is_linked() && opens(row);
            let Some(kept) = held.iter().find(stays) else {
                return Ok(Unlinking::Last);
            };
            if rows.unlink_credential_beside(kind, id, kept).await? {
                return Ok(Unlinking::Unlinked);
            }
        }
        Err(StoreError::unavailable(
            "the credentials of a user change too often",
        ))
    }

    /// Links a credential. Returns `false` if it is linked already. The row of a link that is not complete is
    /// replaced.
    pub(super) async fn link_free(&self, new: &NewCredential) -> Result<bool, StoreError> {
        let rows = self.credentials()?;
        if rows.link_credential(new.clone()).await? {
            return Ok(true);
        }
        match rows.find_credential(&new.kind, &new.id).await? {
            Some(row) if row.is_linked() => return Ok(false),
            Some(row) => self.discard(&row).await?,
            None => {}
        }
        rows.link_credential(new.clone()).await
    }

    /// Removes a row whose link is not complete, unless it was completed in the meantime.
    async fn discard(&self, row: &CredentialRecord) -> Result<(), StoreError> {
        let rows = self.credentials()?;
        // After this write the request that made the row cannot complete it.
        if rows.update_credential(row, &unfinished()).await? {
            rows.unlink_credential(&row.kind, &row.id, &row.subject)
                .await?;
        }
        Ok(())
    }

    /// Returns the result for a credential that another request has linked.
    async fn holder(&self, new: &NewCredential) -> Result<Linking, StoreError> {
        let row = self.credentials()?.find_credential(&new.kind, &new.id);
        let is_own = |row: CredentialRecord| row.is_linked() && row.subject == new.subject;
        Ok(match row.await?.is_some_and(is_own) {
            true => Linking::LinkedBefore,
            false => Linking::Taken,
        })
    }
}

/// Each failed attempt is a change by another request of the user.
const ATTEMPTS: usize = 20;
/// The kinds of credentials that this crate links.
const KINDS: [&str; 2] = [IDENTITY, PASSKEY];

async fn is_alive(
    sessions: &Sessions,
    session: SessionId,
    subject: &str,
) -> Result<bool, StoreError> {
    let found = sessions.find(session).await;
    let found = found.map_err(StoreError::unavailable)?;
    Ok(found.is_some_and(|session| session.subject() == subject))
}

/// Returns the data of a credential whose link is not complete. It is unique, so that no request completes the
/// link of another one.
fn unfinished() -> String {
    format!("{UNFINISHED}{}", base62(random::<16>()))
}

/// Returns `true` for the row of a link that was interrupted, at the time at which a row was written. Both
/// times are those of the store.
fn is_abandoned(row: &CredentialRecord, written: &CredentialRecord) -> bool {
    !row.is_linked() && row.created_at.plus(ABANDONED) <= written.created_at
}

/// The time after which no request is completing a link any more.
const ABANDONED: Duration = Duration::from_secs(60);
