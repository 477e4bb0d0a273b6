//! Proofs that a user receives mail at an address, and changes of the address.

use std::sync::Arc;

use super::{EmailAddress, Login, by_mail::sent_to};
use crate::{
    error::StoreError,
    event::LoginEvent,
    server::session::Sessions,
    store::port::{OneTimePurpose, OneTimeToken, SpentOneTime},
};

/// A user whose address was replaced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmailChanged {
    /// The user.
    pub subject: String,
    /// The address before the change.
    pub from: EmailAddress,
}

impl Login {
    /// Records that the holder of a verification token receives mail at the address to which the token
    /// was sent, and spends the token. Returns the user, or `None` if the token is unknown, spent or
    /// expired, or the user has another address now.
    ///
    /// No session starts: the holder may have opened the link on any device.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a store failed, the login has no [store of one-time
    /// tokens](crate::server::login::LoginBuilder::one_time), or the users do not [keep
    /// addresses](crate::store::port::UserStore::keeps_email).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the token may be spent without effect. The user requests another mail.
    pub async fn verify_email(&self, token: &str) -> Result<Option<String>, StoreError> {
        let tokens = self.one_time()?;
        let Some(digest) = OneTimeToken::read(token) else {
            return Ok(None);
        };
        let purpose = OneTimePurpose::Verification;
        let Some(spent) = tokens.redeem(&digest, purpose).await? else {
            return Ok(None);
        };
        let Some(address) = spent.email.as_deref().and_then(sent_to) else {
            return Ok(None);
        };
        if !self.users().verify_email(&spent.subject, &address).await? {
            return Ok(None);
        }
        self.inner.events.login(|| LoginEvent::EmailVerified {
            subject: spent.subject.clone(),
        });
        Ok(Some(spent.subject))
    }

    /// Replaces a user's address by the one to which a change token was sent, and spends the token. The
    /// user's tokens that were sent to the old address become invalid. Sessions continue.
    ///
    /// Returns `None` if the token is unknown, spent or expired, if the user is disabled, if all sessions of the
    /// user ended after the request, or if another user has the new address.
    ///
    /// # Errors
    ///
    /// As [`verify_email`](Self::verify_email).
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Once the token is spent, a separate task completes the change.
    pub async fn change_email(
        &self,
        sessions: &Sessions,
        token: &str,
    ) -> Result<Option<EmailChanged>, StoreError> {
        let tokens = Arc::clone(self.one_time()?);
        let Some(digest) = OneTimeToken::read(token) else {
            return Ok(None);
        };
        let (login, sessions) = (self.clone(), sessions.clone());
        let change = tokio::spawn(async move {
            let purpose = OneTimePurpose::EmailChange;
            match tokens.redeem(&digest, purpose).await? {
                Some(spent) => login.replace_email(&sessions, spent).await,
                None => Ok(None),
            }
        });
        let lost = |error| Err(StoreError::interrupted(error));
        change.await.unwrap_or_else(lost)
    }

    async fn replace_email(
        &self,
        sessions: &Sessions,
        spent: SpentOneTime,
    ) -> Result<Option<EmailChanged>, StoreError> {
        let subject = spent.subject;
        let user = self.users().find_by_subject(&subject).await?;
        let from = user
            .filter(|user| !user.disabled)
            .and_then(|user| user.email);
        let to = spent.email.as_deref().and_then(sent_to);
        let Some((from, to)) = from.zip(to) else {
            return Ok(None);
        };
        // A new password or a take-over invalidates the tokens that exist then. This one may have been spent
        // before, by the person who is locked out.
        let epoch = sessions.epoch(&subject).await;
        let epoch = epoch.map_err(StoreError::unavailable)?;
        if spent.epoch.is_some_and(|issued_in| issued_in != epoch) {
            return Ok(None);
        }
        if !self.users().change_email(&subject, &from, &to).await? {
            return Ok(None);
        }
        // Resets, sign-ins and verifications of the old address are invalid in any case, because the
        // address does not match. Another change is not.
        for purpose in OneTimePurpose::BY_MAIL {
            self.one_time()?.forget(&subject, purpose).await?;
        }
        self.inner.events.login(|| LoginEvent::EmailChanged {
            subject: subject.clone(),
        });
        Ok(Some(EmailChanged { subject, from }))
    }

    /// Returns `true` if the login has a store of one-time tokens.
    pub(crate) fn has_one_time(&self) -> bool {
        self.inner.one_time.is_some()
    }

    /// Returns `true` if both are clones of one login.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}
