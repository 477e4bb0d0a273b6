//! The login itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::{Clock, Timestamp},
    error::StoreError,
    event::{AuthEvent, Events},
    login::{
        Accepted, Attempt, AttemptOutcome, DeviceTokens, Identifier, LoginBuilder, LoginOutcome,
        Network, Password, PasswordError, PasswordHash, PasswordHasher, PasswordPolicy,
        PasswordRule, ThrottleStore, User, UserStore, Verification,
        device::TrustedDevice,
        password::{Caller, Place},
        reset::OneTimeTokens,
        throttle::{Admission, Denied, Turnstile},
    },
    secret::{Secret, SecretKey},
};

/// Signs people in by identifier and password. Clones share everything.
///
/// # Order
///
/// 1. The attempt takes its place among those who hash, or is told that there is none: a flood must not
///    keep the store busy with what goes no further.
/// 2. The attempt is counted, or told to wait: before anything is asked about the user, so that a
///    wait is the same for names that exist and names that do not.
/// 3. The user is looked up. With a genuine device token this comes first, and if the token is this
///    user's, the device's own counter takes the place of the others.
/// 4. The password is hashed and compared; for nobody, with a hash that no password has.
/// 5. Only then it is looked at whether the account is disabled or locked.
/// 6. What came of it is written down: a right password gives the attempt back.
/// 7. An outdated hash is replaced, unless the password was changed meanwhile. If that fails, the next
///    login tries again; this one has succeeded.
pub struct Login<U, T> {
    inner: Arc<Inner<U, T>>,
}

pub(super) struct Inner<U, T> {
    pub(super) users: U,
    pub(super) turnstile: Turnstile<T>,
    pub(super) hasher: PasswordHasher,
    pub(super) policy: PasswordPolicy,
    pub(super) one_time: Option<OneTimeTokens>,
    pub(super) devices: DeviceTokens,
    pub(super) events: Events,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether it was said that no network is known.
    pub(super) warned: AtomicBool,
}

impl<U: UserStore, T: ThrottleStore> Login<U, T> {
    /// Over these users and counters. The keys of counters and device tokens are derived from
    /// `secret`, so that all processes of a service need the same.
    pub fn builder(users: U, throttle: T, secret: SecretKey) -> LoginBuilder<U, T> {
        LoginBuilder::new(users, throttle, secret)
    }

    pub(super) fn from_inner(inner: Inner<U, T>) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn inner(&self) -> &Inner<U, T> {
        &self.inner
    }

    /// Tries to sign somebody in.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// An attempt that is dropped on its way stays counted: hanging up is no way to guess for free.
    pub async fn attempt(&self, attempt: &Attempt) -> LoginOutcome {
        match self.inner.attempt(attempt).await {
            Ok(outcome) => outcome,
            Err(stopped) => self.stopped(attempt, stopped),
        }
    }

    /// Opens a [hard lock](LoginBuilder::hard_lock) and forgets the name's failures.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the counters' store does not answer.
    pub async fn unlock(&self, identifier: &Identifier) -> Result<(), StoreError> {
        self.inner.turnstile.unlock(identifier).await?;
        self.inner.events.tell(|| AuthEvent::LoginUnlocked);
        Ok(())
    }

    /// Looks once more whether what was accepted still holds: that the password was not changed and the
    /// user not disabled meanwhile. It is not counted.
    ///
    /// For whoever reads something in between that a change of the password moves, such as the
    /// subject's epoch.
    ///
    /// # Panics
    ///
    /// As [`attempt`](Self::attempt).
    ///
    /// # Cancel safety
    ///
    /// Nothing is written.
    pub async fn confirm(&self, attempt: &Attempt, accepted: Accepted) -> LoginOutcome {
        match self.inner.confirm(attempt, accepted).await {
            Ok(outcome) => outcome,
            Err(stopped) => self.stopped(attempt, stopped),
        }
    }

    /// Returns a [device token](DeviceTokens) for a user whose current password was just set or proved, as
    /// at a registration.
    ///
    /// A user without a password gets a token that is never valid.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn device_token(&self, user: &User) -> Secret<String> {
        let now = Timestamp::from(self.inner.clock.now());
        self.inner.devices.mint(user, now)
    }

    /// Checks and hashes the password of a new user, in the share that this network has of the hashing
    /// pool.
    ///
    /// # Errors
    ///
    /// [`PasswordError::Refused`]: a rule of the [policy](LoginBuilder::password_policy). Otherwise as
    /// [`PasswordHasher::hash`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
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

    /// The rules for new passwords.
    pub fn password_policy(&self) -> &PasswordPolicy {
        &self.inner.policy
    }

    /// The users.
    #[must_use]
    pub fn users(&self) -> &U {
        &self.inner.users
    }

    /// The hasher, for passwords that are set.
    #[must_use]
    pub fn hasher(&self) -> &PasswordHasher {
        &self.inner.hasher
    }

    fn stopped(&self, attempt: &Attempt, stopped: Stopped) -> LoginOutcome {
        match stopped {
            Stopped::Store(error) => {
                note_store(&error);
                LoginOutcome::Unavailable
            }
            Stopped::Wait(wait) => {
                let retry_after = wait.max(SECOND);
                let events = &self.inner.events;
                events.tell(|| AuthEvent::LoginThrottled {
                    retry_after,
                    network: attempt.network.address(),
                });
                LoginOutcome::Wait { retry_after }
            }
            Stopped::Busy(wait) => LoginOutcome::Busy {
                retry_after: wait.max(SECOND),
            },
            // No password is set at a login.
            Stopped::Rule(_) => LoginOutcome::Refused,
        }
    }
}

