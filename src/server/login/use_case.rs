//! The login.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    error::StoreError,
    event::{Events, LoginEvent, LoginFailure},
    secret::{Secret, SecretKey},
    server::login::{
        DeviceTokens, EmailClaims, Identifier, LoginAttempt, LoginBuilder, LoginOutcome,
        LoginSuccess, Network, Password, PasswordError, PasswordHash, PasswordHasher,
        PasswordPolicy, PasswordRule, Verification,
        code_flow::CodeFlows,
        device::TrustedDevice,
        password::{Caller, Permit},
        second::SecondStep,
        take_over::ErasedTakeOverHook,
        throttle::{Admission, AdmissionControl, AttemptOutcome, Denied},
    },
    store::port::{
        ErasedCredentialStore, ErasedOneTimeStore, ErasedUserStore, ThrottleStore, UserRecord,
        UserStore,
    },
    time::Clock,
};

/// Signs users in by identifier and password. Clones share all state.
///
/// # Order
///
/// 1. The attempt takes a place in the queue for hashing, or gets [`Overloaded`](LoginOutcome::Overloaded). A
///    flood must not cause queries for attempts that cannot be hashed.
/// 2. The attempt is counted, or gets [`Throttled`](LoginOutcome::Throttled). This happens before the user
///    lookup, so that the delay is the same for existing and unknown names.
/// 3. The user is looked up. If the attempt has a valid device token, the lookup comes first. If
///    the token belongs to this user, the device's counter replaces the other counters.
/// 4. The password is hashed and compared. For an unknown user it is compared with a dummy hash.
/// 5. Only then is the account refused if it is disabled or locked.
/// 6. The result is recorded. A correct password gives the attempt back.
/// 7. An outdated hash is replaced, unless the password has changed in the meantime. If the
///    replacement fails, the login still succeeds and the next login tries again.
#[derive(Clone)]
pub struct Login {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) users: Arc<dyn ErasedUserStore>,
    pub(super) admission: AdmissionControl,
    pub(super) hasher: PasswordHasher,
    pub(super) policy: PasswordPolicy,
    pub(super) one_time: Option<Arc<dyn ErasedOneTimeStore>>,
    pub(super) credentials: Option<Arc<dyn ErasedCredentialStore>>,
    pub(super) second: SecondStep,
    pub(super) email_claims: EmailClaims,
    pub(super) take_over: Vec<Box<dyn ErasedTakeOverHook>>,
    pub(super) devices: DeviceTokens,
    pub(super) code_flows: CodeFlows,
    pub(super) events: Events,
    pub(super) clock: Arc<dyn Clock>,
    /// Records that the warning about an unknown network was logged.
    pub(super) warned: AtomicBool,
}

impl Login {
    /// Creates a builder over these users and counters. The keys of counters and device tokens are
    /// derived from `secret`, which must be the same in all processes of a service.
    ///
    /// The users need not be in the store of the sessions.
    pub fn builder(
        users: impl UserStore,
        throttle: impl ThrottleStore,
        secret: SecretKey,
    ) -> LoginBuilder {
        LoginBuilder::new(Arc::new(users), Arc::new(throttle), secret)
    }

    /// Checks one attempt to sign in.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// An attempt that is dropped stays counted, so that disconnecting does not allow uncounted
    /// guesses.
    pub async fn attempt(&self, attempt: &LoginAttempt) -> LoginOutcome {
        match self.inner.attempt(attempt).await {
            Ok(outcome) => outcome,
            Err(stopped) => self.stopped(attempt, stopped),
        }
    }

    /// Removes a [hard lock](LoginBuilder::hard_lock) and clears the name's failures.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store of the counters failed.
    pub async fn unlock(&self, identifier: &Identifier) -> Result<(), StoreError> {
        self.inner.admission.unlock(identifier).await?;
        self.inner.events.login(|| LoginEvent::Unlocked);
        Ok(())
    }

    /// Checks again that an accepted attempt is still valid: the password was not changed and the
    /// user was not disabled in the meantime. The check is not counted.
    ///
    /// Call it after you have read a value that a change of the password changes, such as the
    /// subject's epoch.
    ///
    /// # Panics
    ///
    /// As [`attempt`](Self::attempt).
    ///
    /// # Cancel safety
    ///
    /// Nothing is written.
    pub async fn confirm(&self, attempt: &LoginAttempt, accepted: LoginSuccess) -> LoginOutcome {
        match self.inner.confirm(attempt, accepted).await {
            Ok(outcome) => outcome,
            Err(stopped) => self.stopped(attempt, stopped),
        }
    }

