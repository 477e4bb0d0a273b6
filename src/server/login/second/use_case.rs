//! Authenticators and recovery codes of users: enrol, verify, disable.

use std::{fmt, time::Duration};

use super::{
    CodeAttempt, FactorStatus, Facts, RecoveryCodes, SecondFactorError, TotpEnrollment, UsedFactor,
    recovery::read,
    remembered::{self, RememberedToken},
    state::{Enrolled, Pending, Rows, State},
    totp::{Authenticators, is_code},
};
use crate::{
    error::StoreError,
    event::{LoginEvent, LoginFailure},
    secret::Secret,
    server::login::{
        Login,
        throttle::{AttemptOutcome, CodeCounter},
    },
    store::port::UserRecord,
    time::Timestamp,
};

/// The second factors of users: an authenticator app (TOTP) and recovery codes.
///
/// [`AuthEndpoints`](crate::server::endpoints::AuthEndpoints) serve all of this over HTTP. Use it for a user
/// interface of your own, and for administrators.
///
/// Each code works once: of an authenticator, no code of the same or of an earlier time step is accepted
/// again, on any node. Wrong codes are counted for each subject over all networks: after 100 wrong ones
/// within 24 h, codes of the authenticator are refused until 24 h after the first one. Recovery codes are
/// still accepted then, and so is a device on which the user has proved a second factor before, within
/// limits of its own. A correct code does not clear the count.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::login::{
///     CodeAttempt, Login, SecondFactorError, SecondFactors, UsedFactor,
/// };
///
/// async fn confirm_payment(login: &Login, subject: &str, code: String) -> &'static str {
///     let Some(factors) = login.second_factors() else { return "no second factor" };
///     match factors.verify(subject, &CodeAttempt::new(code)).await {
///         Ok(UsedFactor::Totp) => "paid",
///         Ok(_) => "paid; one recovery code less",
///         Err(SecondFactorError::WrongCode) => "wrong code",
///         Err(SecondFactorError::Throttled { .. }) => "use a recovery code",
///         Err(_) => "come back later",
///     }
/// }
/// ```
#[derive(Clone)]
pub struct SecondFactors {
    login: Login,
}

impl Login {
    /// Returns the second factors, if [`totp`](crate::server::login::LoginBuilder::totp) is set.
    #[must_use]
    pub fn second_factors(&self) -> Option<SecondFactors> {
        let second = &self.inner.second;
        let is_set = second.totp.is_some() && second.rows.is_some();
        is_set.then(|| SecondFactors {
            login: self.clone(),
        })
    }
}

impl SecondFactors {
    /// Returns the second factors of a subject.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::Unavailable`].
    pub async fn status(&self, subject: &str) -> Result<FactorStatus, SecondFactorError> {
        let (state, _) = self.rows()?.read(subject).await?;
        Ok(FactorStatus {
            totp: state.totp.is_some(),
            recovery_codes: state.codes.len(),
        })
    }

    /// Creates the secret of an authenticator. It takes effect with the first code: see
    /// [`confirm`](Self::confirm). A second call replaces a secret that was not confirmed.
    ///
    /// `account` is the name of the account in the authenticator app, such as the user's address. At most
    /// 100 characters are used.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::AlreadyEnrolled`], [`SecondFactorError::Overloaded`],
    /// [`SecondFactorError::Unavailable`].
    ///
    /// # Security
    ///
    /// An attacker with a stolen session could lock out the owner of the account. Ask for the password
    /// first, unless the subject has signed in a short time ago. The endpoints require a sign-in within
    /// 15 minutes.
    pub async fn enroll(
        &self,
        subject: &str,
        account: &str,
    ) -> Result<TotpEnrollment, SecondFactorError> {
        self.enroll_in(subject, account, None).await
    }

    /// Enrols as [`enroll`](Self::enroll), for a session of this epoch.
    pub(crate) async fn enroll_in(
        &self,
        subject: &str,
        account: &str,
        epoch: Option<u32>,
    ) -> Result<TotpEnrollment, SecondFactorError> {
        let (enrollment, sealed) = self.authenticators()?.enroll(subject, account)?;
        let decide = |state: &mut State, now: Timestamp| {
            state.check_epoch(epoch)?;
            if state.totp.is_some() {
                return Err(SecondFactorError::AlreadyEnrolled);
            }
            state.pending = Some(Pending {
                sealed: sealed.clone(),
                until: now.plus(CONFIRM_WITHIN).as_millis(),
            });
            Ok(())
        };
        self.rows()?.change(subject, decide).await?;
        Ok(enrollment)
    }

