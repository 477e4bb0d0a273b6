//! The change of a known password, and the writes that every new password needs.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    error::{StoreError, StoreErrorKind},
    event::{LoginEvent, LoginFailure},
    secret::Secret,
    server::{
        login::{
            Login, Network, Password, PasswordHash, PasswordRule,
            password::{Caller, Permit},
            throttle::AttemptOutcome,
            use_case::{Stopped, note_store},
        },
        session::{SessionError, Sessions},
    },
    store::port::{RevokeReason, UserRecord},
};

/// The result of changing, resetting or setting a password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChangePasswordOutcome {
    /// The new password is set. All sessions of the user have ended, the user's devices are no
    /// longer trusted, and the user's tokens for a reset or an unlock are invalid.
    Changed {
        /// The user.
        subject: String,
        /// The subject's new epoch, with which the caller's new session
        /// [starts](crate::server::session::StartSession::epoch).
        epoch: u32,
        /// The [device token](crate::server::login::DeviceTokens) for the new password. Tokens for the old
        /// password are no longer valid.
        device_token: Secret<String>,
    },
    /// The old password is wrong, or the user is unknown or disabled. At a reset: the token is not
    /// valid.
    Refused,
    /// The new password fails a rule of the [policy](crate::server::login::LoginBuilder::password_policy).
    /// The HTTP status is 400.
    NotAllowed {
        /// The rule.
        rule: PasswordRule,
    },
    /// Too many wrong old passwords. The HTTP status is 429.
    Wait {
        /// The time until the next attempt is accepted; at least 1 s.
        retry_after: Duration,
    },
    /// The queue for password hashing is full. The HTTP status is 503.
    Busy {
        /// The time after which a new attempt may succeed; at least 1 s.
        retry_after: Duration,
    },
    /// A store failed. The HTTP status is 503.
    ///
    /// If the connection to the store was lost during the write, the new password may be set. In
    /// that case all sessions are ended and the tokens are invalidated too, as soon as their stores
    /// are available within a minute.
    Unavailable,
}

impl Login {
    /// Replaces the password of a signed-in user who presents the old one.
    ///
    /// All sessions of the user end and the trust in the user's devices is withdrawn. Tokens for a
    /// reset or an unlock become invalid if the login [has their
    /// store](crate::server::login::LoginBuilder::one_time).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::net::IpAddr;
    /// # use tower_jwt_auth::server::{login::{Login, Password, ChangePasswordOutcome}, session::{Session, StartSession, Sessions, TokenPair}};
    /// async fn change(
    ///     (login, sessions): (&Login, &Sessions),
    ///     (caller, client): (&Session, Option<IpAddr>),
    ///     (old, new): (&Password, &Password),
    /// ) -> Result<TokenPair, Box<dyn std::error::Error>> {
    ///     let subject = caller.subject();
    ///     match login.change_password(sessions, subject, old, new, client).await {
    ///         // The caller continues with a new session.
    ///         ChangePasswordOutcome::Changed { epoch, .. } => {
    ///             Ok(sessions.start(StartSession::new(subject).epoch(epoch)).await?)
    ///         }
    ///         ChangePasswordOutcome::Refused => Err("this is not the old password".into()),
    ///         _ => Err("come back later".into()),
    ///     }
    /// }
    /// ```
    ///
    /// # Security
    ///
    /// A user whose password was stolen changes it to remove the thief. The sessions end after the
    /// new password is written, so that no session can start with the old password in between. They
    /// also end if the result of the write is unknown. They survive only if the process dies
    /// between the two writes, or if the session store fails at that moment and for the following
    /// minute. [`Sessions::revoke_others`] ends them after the owner has signed in with the new
    /// password.
    ///
    /// The holder of a stolen session must not be able to guess the password here. Wrong passwords
    /// are counted per subject, by the same rule as at the login but with separate counters, so
    /// that these attempts do not delay logins.
    ///
    /// `network` is the client's network, as for [`LoginAttempt::from`](crate::server::login::LoginAttempt::from).
    /// One network takes at most half of the hashing pool.
    ///
    /// Concurrent changes do not overwrite each other: the second change is refused, because its
    /// old password is no longer the current one.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// The writes run in a separate task, which completes even if the client disconnects. A change
    /// that is dropped earlier counts as a failed attempt.
    pub async fn change_password(
        &self,
        sessions: &Sessions,
        subject: &str,
        old: &Password,
        new: &Password,
        network: impl Into<Network>,
    ) -> ChangePasswordOutcome {
        let network = network.into();
        let change = self.try_change(sessions, subject, old, new, network);
        match change.await {
            Ok(Some(changed)) => changed,
            Ok(None) => ChangePasswordOutcome::Refused,
            Err(stopped) => self.not_changed(stopped, network),
        }
    }

