//! Changing a password that is known.

use std::time::Duration;

use crate::{
    event::AuthEvent,
    login::{
        AttemptOutcome, Login, Password, ThrottleStore, UserStore,
        use_case::{Stopped, note_store},
    },
};

/// What came of changing a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordChange {
    /// The new password is the user's.
    Changed,
    /// The old one is wrong, there is no such user, or they are disabled.
    Refused,
    /// Too many wrong old passwords. HTTP says 429.
    Wait {
        /// When the next one is looked at; at least 1 s.
        retry_after: Duration,
    },
    /// Too many others hash passwords now. HTTP says 503.
    Busy {
        /// When it may work again; at least 1 s.
        retry_after: Duration,
    },
    /// A store does not answer. HTTP says 503. If it was lost while it answered, the password may be
    /// the new one.
    Unavailable,
}

impl<U: UserStore, T: ThrottleStore> Login<U, T> {
    /// Replaces the password of somebody who is signed in and knows the old one.
    ///
    /// Afterwards end their other sessions:
    /// [`Sessions::restart`](crate::session::Sessions::restart).
    ///
    /// # Security
    ///
    /// Whoever holds a stolen session must not find out the password by trying: wrong ones are counted
    /// for each subject, by the same rule as at the login and apart from it, so that this holds up
    /// nobody who signs in.
    ///
    /// Two changes at once do not overwrite each other: the second one's old password is no longer
    /// the right one.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// The password is changed or it is not. A change that is dropped on its way stays counted.
    pub async fn change_password(
        &self,
        subject: &str,
        old: &Password,
        new: &Password,
    ) -> PasswordChange {
        match self.try_change(subject, old, new).await {
            Ok(true) => PasswordChange::Changed,
            Ok(false) => PasswordChange::Refused,
            Err(Stopped::Wait(wait)) => PasswordChange::Wait {
                retry_after: wait.max(SECOND),
            },
            Err(Stopped::Busy(wait)) => PasswordChange::Busy {
                retry_after: wait.max(SECOND),
            },
            Err(Stopped::Store(error)) => {
                note_store(&error);
                PasswordChange::Unavailable
            }
        }
    }

    async fn try_change(
        &self,
        subject: &str,
        old: &Password,
        new: &Password,
    ) -> Result<bool, Stopped> {
        let inner = self.inner();
        let admission = inner.turnstile.admit_change(subject).await?;
        let changed = self.replace(subject, old, new).await;
        let outcome = match changed {
            Ok(true) => AttemptOutcome::Succeeded,
            Ok(false) => AttemptOutcome::Failed,
            Err(_) => AttemptOutcome::Undecided,
        };
        inner.turnstile.settle_change(admission, outcome).await;
        if let Ok(changed) = changed {
            inner.events.tell(|| match changed {
                true => AuthEvent::PasswordChanged { subject },
                false => AuthEvent::LoginFailed {
                    subject: Some(subject),
                    reason: "wrong_password",
                },
            });
        }
        changed
    }

    async fn replace(
        &self,
        subject: &str,
        old: &Password,
        new: &Password,
    ) -> Result<bool, Stopped> {
        let inner = self.inner();
        let mut replacement = None;
        // Once more where a login has just upgraded the hash of the same password.
        for _ in 0..2 {
            let user = inner.users.find_by_subject(subject).await?;
            let verified = inner.verify(old, user.as_ref()).await?;
            let Some(user) = user.filter(|user| verified.matches && !user.disabled) else {
                return Ok(false);
            };
            let Some(current) = &user.password else {
                return Ok(false);
            };
            let hash = match replacement.take() {
                Some(hash) => hash,
                None => inner.hasher.hash(new).await?,
            };
            if inner.users.replace_hash(subject, current, &hash).await? {
                return Ok(true);
            }
            replacement = Some(hash);
        }
        Ok(false)
    }
}

const SECOND: Duration = Duration::from_secs(1);