    /// Returns a [device token](DeviceTokens) for a user whose current password was just set or
    /// verified, as at a registration.
    ///
    /// A user without a password gets a token that is never valid.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    pub fn device_token(&self, user: &UserRecord) -> Secret<String> {
        let now = self.inner.clock.now();
        self.inner.devices.mint(user, now)
    }

    /// Checks the password of a new user against the policy and hashes it, within this network's
    /// share of the hashing pool.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Refused`]: the password fails a rule of the
    /// [policy](LoginBuilder::password_policy). Otherwise as [`PasswordHasher::hash`].
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As [`PasswordHasher::hash`].
    pub async fn hash_new(
        &self,
        new: &Password,
        network: impl Into<Network>,
    ) -> Result<PasswordHash, PasswordError> {
        let network = network.into();
        self.inner.policy.check(new)?;
        self.inner.note_network(network);
        let caller = Caller {
            network,
            is_known: false,
        };
        self.inner.hasher.hash_for(caller, new).await
    }

    /// Returns the rules for new passwords.
    pub fn password_policy(&self) -> &PasswordPolicy {
        &self.inner.policy
    }

    /// Returns the user store.
    pub(crate) fn users(&self) -> &dyn ErasedUserStore {
        &*self.inner.users
    }

    /// Returns the hasher, for passwords that your code sets.
    #[must_use]
    pub fn hasher(&self) -> &PasswordHasher {
        &self.inner.hasher
    }

    fn stopped(&self, attempt: &LoginAttempt, stopped: Stopped) -> LoginOutcome {
        match stopped {
            Stopped::Store(error) => {
                note_store(&error);
                LoginOutcome::Unavailable
            }
            Stopped::Wait(wait) => {
                let retry_after = wait.max(SECOND);
                let events = &self.inner.events;
                events.login(|| LoginEvent::Throttled {
                    retry_after,
                    network: attempt.network.address(),
                });
                LoginOutcome::Throttled { retry_after }
            }
            Stopped::Busy(wait) => LoginOutcome::Overloaded {
                retry_after: wait.max(SECOND),
            },
            // A login sets no new password.
            Stopped::Rule(_) => LoginOutcome::InvalidCredentials,
        }
    }
}

impl Inner {
    async fn attempt(&self, attempt: &LoginAttempt) -> Result<LoginOutcome, Stopped> {
        let now = self.clock.now();
        let network = attempt.network.address();
        self.note_network(attempt.network);
        let LoginAttempt {
            identifier,
            password,
            ..
        } = attempt;
        let device = attempt
            .device
            .as_ref()
            .and_then(|token| self.devices.read(token.expose(), now));
        let (mut admission, user) = match device {
            Some(device) => self.admit_device(attempt, &device).await?,
            None => {
                let admission = self.admit(attempt).await?;
                match self.users.find(identifier).await {
                    Ok(user) => (admission, user),
                    Err(error) => {
                        self.give_back(admission, identifier).await;
                        return Err(error.into());
                    }
                }
            }
        };

        let (caller, permit) = (admission.caller(), admission.take_permit());
        let verified = self.verify(permit, caller, password, user.as_ref());
        let verified = match verified.await {
            Ok(verified) => verified,
            Err(stopped) => {
                self.give_back(admission, identifier).await;
                return Err(stopped);
            }
        };
        // Checked after the hash, and a correct password of a disabled account counts as a failure,
        // so that a client cannot distinguish the two.
        let mut user = match user {
            Some(user) if verified.matches && !user.disabled && !admission.is_locked() => user,
            user => {
                let subject = || user.as_ref().map(|user| user.subject.clone());
                let reason = || match &user {
                    None => LoginFailure::UnknownUser,
                    Some(_) if verified.unusable => LoginFailure::UnusableHash,
                    Some(_) if !verified.matches => LoginFailure::WrongPassword,
                    Some(user) if user.disabled => LoginFailure::Disabled,
                    Some(_) => LoginFailure::Locked,
                };
                let failed = AttemptOutcome::Failed;
                let locked_now = self.admission.settle(admission, identifier, failed).await;
                self.events.login(|| LoginEvent::Failed {
                    subject: subject(),
                    reason: reason(),
                    network,
                });
                if locked_now {
                    self.events
                        .login(|| LoginEvent::Locked { subject: subject() });
                }
                return Ok(LoginOutcome::InvalidCredentials);
            }
        };
        let succeeded = AttemptOutcome::Succeeded;
        self.admission
            .settle(admission, identifier, succeeded)
            .await;
        self.events.login(|| LoginEvent::Succeeded {
            subject: user.subject.clone(),
            network,
        });
        if verified.outdated {
            self.upgrade(&mut user, password, caller).await;
        }
        Ok(LoginOutcome::Success(LoginSuccess {
            device: self.devices.mint(&user, now),
            user,
        }))
    }