    pub(super) fn not_changed(&self, stopped: Stopped, network: Network) -> ChangePasswordOutcome {
        match stopped {
            Stopped::Rule(rule) => ChangePasswordOutcome::NotAllowed { rule },
            Stopped::Wait(wait) => {
                let retry_after = wait.max(SECOND);
                let network = network.address();
                let throttled = || LoginEvent::Throttled {
                    retry_after,
                    network,
                };
                self.inner.events.login(throttled);
                ChangePasswordOutcome::Wait { retry_after }
            }
            Stopped::Busy(wait) => ChangePasswordOutcome::Busy {
                retry_after: wait.max(SECOND),
            },
            Stopped::Store(error) => {
                note_store(&error);
                ChangePasswordOutcome::Unavailable
            }
        }
    }

    async fn try_change(
        &self,
        sessions: &Sessions,
        subject: &str,
        old: &Password,
        new: &Password,
        network: Network,
    ) -> Result<Option<ChangePasswordOutcome>, Stopped> {
        let inner = &self.inner;
        inner.policy.check(new).map_err(Stopped::Rule)?;
        inner.note_network(network);
        let mut admission = inner.admission.admit_change(subject, network).await?;
        let (caller, permit) = (admission.caller(), admission.take_permit());
        let changed = self.replace(sessions, (caller, permit), subject, old, new);
        let changed = changed.await;
        let outcome = match changed {
            Ok(Some(_)) => AttemptOutcome::Succeeded,
            Ok(None) => AttemptOutcome::Failed,
            Err(_) => AttemptOutcome::Undecided,
        };
        inner.admission.settle_change(admission, outcome).await;
        if let Ok(None) = changed {
            inner.events.login(|| LoginEvent::Failed {
                subject: Some(subject.to_owned()),
                reason: LoginFailure::WrongPassword,
                network: network.address(),
            });
        }
        changed
    }

    async fn replace(
        &self,
        sessions: &Sessions,
        (caller, mut permit): (Caller, Option<Permit>),
        subject: &str,
        old: &Password,
        new: &Password,
    ) -> Result<Option<ChangePasswordOutcome>, Stopped> {
        let inner = &self.inner;
        let mut replacement = None;
        // A second round is needed if a login has just upgraded the hash of the same password.
        for _ in 0..2 {
            let user = inner.users.find_by_subject(subject).await?;
            let verified = inner.verify(permit.take(), caller, old, user.as_ref());
            let verified = verified.await?;
            let Some(user) = user.filter(|user| verified.matches && !user.disabled) else {
                return Ok(None);
            };
            let Some(current) = user.password else {
                return Ok(None);
            };
            let hash = match replacement.take() {
                Some(hash) => hash,
                None => inner.hasher.hash_for(caller, new).await?,
            };
            // Checks the session store before the write, because the sessions must end after it.
            let _ = sessions.epoch(subject).await.map_err(unavailable)?;
            let change = Change {
                login: self.clone(),
                sessions: sessions.clone(),
                subject: subject.to_owned(),
                old: Some(current),
                new: hash.clone(),
            };
            // A separate task, which completes even if the client disconnects.
            let epoch = match tokio::spawn(change.write()).await {
                Ok(epoch) => epoch?,
                // The store panicked, or the runtime is shutting down.
                Err(lost) => {
                    end(self, sessions, subject).await?;
                    return Err(StoreError::interrupted(lost).into());
                }
            };
            if let Some(epoch) = epoch {
                let user = UserRecord::new(subject).password(hash);
                return Ok(Some(ChangePasswordOutcome::Changed {
                    subject: subject.to_owned(),
                    epoch,
                    device_token: self.device_token(&user),
                }));
            }
            replacement = Some(hash);
        }
        Ok(None)
    }
}

