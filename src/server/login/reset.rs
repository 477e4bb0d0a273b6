//! New passwords without the old one.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    error::StoreError,
    server::{
        login::{
            ChangePasswordOutcome, Login, Network, Password, PasswordHash,
            by_mail::sent_to,
            change::Change,
            use_case::{Stopped, note_store},
        },
        session::Sessions,
    },
    store::port::{
        ErasedOneTimeStore, NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeToken, SpentOneTime,
        UserRecord,
    },
};

impl Login {
    /// Issues a token with which its holder can set a new password. Send it to the user's address.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the token was not stored, or the login has no [store of one-time
    /// tokens](crate::server::login::LoginBuilder::one_time).
    ///
    /// # Security
    ///
    /// Answer a request for a reset before the user lookup, and do the rest in the background.
    /// Otherwise the response time reveals which accounts exist.
    /// [`MailFlows`](crate::server::mail::MailFlows) do that.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    pub async fn reset_token(
        &self,
        subject: &str,
        lifetime: Duration,
    ) -> Result<OneTimeToken, StoreError> {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, subject, lifetime);
        self.issue_token(new).await?;
        Ok(token)
    }

    pub(crate) async fn redeem_token(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<SpentOneTime>, StoreError> {
        let spent = self.one_time()?.redeem(digest, purpose).await;
        spent.inspect_err(note_store)
    }

    pub(crate) async fn issue_token(&self, token: NewOneTime) -> Result<(), StoreError> {
        self.one_time()?.issue(token).await
    }

    /// Sets a new password for the holder of a [reset token](Self::reset_token), and spends the
    /// token.
    ///
    /// A token that was sent by mail is valid only while the user has the address to which it was sent.
    /// It also verifies that address, if the users [keep
    /// addresses](crate::store::port::UserStore::keeps_email). If it was not verified before, the account is
    /// taken over first, as [`prove_email`](Self::prove_email) says.
    ///
    /// Everything else works as in [`change_password`](Self::change_password): the
    /// [policy](crate::server::login::LoginBuilder::password_policy) applies, all sessions end, devices are
    /// no longer trusted, and the user's other tokens become invalid. The policy is checked before
    /// the token, and the token is spent after the hash was computed. A password that the policy
    /// refuses, or a full hashing queue, therefore does not cost the user the token.
    ///
    /// The result is [`Refused`](ChangePasswordOutcome::Refused) for a token that is unknown, spent,
    /// expired or has another purpose, and for disabled users. A user without a password gets a first
    /// one, if the users implement [`set_first_hash`](crate::store::port::UserStore::set_first_hash).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{net::IpAddr, time::Duration};
    /// # use tower_jwt_auth::server::{login::{Login, Password, ChangePasswordOutcome}, session::Sessions};
    /// async fn reset(
    ///     (login, sessions): (&Login, &Sessions),
    ///     (token, new): (&str, &Password),
    ///     client: Option<IpAddr>,
    /// ) -> &'static str {
    ///     match login.reset_password(sessions, token, new, client).await {
    ///         ChangePasswordOutcome::Changed { .. } => "sign in with the new password",
    ///         ChangePasswordOutcome::NotAllowed { .. } => "choose another password",
    ///         ChangePasswordOutcome::Refused => "ask for another link",
    ///         _ => "try again later",
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As for [`change_password`](Self::change_password): once the token is spent, a separate task
    /// completes the change.
    pub async fn reset_password(
        &self,
        sessions: &Sessions,
        token: &str,
        new: &Password,
        network: impl Into<Network>,
    ) -> ChangePasswordOutcome {
        let network = network.into();
        match self.try_reset(sessions, token, new, network).await {
            Ok(Some(changed)) => changed,
            Ok(None) => ChangePasswordOutcome::Refused,
            Err(stopped) => self.not_changed(stopped, network),
        }
    }

    /// Sets a new password without the old one and without a token, for administrators.
    ///
    /// Everything else works as in [`reset_password`](Self::reset_password). The result is
    /// [`Refused`](ChangePasswordOutcome::Refused) for users who are unknown or disabled, and for users
    /// without a password if the users do not implement
    /// [`set_first_hash`](crate::store::port::UserStore::set_first_hash).
    ///
    /// # Security
    ///
    /// The method does not authenticate its caller. Call it only for an authorized administrator.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As for [`change_password`](Self::change_password).
    pub async fn set_password(
        &self,
        sessions: &Sessions,
        subject: &str,
        new: &Password,
        network: impl Into<Network>,
    ) -> ChangePasswordOutcome {
        let network = network.into();
        let hash = match self.hash_new(new, network).await {
            Ok(hash) => hash,
            Err(error) => return self.not_changed(error.into(), network),
        };
        let (login, sessions) = (self.clone(), sessions.clone());
        let subject = subject.to_owned();
        let set = tokio::spawn(async move {
            let user = SpentOneTime::new(subject, None, None);
            login.set(&sessions, &user, hash).await
        });
        match set
            .await
            .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))
        {
            Ok(Some(changed)) => changed,
            Ok(None) => ChangePasswordOutcome::Refused,
            Err(error) => self.not_changed(error.into(), network),
        }
    }

    async fn try_reset(
        &self,
        sessions: &Sessions,
        token: &str,
        new: &Password,
        network: Network,
    ) -> Result<Option<ChangePasswordOutcome>, Stopped> {
        let tokens = Arc::clone(self.one_time()?);
        self.password_policy().check(new).map_err(Stopped::Rule)?;
        let Some(digest) = OneTimeToken::read(token) else {
            return Ok(None);
        };
        let hash = self.hash_new(new, network).await?;
        let (login, sessions) = (self.clone(), sessions.clone());
        let reset = tokio::spawn(async move {
            let purpose = OneTimePurpose::Reset;
            match tokens.redeem(&digest, purpose).await? {
                Some(spent) => login.set(&sessions, &spent, hash).await,
                None => Ok(None),
            }
        });
        // An error means that the store panicked, or that the runtime is shutting down.
        Ok(reset
            .await
            .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))?)
    }

    pub(super) async fn set(
        &self,
        sessions: &Sessions,
        SpentOneTime { subject, email, .. }: &SpentOneTime,
        hash: PasswordHash,
    ) -> Result<Option<ChangePasswordOutcome>, StoreError> {
        if let Some(address) = email.as_deref().and_then(sent_to) {
            // Before the new password is set: its owner must not sign in while another person can.
            let user = self.users().find_by_subject(subject).await?;
            let user = user.filter(|user| !user.disabled && user.has_email(email.as_deref()));
            if user.is_some_and(|user| self.is_unproved(&user))
                && self.take_over(sessions, subject, &address).await?.is_none()
            {
                return Ok(None);
            }
        }
        // Repeated if a login has just upgraded the old hash.
        for _ in 0..3 {
            let user = self.users().find_by_subject(subject).await?;
            let user = user.filter(|user| !user.disabled && user.has_email(email.as_deref()));
            let Some(user) = user else {
                return Ok(None);
            };
            let old = user.password;
            if old.is_none() && !self.users().can_set_first_hash() {
                return Ok(None);
            }
            let change = Change {
                login: self.clone(),
                sessions: sessions.clone(),
                subject: subject.clone(),
                old,
                new: hash.clone(),
            };
            if let Some(epoch) = change.write().await? {
                let user = UserRecord::new(subject).password(hash);
                let device_token = self.device_token(&user);
                return Ok(Some(ChangePasswordOutcome::Changed {
                    subject: subject.clone(),
                    epoch,
                    device_token,
                }));
            }
        }
        Ok(None)
    }

    /// Invalidates the tokens of a subject with this purpose.
    pub(crate) async fn forget(
        &self,
        subject: &str,
        purpose: OneTimePurpose,
    ) -> Result<(), StoreError> {
        self.one_time()?.forget(subject, purpose).await
    }

    /// Invalidates the tokens that the subject's old password protected.
    pub(super) async fn forget_tokens(&self, subject: &str) -> Result<(), StoreError> {
        let Some(tokens) = &self.inner.one_time else {
            return Ok(());
        };
        for purpose in OneTimePurpose::UNDER_A_PASSWORD {
            let forgotten = timeout(ANSWER, tokens.forget(subject, purpose)).await;
            forgotten.unwrap_or_else(|late| Err(StoreError::unavailable(late)))?;
        }
        Ok(())
    }

    pub(super) fn one_time(&self) -> Result<&Arc<dyn ErasedOneTimeStore>, StoreError> {
        let tokens = self.inner.one_time.as_ref();
        tokens.ok_or_else(|| StoreError::unavailable("the login has no store of one-time tokens"))
    }
}

/// The timeout of a store call.
const ANSWER: Duration = Duration::from_secs(5);
