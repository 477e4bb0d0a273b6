//! The take-over of an account by the owner of its address.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{EmailAddress, Login, change::end};
use crate::{
    erased::erased,
    error::StoreError,
    event::LoginEvent,
    layer::api_key::ApiKeys,
    server::session::Sessions,
    store::port::{OneTimePurpose, UserRecord},
};

/// A hook that removes what your application keeps for an account that its owner takes over.
///
/// An account whose address was never verified may have been registered by another person. If the owner
/// of the address signs in by a mail, resets the password, or comes from an identity provider that has
/// verified the address, everything that this person has set must be gone before: the
/// [`Login`] removes the password, sessions, devices, tokens from mails, second factors, and the
/// [credentials](crate::store::port::CredentialStore) that are linked to the account. The hook removes all
/// else that opens the account.
///
/// [`ApiKeys`](crate::layer::api_key::ApiKeys) are a hook, which revokes the keys of the account. An
/// [`AuthServer`](crate::AuthServer) revokes those in its store by itself. The hook is needed for keys in
/// another store, and ends keys that this process has cached immediately.
///
/// It is called **at least once**: again after a failure or a crash, and possibly on two nodes
/// concurrently.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{error::StoreError, server::login::TakeOverHook};
///
/// struct Passkeys; // with a connection to their table
///
/// impl TakeOverHook for Passkeys {
///     async fn on_take_over(&self, subject: &str) -> Result<(), StoreError> {
///         // DELETE FROM passkeys WHERE subject = $1
/// #       let _ = subject;
///         Ok(())
///     }
/// }
/// ```
pub trait TakeOverHook: Send + Sync + 'static {
    /// Removes everything that opens the account of this subject.
    ///
    /// # Errors
    ///
    /// Any error, and a call that takes more than 10 s: the owner is not signed in, gets 503, and repeats
    /// the proof. The address stays unverified, so that the hook is called again.
    fn on_take_over(&self, subject: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<H: TakeOverHook> TakeOverHook for Arc<H> {
    async fn on_take_over(&self, subject: &str) -> Result<(), StoreError> {
        (**self).on_take_over(subject).await
    }
}

impl TakeOverHook for ApiKeys {
    async fn on_take_over(&self, subject: &str) -> Result<(), StoreError> {
        let revoked = self.revoke_all(subject).await;
        revoked.map(drop).map_err(StoreError::unavailable)
    }
}

erased! {
    pub(super) trait ErasedTakeOverHook: TakeOverHook {
        async fn on_take_over(&self, subject: &'a str) -> Result<(), StoreError>;
    }
}

/// An account whose owner has proved to receive mail at its address.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProvedEmail {
    /// The user.
    pub subject: String,
    /// The epoch for [`SignIn::epoch`](crate::server::login::SignIn::epoch).
    pub epoch: u32,
    /// `true` if the address was not verified before, and everything that opened the account was
    /// removed.
    pub taken_over: bool,
    /// `true` if a password was removed.
    pub(crate) lost_password: bool,
}

impl Login {
    /// Returns the account with this address, for a caller who has proved to own the address by other
    /// means than a mail of this server: an identity provider that has verified it. `None` if no user has
    /// the address, or if the user is disabled.
    ///
    /// If the address was never verified here, another person may have registered the account. Then
    /// everything that opens it is removed first: the password, sessions, the trust in devices, tokens from
    /// mails, second factors, and what the [hooks](crate::server::login::LoginBuilder::on_take_over)
    /// remove. The address is verified afterwards. An error or a crash in between leaves the account
    /// locked, and the call can be repeated.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a store or a hook failed; or the users do not [keep
    /// addresses](crate::store::port::UserStore::keeps_email) and the record does not say that the address
    /// is verified.
    ///
    /// # Security
    ///
    /// The method does not authenticate its caller. The provider must state that it has verified this
    /// very address (`email_verified` of OIDC), and must be one that you trust to do so.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::{
    ///     AuthServer,
    ///     error::StoreError,
    ///     server::login::{EmailAddress, SignIn},
    /// };
    ///
    /// async fn known(auth: &AuthServer, verified: &EmailAddress) -> Result<Option<SignIn>, StoreError> {
    ///     let proved = auth.login().prove_email(auth.sessions(), verified).await?;
    ///     Ok(proved.map(|account| SignIn::new(account.subject).epoch(account.epoch).amr(["fed"])))
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// A take-over that has begun is completed by a separate task.
    pub async fn prove_email(
        &self,
        sessions: &Sessions,
        address: &EmailAddress,
    ) -> Result<Option<ProvedEmail>, StoreError> {
        let user = self.users().find_by_email(address).await?;
        let user = user.filter(|user| !user.disabled && user.has_email(Some(address.as_str())));
        let Some(user) = user else {
            return Ok(None);
        };
        self.check_recorded(&user)?;
        let epoch = match user.epoch {
            Some(epoch) => epoch,
            None => sessions
                .epoch(&user.subject)
                .await
                .map_err(StoreError::unavailable)?,
        };
        self.proved(sessions, user, address, epoch).await
    }

    /// Takes the account over if its address was never verified. Returns `None` if the user has another
    /// address now. `epoch` is that of a user who is not taken over.
    pub(super) async fn proved(
        &self,
        sessions: &Sessions,
        user: UserRecord,
        address: &EmailAddress,
        epoch: u32,
    ) -> Result<Option<ProvedEmail>, StoreError> {
        if !self.is_unproved(&user) {
            return Ok(Some(ProvedEmail {
                subject: user.subject,
                epoch,
                taken_over: false,
                lost_password: false,
            }));
        }
        let (login, sessions, address) = (self.clone(), sessions.clone(), address.clone());
        // A separate task, which completes even if the client disconnects.
        let taken =
            tokio::spawn(async move { login.take_over(&sessions, &user.subject, &address).await });
        taken
            .await
            .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))
    }

    /// # Errors
    ///
    /// [`StoreError`]: another person may have registered the account of this address, and the users do not
    /// record that its owner has taken it over.
    pub(crate) fn check_recorded(&self, user: &UserRecord) -> Result<(), StoreError> {
        match user.email_verified || self.users().keeps_email() {
            true => Ok(()),
            false => Err(StoreError::invalid(
                "the user store does not record which addresses are verified",
            )),
        }
    }

    /// Returns `true` if another person may have registered the account of this address.
    pub(super) fn is_unproved(&self, user: &UserRecord) -> bool {
        !user.email_verified && self.users().keeps_email()
    }

    /// Removes everything that opens an account, and then marks its address as verified.
    ///
    /// The order makes an interruption harmless. First the other person is locked out, so that nothing is
    /// set again behind the steps that follow. The address is verified last: until then every proof
    /// repeats all steps, and the owner is not signed in.
    pub(super) async fn take_over(
        &self,
        sessions: &Sessions,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<Option<ProvedEmail>, StoreError> {
        let Some(lost_password) = self.lock_password(subject, address).await? else {
            return Ok(None);
        };
        let epoch = end(self, sessions, subject).await?;
        if let Some(tokens) = &self.inner.one_time {
            tokens.forget(subject, OneTimePurpose::Verification).await?;
        }
        if self.inner.second.take_over(subject, epoch).await? {
            self.inner.events.login(|| LoginEvent::SecondFactorRemoved {
                subject: subject.to_owned(),
            });
        }
        self.inner.admission.clear_codes(subject).await?;
        if let Some(credentials) = &self.inner.credentials {
            credentials.unlink_credentials(subject).await?;
        }
        for hook in &self.inner.take_over {
            let called = timeout(HOOK, hook.on_take_over(subject)).await;
            called.unwrap_or_else(|late| Err(StoreError::unavailable(late)))?;
        }
        if !self.users().verify_email(subject, address).await? {
            return Ok(None);
        }
        let events = &self.inner.events;
        events.login(|| LoginEvent::TakenOver {
            subject: subject.to_owned(),
        });
        events.login(|| LoginEvent::EmailVerified {
            subject: subject.to_owned(),
        });
        Ok(Some(ProvedEmail {
            subject: subject.to_owned(),
            epoch,
            taken_over: true,
            lost_password,
        }))
    }

    /// Replaces the password by a hash that no password matches. Returns `true` if there was a password,
    /// and `None` if the user is disabled or has another address now.
    async fn lock_password(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<Option<bool>, StoreError> {
        let locked = self.inner.hasher.unmatched().map_err(StoreError::invalid)?;
        // Repeated if a login has just upgraded the old hash.
        for _ in 0..3 {
            let user = self.users().find_by_subject(subject).await?;
            let user = user.filter(|user| !user.disabled && user.has_email(Some(address.as_str())));
            let Some(user) = user else {
                return Ok(None);
            };
            let Some(old) = user.password else {
                return Ok(Some(false));
            };
            if self.users().replace_hash(subject, &old, &locked).await? {
                self.inner.events.login(|| LoginEvent::PasswordChanged {
                    subject: subject.to_owned(),
                });
                return Ok(Some(true));
            }
        }
        Err(StoreError::unavailable("the password keeps changing"))
    }
}

/// The time for a hook.
const HOOK: Duration = Duration::from_secs(10);