/// The writes of a new password, after the caller has proved the right to set it.
pub(super) struct Change {
    pub(super) login: Login,
    pub(super) sessions: Sessions,
    pub(super) subject: String,
    /// `None` for a first password.
    pub(super) old: Option<PasswordHash>,
    pub(super) new: PasswordHash,
}

impl Change {
    /// Returns the epoch after the change; `None` if the stored hash is no longer `old`.
    pub(super) async fn write(self) -> Result<Option<u32>, StoreError> {
        match self.replace().await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error),
            // The write may have happened. Ending the sessions unnecessarily does little harm.
            Err(error) => {
                end(&self.login, &self.sessions, &self.subject).await?;
                return Err(error);
            }
        }
        let subject = &*self.subject;
        let events = &self.login.inner.events;
        events.login(|| LoginEvent::PasswordChanged {
            subject: subject.to_owned(),
        });
        end(&self.login, &self.sessions, subject).await.map(Some)
    }

    async fn replace(&self) -> Result<bool, StoreError> {
        let users = self.login.users();
        let replaced = match &self.old {
            Some(old) => timeout(ANSWER, users.replace_hash(&self.subject, old, &self.new)).await,
            None => timeout(ANSWER, users.set_first_hash(&self.subject, &self.new)).await,
        };
        match replaced.unwrap_or_else(|late| Err(StoreError::interrupted(late))) {
            Err(error) if error.kind() != StoreErrorKind::Unavailable => {
                // The salt is random: an equal hash proves that the write happened.
                let found = timeout(ANSWER, users.find_by_subject(&self.subject)).await;
                let user = found.ok().and_then(Result::ok).flatten();
                let hash = user.and_then(|user| user.password);
                match hash.is_some_and(|hash| hash.expose() == self.new.expose()) {
                    true => Ok(true),
                    false => Err(error),
                }
            }
            replaced => replaced,
        }
    }
}

/// Ends all of the subject's sessions and invalidates the tokens that the old password protected.
/// Failed steps are retried for a minute in the background.
pub(super) async fn end(
    login: &Login,
    sessions: &Sessions,
    subject: &str,
) -> Result<u32, StoreError> {
    let reason = RevokeReason::CredentialsChanged;
    let mut epoch = sessions.revoke_all(subject, reason).await;
    let mut forgotten = login.forget_tokens(subject).await;
    if let (Ok(epoch), Ok(())) = (&epoch, &forgotten) {
        return Ok(*epoch);
    }
    let error = match (&mut epoch, &mut forgotten) {
        (Err(error), _) => StoreError::unavailable(error.to_string()),
        (_, Err(error)) => StoreError::unavailable(error.to_string()),
        (Ok(_), Ok(())) => StoreError::unavailable(""),
    };
    let (login, sessions, subject) = (login.clone(), sessions.clone(), subject.to_owned());
    tokio::spawn(async move {
        for pause in [1, 2, 4, 8, 16, 32] {
            sleep(SECOND * pause).await;
            if epoch.is_err() {
                epoch = sessions.revoke_all(&subject, reason).await;
            }
            if forgotten.is_err() {
                forgotten = login.forget_tokens(&subject).await;
            }
            if epoch.is_ok() && forgotten.is_ok() {
                return;
            }
        }
    });
    Err(error)
}

fn unavailable(error: SessionError) -> StoreError {
    StoreError::unavailable(error)
}

const SECOND: Duration = Duration::from_secs(1);
/// The timeout of a store call, after which its result is unknown.
const ANSWER: Duration = Duration::from_secs(5);