    /// Confirms an authenticator by its first code, within ten minutes of [`enroll`](Self::enroll).
    /// Returns the recovery codes. From now on, sign-ins of the subject need a second step.
    ///
    /// End the subject's other sessions afterwards
    /// ([`revoke_others`](crate::server::session::Sessions::revoke_others)): they started with one factor.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::WrongCode`], [`SecondFactorError::NothingToConfirm`],
    /// [`SecondFactorError::Overloaded`], [`SecondFactorError::Unavailable`].
    pub async fn confirm(
        &self,
        subject: &str,
        code: &str,
    ) -> Result<RecoveryCodes, SecondFactorError> {
        let authenticators = self.authenticators()?;
        let code = compact(code);
        let codes = RecoveryCodes::generate();
        let digests = authenticators.recovery.digests(subject, &codes);
        let decide = |state: &mut State, now: Timestamp| {
            let pending = state.pending.clone();
            let pending = pending.filter(|one| now < Timestamp::from_millis(one.until));
            let Some(Pending { sealed, .. }) = pending.filter(|_| state.totp.is_none()) else {
                return Err(SecondFactorError::NothingToConfirm);
            };
            let found = match is_code(&code) {
                true => authenticators.check(subject, &sealed, &code, 0, now)?,
                false => None,
            };
            let (step, renewed) = found.ok_or(SecondFactorError::WrongCode)?;
            state.totp = Some(Enrolled {
                sealed: renewed.unwrap_or(sealed),
                step,
            });
            state.pending = None;
            state.codes.clone_from(&digests);
            Ok(())
        };
        self.rows()?.change(subject, decide).await?;
        self.emit(|| LoginEvent::SecondFactorEnrolled {
            subject: subject.to_owned(),
        });
        Ok(codes)
    }

    /// Checks a code and spends it.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::WrongCode`] also for a code that was used before and for a subject without a
    /// second factor. [`SecondFactorError::Throttled`], [`SecondFactorError::Overloaded`],
    /// [`SecondFactorError::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the code may be spent, and an attempt that was not decided counts as a
    /// wrong code.
    pub async fn verify(
        &self,
        subject: &str,
        attempt: &CodeAttempt,
    ) -> Result<UsedFactor, SecondFactorError> {
        let (used, ()) = self.with_code(subject, attempt, |_, _| Ok(())).await?;
        Ok(used)
    }

    /// As [`verify`](Self::verify), and spends the token of the first step in the same write. Returns the
    /// token of this device if it is to be remembered for `user`.
    pub(crate) async fn complete(
        &self,
        facts: &Facts,
        attempt: &CodeAttempt,
        user: Option<&UserRecord>,
    ) -> Result<Option<Secret<String>>, SecondFactorError> {
        let lifetime = self.login.inner.second.remember;
        let remembered = user.zip(lifetime).map(|(user, lifetime)| {
            let (text, token) = RememberedToken::mint(user, facts.epoch);
            (text, token, lifetime)
        });
        let spend = |state: &mut State, now: Timestamp| {
            state.spend(facts, now)?;
            if let Some((_, token, lifetime)) = &remembered {
                let new = token.clone().until(now.plus(*lifetime));
                remembered::add(&mut state.remembered, new, now);
            }
            Ok(())
        };
        self.with_code(&facts.subject, attempt, spend).await?;
        Ok(remembered.map(|(text, ..)| text))
    }

