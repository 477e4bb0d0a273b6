//! Setting a new password without the old one.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    error::StoreError,
    login::{
        Login, Network, NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, OneTimeToken,
        Password, PasswordChange, PasswordHash, ThrottleStore, User, UserStore, change::Change,
        use_case::Stopped,
    },
    refresh::SessionStore,
    session::{GrantSource, Sessions},
};

impl<U: UserStore, T: ThrottleStore> Login<U, T> {
    /// Issues a token with which its holder sets a new password, to be sent to the user's address.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not kept, or the login has no
    /// [store of one-time tokens](crate::login::LoginBuilder::one_time).
    ///
    /// # Security
    ///
    /// Answer a request for a reset before the user is looked up, and do the rest in the background:
    /// otherwise the time of the answer shows which accounts exist.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    pub async fn reset_token(
        &self,
        subject: &str,
        lifetime: Duration,
    ) -> Result<OneTimeToken, StoreError> {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, subject, lifetime);
        self.one_time()?.issue(new).await?;
        Ok(token)
    }

    /// Sets a new password for the holder of a [reset token](Self::reset_token), and spends the token.
    ///
    /// The rest is that of [`change_password`](Self::change_password): the
    /// [policy](crate::login::LoginBuilder::password_policy), the end of all sessions and of the trust in
    /// devices, and the end of the user's other tokens. The token is looked at after the policy, and
    /// spent after the hash is made, so that neither a refused password nor a full pool costs the user
    /// the token.
    ///
    /// A token that is unknown, spent, over or for another purpose is
    /// [`Refused`](PasswordChange::Refused), and so are disabled users and users without a password, for
    /// whom the port has no method.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{net::IpAddr, time::Duration};
    /// # use tower_jwt_auth::{
    /// #     login::{Login, MemoryThrottle, Password, PasswordChange, UserStore},
    /// #     refresh::SessionStore,
    /// #     session::Sessions,
    /// # };
    /// async fn reset<U: UserStore, S: SessionStore>(
    ///     (login, sessions): (&Login<U, MemoryThrottle>, &Sessions<S>),
    ///     (token, new): (&str, &Password),
    ///     client: Option<IpAddr>,
    /// ) -> &'static str {
    ///     match login.reset_password(sessions, token, new, client).await {
    ///         PasswordChange::Changed { .. } => "sign in with the new password",
    ///         PasswordChange::NotAllowed { .. } => "choose another password",
    ///         PasswordChange::Refused => "ask for another link",
    ///         _ => "try again later",
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As [`change_password`](Self::change_password): once the token is spent, a separate task does the
    /// rest.
    pub async fn reset_password<S: SessionStore, G: GrantSource>(
        &self,
        sessions: &Sessions<S, G>,
        token: &str,
        new: &Password,
        network: impl Into<Network>,
    ) -> PasswordChange {
        let network = network.into();
        match self.try_reset(sessions, token, new, network).await {
            Ok(Some(changed)) => changed,
            Ok(None) => PasswordChange::Refused,
            Err(stopped) => self.not_changed(stopped, network),
        }
    }

    /// Sets a new password without the old one and without a token, as an administrator does.
    ///
    /// The rest is that of [`reset_password`](Self::reset_password). Returns
    /// [`Refused`](PasswordChange::Refused) for users who are unknown, disabled or without a password.
    ///
    /// # Security
    ///
    /// Nothing is proved by the caller of this method: guard it.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As [`change_password`](Self::change_password).
    pub async fn set_password<S: SessionStore, G: GrantSource>(
        &self,
        sessions: &Sessions<S, G>,
        subject: &str,
        new: &Password,
        network: impl Into<Network>,
    ) -> PasswordChange {
        let network = network.into();
        let hash = match self.hash_new(new, network).await {
            Ok(hash) => hash,
            Err(error) => return self.not_changed(error.into(), network),
        };
        let (login, sessions) = (self.clone(), sessions.clone());
        let subject = subject.to_owned();
        let set = tokio::spawn(async move { login.set(&sessions, &subject, hash).await });
        match set
            .await
            .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))
        {
            Ok(Some(changed)) => changed,
            Ok(None) => PasswordChange::Refused,
            Err(error) => self.not_changed(error.into(), network),
        }
    }

    async fn try_reset<S: SessionStore, G: GrantSource>(
        &self,
        sessions: &Sessions<S, G>,
        token: &str,
        new: &Password,
        network: Network,
    ) -> Result<Option<PasswordChange>, Stopped> {
        let tokens = self.one_time()?.clone();
        self.password_policy().check(new).map_err(Stopped::Rule)?;
        let Some(digest) = OneTimeToken::read(token) else {
            return Ok(None);
        };
        let hash = self.hash_new(new, network).await?;
        let (login, sessions) = (self.clone(), sessions.clone());
        let reset = tokio::spawn(async move {
            let purpose = OneTimePurpose::Reset;
            match tokens.redeem(&digest, purpose).await? {
                Some(subject) => login.set(&sessions, &subject, hash).await,
                None => Ok(None),
            }
        });
        // Otherwise the store panicked, or the runtime shuts down.
        Ok(reset
            .await
            .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))?)
    }

    async fn set<S: SessionStore, G: GrantSource>(
        &self,
        sessions: &Sessions<S, G>,
        subject: &str,
        hash: PasswordHash,
    ) -> Result<Option<PasswordChange>, StoreError> {
        // Again where a login has just upgraded the old hash.
        for _ in 0..3 {
            let user = self.users().find_by_subject(subject).await?;
            let user = user.filter(|user| !user.disabled);
            let Some(old) = user.and_then(|user| user.password) else {
                return Ok(None);
            };
            let change = Change {
                login: self.clone(),
                sessions: sessions.clone(),
                subject: subject.to_owned(),
                old,
                new: hash.clone(),
            };
            if let Some(epoch) = change.write().await? {
                let user = User::new(subject).password(hash);
                let device_token = self.device_token(&user);
                return Ok(Some(PasswordChange::Changed {
                    epoch,
                    device_token,
                }));
            }
        }
        Ok(None)
    }

    /// Forgets the tokens that the subject's old password protected.
    pub(super) async fn forget_tokens(&self, subject: &str) -> Result<(), StoreError> {
        let Some(tokens) = &self.inner().one_time else {
            return Ok(());
        };
        for purpose in OneTimePurpose::UNDER_A_PASSWORD {
            let forgotten = timeout(ANSWER, tokens.forget(subject, purpose)).await;
            forgotten.unwrap_or_else(|late| Err(StoreError::unavailable(late)))?;
        }
        Ok(())
    }

    fn one_time(&self) -> Result<&OneTimeTokens, StoreError> {
        let tokens = self.inner().one_time.as_ref();
        tokens.ok_or_else(|| StoreError::unavailable("the login has no store of one-time tokens"))
    }
}