impl<U: UserStore, T: ThrottleStore> Inner<U, T> {
    async fn attempt(&self, attempt: &Attempt) -> Result<LoginOutcome, Stopped> {
        let now = Timestamp::from(self.clock.now());
        let network = attempt.network.address();
        self.note_network(attempt.network);
        let Attempt {
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

        let (caller, place) = (admission.caller(), admission.take_place());
        let verified = self.verify(place, caller, password, user.as_ref());
        let verified = match verified.await {
            Ok(verified) => verified,
            Err(stopped) => {
                self.give_back(admission, identifier).await;
                return Err(stopped);
            }
        };
        // Not before the hash, and a right password on a disabled account counts as a wrong one: nothing
        // tells them apart.
        let mut user = match user {
            Some(user) if verified.matches && !user.disabled && !admission.is_locked() => user,
            user => {
                let subject = user.as_ref().map(|user| &*user.subject);
                let reason = || match &user {
                    None => "unknown_user",
                    Some(_) if verified.unusable => "unusable_hash",
                    Some(_) if !verified.matches => "wrong_password",
                    Some(user) if user.disabled => "disabled",
                    Some(_) => "locked",
                };
                let failed = AttemptOutcome::Failed;
                let locked_now = self.turnstile.settle(admission, identifier, failed).await;
                self.events.tell(|| AuthEvent::LoginFailed {
                    subject,
                    reason: reason(),
                    network,
                });
                if locked_now {
                    self.events.tell(|| AuthEvent::LoginLocked { subject });
                }
                return Ok(LoginOutcome::Refused);
            }
        };
        let succeeded = AttemptOutcome::Succeeded;
        self.turnstile
            .settle(admission, identifier, succeeded)
            .await;
        let subject = &*user.subject;
        self.events
            .tell(|| AuthEvent::LoginSucceeded { subject, network });
        if verified.outdated {
            self.upgrade(&mut user, password, caller).await;
        }
        Ok(LoginOutcome::Accepted(Accepted {
            device: self.devices.mint(&user, now),
            user,
        }))
    }

    async fn confirm(
        &self,
        attempt: &Attempt,
        accepted: Accepted,
    ) -> Result<LoginOutcome, Stopped> {
        let found = self.users.find(&attempt.identifier).await?;
        let same = found.filter(|found| !found.disabled && found.subject == accepted.user.subject);
        let Some(found) = same else {
            return Ok(LoginOutcome::Refused);
        };
        let hash = |user: &User| user.password.as_ref().map(|hash| hash.expose().to_owned());
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
        let now = Timestamp::from(self.clock.now());
        Ok(match unchanged {
            true => LoginOutcome::Accepted(Accepted {
                device: self.devices.mint(&found, now),
                user: found,
            }),
            false => LoginOutcome::Refused,
        })
    }

    async fn admit(&self, attempt: &Attempt) -> Result<Admission, Stopped> {
        Ok(self
            .turnstile
            .admit(&attempt.identifier, attempt.network)
            .await?)
    }

    /// The user first: only their own device counts apart.
    async fn admit_device(
        &self,
        attempt: &Attempt,
        device: &TrustedDevice,
    ) -> Result<(Admission, Option<User>), Stopped> {
        let user = self.users.find(&attempt.identifier).await?;
        let theirs = user.as_ref().is_some_and(|user| device.belongs_to(user));
        let admission = if theirs {
            let network = attempt.network;
            self.turnstile.admit_device(device.nonce(), network).await?
        } else {
            self.admit(attempt).await?
        };
        Ok((admission, user))
    }

    pub(super) async fn verify(
        &self,
        place: Option<Place>,
        caller: Caller,
        password: &Password,
        user: Option<&User>,
    ) -> Result<Verified, Stopped> {
        let place = match place {
            Some(place) => place,
            None => self.hasher.place(caller)?,
        };
        let stored = user.and_then(|user| user.password.as_ref());
        let verification = self.hasher.verify_at(place, password, stored).await?;
        Ok(Verified {
            matches: verification.is_some_and(Verification::matches),
            outdated: verification.is_some_and(Verification::is_outdated),
            unusable: verification.is_none(),
        })
    }

    async fn upgrade(&self, user: &mut User, password: &Password, caller: Caller) {
        let Some(old) = &user.password else {
            return;
        };
        let Ok(new) = self.hasher.hash_for(caller, password).await else {
            return;
        };
        let subject = &*user.subject;
        match self.users.replace_hash(subject, old, &new).await {
            Ok(true) => {
                self.events.tell(|| AuthEvent::PasswordRehashed { subject });
                user.password = Some(new);
            }
            // It was changed meanwhile.
            Ok(false) => {}
            Err(error) => note_store(&error),
        }
    }

    /// Warns once that no network is known.
    pub(super) fn note_network(&self, network: Network) {
        if network.is_unknown() && !self.warned.swap(true, Ordering::Relaxed) {
            note_unknown_network();
        }
    }

    async fn give_back(&self, admission: Admission, identifier: &Identifier) {
        self.turnstile
            .settle(admission, identifier, AttemptOutcome::Undecided)
            .await;
    }
}

impl<U, T> Clone for Login<U, T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<U, T> fmt::Debug for Login<U, T> {
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

/// Why an attempt came to no verdict.
pub(super) enum Stopped {
    Wait(Duration),
    Busy(Duration),
    /// A new password that may not be set.
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
        "the network of a login is not known: all networks share one counter for each name, so that \
         guesses at a name keep its owner waiting on devices that are not known, and one network can \
         take all of the hashing pool"
    );
}

/// The least that `Retry-After` can say.
const SECOND: Duration = Duration::from_secs(1);