    /// Removes the authenticator and the recovery codes of a subject who presents a code.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn disable(
        &self,
        subject: &str,
        attempt: &CodeAttempt,
    ) -> Result<(), SecondFactorError> {
        // The row stays, so that a spent token is not accepted again.
        let remove = |state: &mut State, _| {
            state.remove_totp();
            Ok(())
        };
        self.with_code(subject, attempt, remove).await?;
        self.emit(|| LoginEvent::SecondFactorRemoved {
            subject: subject.to_owned(),
        });
        Ok(())
    }

    /// Replaces the recovery codes of a subject who presents a code. The earlier ones become invalid.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub async fn renew_recovery_codes(
        &self,
        subject: &str,
        attempt: &CodeAttempt,
    ) -> Result<RecoveryCodes, SecondFactorError> {
        let codes = RecoveryCodes::generate();
        let digests = self.authenticators()?.recovery.digests(subject, &codes);
        let renew = |state: &mut State, _| {
            state.codes.clone_from(&digests);
            Ok(())
        };
        self.with_code(subject, attempt, renew).await?;
        self.emit(|| LoginEvent::RecoveryCodesRenewed {
            subject: subject.to_owned(),
        });
        Ok(codes)
    }

    /// Removes the second factors of a subject and clears its count of wrong codes, without a code: for
    /// an administrator, after the owner of the account has proved their identity in another way.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::Overloaded`], [`SecondFactorError::Unavailable`].
    ///
    /// # Security
    ///
    /// The method does not authenticate its caller.
    pub async fn reset(&self, subject: &str) -> Result<(), SecondFactorError> {
        let remove = |state: &mut State, _| {
            state.remove_totp();
            state.pending = None;
            Ok(())
        };
        self.rows()?.change(subject, remove).await?;
        self.login.inner.admission.clear_codes(subject).await?;
        self.emit(|| LoginEvent::SecondFactorRemoved {
            subject: subject.to_owned(),
        });
        Ok(())
    }

    /// Checks a code, spends it, and makes a further change in the same write.
    async fn with_code<T>(
        &self,
        subject: &str,
        attempt: &CodeAttempt,
        then: impl Fn(&mut State, Timestamp) -> Result<T, SecondFactorError> + Send + Sync,
    ) -> Result<(UsedFactor, T), SecondFactorError> {
        let code = compact(attempt.code.expose());
        let checked = match read(&code) {
            // 80 random bits are not guessed, so recovery codes need no counter.
            Some(letters) => self.with_recovery_code(subject, &letters, then).await,
            None if is_code(&code) => self.with_totp(subject, &code, attempt, then).await,
            None => Err(SecondFactorError::WrongCode),
        };
        let network = attempt.network.address();
        match &checked {
            Ok((used, _)) => self.emit(|| LoginEvent::SecondFactorUsed {
                subject: subject.to_owned(),
                method: used.as_str(),
                network,
            }),
            Err(SecondFactorError::WrongCode) => self.emit(|| LoginEvent::Failed {
                subject: Some(subject.to_owned()),
                reason: LoginFailure::WrongCode,
                network,
            }),
            Err(SecondFactorError::Throttled { retry_after }) => {
                let retry_after = *retry_after;
                self.emit(|| LoginEvent::Throttled {
                    retry_after,
                    network,
                });
            }
            Err(_) => {}
        }
        checked
    }

    async fn with_recovery_code<T>(
        &self,
        subject: &str,
        code: &str,
        then: impl Fn(&mut State, Timestamp) -> Result<T, SecondFactorError> + Send + Sync,
    ) -> Result<(UsedFactor, T), SecondFactorError> {
        let keys = &self.authenticators()?.recovery;
        let decide = |state: &mut State, now: Timestamp| {
            let place = keys.find(subject, code, &state.codes);
            let place = place.ok_or(SecondFactorError::WrongCode)?;
            state.codes.remove(place);
            let left = state.codes.len();
            Ok((UsedFactor::RecoveryCode { left }, then(state, now)?))
        };
        self.rows()?.change(subject, decide).await
    }

    async fn with_totp<T>(
        &self,
        subject: &str,
        code: &str,
        attempt: &CodeAttempt,
        then: impl Fn(&mut State, Timestamp) -> Result<T, SecondFactorError> + Send + Sync,
    ) -> Result<(UsedFactor, T), SecondFactorError> {
        let authenticators = self.authenticators()?;
        let admission = &self.login.inner.admission;
        let device = self.known_device(subject, attempt).await?;
        let counter = match &device {
            Some(nonce) => CodeCounter::Device(nonce),
            None => CodeCounter::Subject(subject),
        };
        let reservation = admission.reserve_code(counter).await?;
        let decide = |state: &mut State, now: Timestamp| {
            let Some(Enrolled { sealed, step }) = &state.totp else {
                return Err(SecondFactorError::WrongCode);
            };
            let found = authenticators.check(subject, sealed, code, *step, now)?;
            let (step, renewed) = found.ok_or(SecondFactorError::WrongCode)?;
            if let Some(enrolled) = &mut state.totp {
                enrolled.step = step;
                if let Some(sealed) = renewed {
                    enrolled.sealed = sealed;
                }
            }
            Ok((UsedFactor::Totp, then(state, now)?))
        };
        let decided = self.rows()?.change(subject, decide).await;
        let outcome = match &decided {
            Ok(_) => AttemptOutcome::Succeeded,
            // A spent token must not become a way to try codes without a count.
            Err(SecondFactorError::WrongCode | SecondFactorError::Spent) => AttemptOutcome::Failed,
            Err(_) => AttemptOutcome::Undecided,
        };
        if admission.settle_code(reservation, outcome).await {
            self.emit(|| LoginEvent::SecondFactorLocked {
                subject: subject.to_owned(),
            });
        }
        decided
    }

    /// Returns the nonce of the device, if the user has proved a second factor on it.
    async fn known_device(
        &self,
        subject: &str,
        attempt: &CodeAttempt,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = &self.login.inner;
        let token = attempt.device.as_ref();
        let device = token.and_then(|token| inner.devices.read(token.expose(), inner.clock.now()));
        let Some(device) = device.filter(|device| device.has_second_factor()) else {
            return Ok(None);
        };
        let user = inner.users.find_by_subject(subject).await?;
        let is_theirs = user.is_some_and(|user| device.belongs_to(&user));
        Ok(is_theirs.then(|| device.nonce().to_vec()))
    }

    fn rows(&self) -> Result<&Rows, StoreError> {
        self.login.inner.second.rows()
    }

    fn authenticators(&self) -> Result<&Authenticators, StoreError> {
        let totp = self.login.inner.second.totp.as_ref();
        totp.ok_or_else(|| StoreError::unavailable("the login has no authenticators"))
    }

    fn emit(&self, event: impl FnOnce() -> LoginEvent) {
        self.login.inner.events.login(event);
    }
}

impl fmt::Debug for SecondFactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactors").finish_non_exhaustive()
    }
}

/// Removes the spaces that apps show between the digits.
fn compact(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The time for the first code of an authenticator.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10 * 60);