/// The store of one-time tokens, whatever its type is.
#[derive(Clone)]
pub(super) struct OneTimeTokens(Arc<dyn ErasedStore>);

impl OneTimeTokens {
    pub(super) fn new(store: impl OneTimeStore) -> Self {
        Self(Arc::new(store))
    }

    async fn issue(&self, token: NewOneTime) -> Result<(), StoreError> {
        self.0.issue(token).await
    }

    async fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Result<Option<String>, StoreError> {
        self.0.redeem(digest, purpose).await
    }

    async fn forget(&self, subject: &str, purpose: OneTimePurpose) -> Result<(), StoreError> {
        self.0.forget(subject, purpose).await
    }
}

impl fmt::Debug for OneTimeTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeTokens(..)")
    }
}

type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

trait ErasedStore: Send + Sync {
    fn issue(&self, token: NewOneTime) -> Waiting<'_, ()>;

    fn redeem<'a>(
        &'a self,
        digest: &'a OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Waiting<'a, Option<String>>;

    fn forget<'a>(&'a self, subject: &'a str, purpose: OneTimePurpose) -> Waiting<'a, ()>;
}

impl<O: OneTimeStore> ErasedStore for O {
    fn issue(&self, token: NewOneTime) -> Waiting<'_, ()> {
        Box::pin(OneTimeStore::issue(self, token))
    }

    fn redeem<'a>(
        &'a self,
        digest: &'a OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> Waiting<'a, Option<String>> {
        Box::pin(OneTimeStore::redeem(self, digest, purpose))
    }

    fn forget<'a>(&'a self, subject: &'a str, purpose: OneTimePurpose) -> Waiting<'a, ()> {
        Box::pin(OneTimeStore::forget(self, subject, purpose))
    }
}

/// The time that the store has for an answer.
const ANSWER: Duration = Duration::from_secs(5);