    async fn confirm(
        &self,
        attempt: &LoginAttempt,
        accepted: LoginSuccess,
    ) -> Result<LoginOutcome, Stopped> {
        let found = self.users.find(&attempt.identifier).await?;
        let same = found.filter(|found| !found.disabled && found.subject == accepted.user.subject);
        let Some(found) = same else {
            return Ok(LoginOutcome::InvalidCredentials);
        };
        let hash = |user: &UserRecord| user.password.as_ref().map(|hash| hash.expose().to_owned());
        // Another login may have upgraded the hash of the same password.
        let caller = Caller {
            network: attempt.network,
            is_known: true,
        };
        let unchanged = hash(&found) == hash(&accepted.user)
            || self
                .verify(None, caller, &attempt.password, Some(&found))
                .await?
                .matches;
        let now = self.clock.now();
        Ok(match unchanged {
            true => LoginOutcome::Success(LoginSuccess {
                device: self.devices.mint(&found, now),
                user: found,
            }),
            false => LoginOutcome::InvalidCredentials,
        })
    }

    async fn admit(&self, attempt: &LoginAttempt) -> Result<Admission, Stopped> {
        Ok(self
            .admission
            .admit(&attempt.identifier, attempt.network)
            .await?)
    }

    /// Looks up the user first, because a device token is valid only for its user.
    async fn admit_device(
        &self,
        attempt: &LoginAttempt,
        device: &TrustedDevice,
    ) -> Result<(Admission, Option<UserRecord>), Stopped> {
        let user = self.users.find(&attempt.identifier).await?;
        let theirs = user.as_ref().is_some_and(|user| device.belongs_to(user));
        let admission = if theirs {
            let network = attempt.network;
            self.admission.admit_device(device.nonce(), network).await?
        } else {
            self.admit(attempt).await?
        };
        Ok((admission, user))
    }

    pub(super) async fn verify(
        &self,
        permit: Option<Permit>,
        caller: Caller,
        password: &Password,
        user: Option<&UserRecord>,
    ) -> Result<Verified, Stopped> {
        let permit = match permit {
            Some(permit) => permit,
            None => self.hasher.permit(caller)?,
        };
        let stored = user.and_then(|user| user.password.as_ref());
        let verification = self.hasher.verify_at(permit, password, stored).await?;
        Ok(Verified {
            matches: verification.is_some_and(Verification::matches),
            outdated: verification.is_some_and(Verification::is_outdated),
            unusable: verification.is_none(),
        })
    }

    async fn upgrade(&self, user: &mut UserRecord, password: &Password, caller: Caller) {
        let Some(old) = &user.password else {
            return;
        };
        let Ok(new) = self.hasher.hash_for(caller, password).await else {
            return;
        };
        let subject = &*user.subject;
        match self.users.replace_hash(subject, old, &new).await {
            Ok(true) => {
                self.events.login(|| LoginEvent::PasswordRehashed {
                    subject: subject.to_owned(),
                });
                user.password = Some(new);
            }
            // The password was changed in the meantime.
            Ok(false) => {}
            Err(error) => note_store(&error),
        }
    }

    /// Logs a warning once if the network is unknown.
    pub(super) fn note_network(&self, network: Network) {
        if network.is_unknown() && !self.warned.swap(true, Ordering::Relaxed) {
            note_unknown_network();
        }
    }

    async fn give_back(&self, admission: Admission, identifier: &Identifier) {
        self.admission
            .settle(admission, identifier, AttemptOutcome::Undecided)
            .await;
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("hasher", &self.inner.hasher)
            .finish_non_exhaustive()
    }
}

pub(super) struct Verified {
    pub(super) matches: bool,
    outdated: bool,
    unusable: bool,
}

/// The reason why an attempt has no result.
pub(super) enum Stopped {
    Wait(Duration),
    Busy(Duration),
    /// The new password is not allowed.
    Rule(PasswordRule),
    Store(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PasswordError> for Stopped {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy { retry_after } => Self::Busy(retry_after),
            PasswordError::Refused(rule) => Self::Rule(rule),
            _ => Self::Busy(SECOND),
        }
    }
}

impl From<Denied> for Stopped {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wait(wait) => Self::Wait(wait),
            Denied::Crowded => Self::Wait(SECOND),
            Denied::Busy(error) => error.into(),
            Denied::Contended => Self::Busy(SECOND),
            Denied::Store(error) => Self::Store(error),
        }
    }
}

pub(super) fn note_store(error: &StoreError) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, "a store failed during a login");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

fn note_unknown_network() {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        "the network of a login is unknown: all networks share one counter for each name, so that \
         guesses at a name delay its owner on untrusted devices, and one network can take the whole \
         hashing pool"
    );
}

/// The smallest value of `Retry-After`.
const SECOND: Duration = Duration::from_secs(1);
