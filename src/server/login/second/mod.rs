//! The second step of a sign-in: who asks for it, and the token between the steps.

#[cfg(feature = "totp")]
mod code;
mod error;
mod policy;
#[cfg(feature = "totp")]
mod recovery;
#[cfg(feature = "totp")]
mod remembered;
mod state;
mod token;
#[cfg(feature = "totp")]
mod totp;
#[cfg(feature = "totp")]
mod use_case;

use std::sync::Arc;
#[cfg(feature = "totp")]
use std::time::Duration;

use self::state::Rows;
#[cfg(feature = "totp")]
pub(super) use self::totp::Authenticators;
#[cfg(feature = "totp")]
#[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
pub use self::{
    code::{CodeAttempt, FactorStatus, UsedFactor},
    recovery::RecoveryCodes,
    totp::TotpEnrollment,
    use_case::SecondFactors,
};
pub use self::{
    error::SecondFactorError,
    policy::{FirstStep, SecondStepPolicy},
    token::PendingSignIn,
};
pub(crate) use self::{
    policy::ErasedSecondStepPolicy,
    token::{AskingDevice, Facts, StepTokens},
};
use crate::{
    error::{ConfigError, StoreError},
    event::{LoginEvent, LoginFailure},
    secret::Secret,
    server::{
        login::{Login, Network, SignIn},
        session::has_second_factor,
    },
    store::port::{ErasedFactorStore, UserRecord},
};

/// The settings of the second step.
pub(super) struct SecondStep {
    pub(super) rows: Option<Rows>,
    pub(super) policy: Option<Arc<dyn ErasedSecondStepPolicy>>,
    pub(super) tokens: StepTokens,
    #[cfg(feature = "totp")]
    pub(super) totp: Option<Authenticators>,
    /// The time for which a device is remembered.
    #[cfg(feature = "totp")]
    pub(super) remember: Option<Duration>,
}

impl SecondStep {
    pub(super) fn new(
        store: Option<Arc<dyn ErasedFactorStore>>,
        policy: Option<Arc<dyn ErasedSecondStepPolicy>>,
        tokens: StepTokens,
    ) -> Self {
        Self {
            rows: store.map(Rows),
            policy,
            tokens,
            #[cfg(feature = "totp")]
            totp: None,
            #[cfg(feature = "totp")]
            remember: None,
        }
    }

    /// Removes the factors of a subject that its owner takes over. Sessions before this epoch enrol no
    /// others. Returns `true` if there was an authenticator.
    pub(super) async fn take_over(&self, subject: &str, epoch: u32) -> Result<bool, StoreError> {
        match &self.rows {
            Some(rows) => rows.take_over(subject, epoch).await,
            None => Ok(false),
        }
    }

    fn has_totp(&self) -> bool {
        #[cfg(feature = "totp")]
        let has_totp = self.totp.is_some();
        #[cfg(not(feature = "totp"))]
        let has_totp = false;
        has_totp
    }

    fn rows(&self) -> Result<&Rows, StoreError> {
        let rows = self.rows.as_ref();
        rows.ok_or_else(|| StoreError::unavailable("the login has no store of second factors"))
    }
}

impl Login {
    /// Returns the methods of the second step that this sign-in needs. An empty list: none is needed.
    ///
    /// `device` is the token of a remembered device, which replaces a code of the authenticator, and the
    /// epoch before the first factor was proved.
    pub(crate) async fn second_methods(
        &self,
        who: &SignIn,
        device: Option<(&str, u32)>,
    ) -> Result<Vec<String>, StoreError> {
        let second = &self.inner.second;
        let amr = who.start.methods();
        let mut methods = Vec::new();
        #[cfg(feature = "totp")]
        if second.totp.is_some() && !has_second_factor(amr) {
            let (state, now) = second.rows()?.read(&who.subject).await?;
            if state.totp.is_some() && !self.remembers(&state, now, who, device).await? {
                methods.extend([TOTP.to_owned(), RECOVERY_CODE.to_owned()]);
            }
        }
        #[cfg(not(feature = "totp"))]
        let _ = (has_second_factor, device);
        if let Some(policy) = &second.policy {
            let first = FirstStep {
                subject: who.subject.clone(),
                amr: amr.to_vec(),
            };
            for method in policy.methods(first).await? {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        }
        Ok(methods)
    }

    /// Returns `true` if the holder of this device token is no new device of the user.
    pub(crate) fn is_known_device(&self, token: &str, user: &UserRecord) -> bool {
        let device = self.inner.devices.read(token, self.inner.clock.now());
        device.is_some_and(|device| device.is_known_to(user))
    }

    /// Records that a subject has signed in. Returns `true` if the subject has signed in before, and `false`
    /// if there is no store in which that is recorded.
    pub(crate) async fn has_signed_in(&self, subject: &str) -> Result<bool, StoreError> {
        match &self.inner.second.rows {
            Some(rows) => rows.has_signed_in(subject).await,
            None => Ok(false),
        }
    }

    /// Returns the token with which this device continues the sign-in.
    pub(crate) fn step_token(
        &self,
        who: &SignIn,
        epoch: u32,
        methods: Vec<String>,
        device: AskingDevice<'_>,
    ) -> Option<Secret<String>> {
        let now = self.inner.clock.now();
        let tokens = &self.inner.second.tokens;
        tokens.mint(who, epoch, methods, device, now)
    }

    /// Reads the token that this device presents.
    pub(crate) fn read_step_token(
        &self,
        text: &str,
        device: AskingDevice<'_>,
    ) -> Option<PendingSignIn> {
        let now = self.inner.clock.now();
        self.inner.second.tokens.read(text, device, now)
    }

    /// Spends the token of a first step whose second factor the application has verified.
    pub(crate) async fn spend_step(&self, facts: &Facts) -> Result<(), SecondFactorError> {
        let rows = self.inner.second.rows()?;
        rows.change(&facts.subject, |state, now| state.spend(facts, now))
            .await
    }

    /// Returns a device token for a user who has just proved a second factor.
    pub(crate) fn proved_device_token(&self, user: &UserRecord) -> Secret<String> {
        self.inner.devices.mint_proved(user, self.inner.clock.now())
    }

    /// Emits the event of a sign-in whose means this login does not check.
    pub(crate) fn emit_success(&self, subject: &str, network: impl Into<Network>) {
        let network = network.into().address();
        self.inner.events.login(|| LoginEvent::Succeeded {
            subject: subject.to_owned(),
            network,
        });
    }

    /// Emits the event of a correct proof by a user whose address must be verified first.
    pub(crate) fn emit_unverified(&self, subject: &str, network: impl Into<Network>) {
        let network = network.into().address();
        self.inner.events.login(|| LoginEvent::Failed {
            subject: Some(subject.to_owned()),
            reason: LoginFailure::UnverifiedEmail,
            network,
        });
    }

    /// Emits the event of a sign-in that needs a second step.
    pub(crate) fn emit_second_step(&self, subject: &str, network: impl Into<Network>) {
        let network = network.into().address();
        self.inner.events.login(|| LoginEvent::SecondStepRequired {
            subject: subject.to_owned(),
            network,
        });
    }

    /// Emits the event of a second factor that the application has verified.
    pub(crate) fn emit_second_factor(&self, subject: &str, network: impl Into<Network>) {
        let network = network.into().address();
        self.inner.events.login(|| LoginEvent::SecondFactorUsed {
            subject: subject.to_owned(),
            method: "other",
            network,
        });
    }

    /// Checks that a second step can be completed.
    pub(crate) fn check_second_step(&self) -> Result<(), ConfigError> {
        let second = &self.inner.second;
        #[cfg(feature = "totp")]
        if second
            .remember
            .is_some_and(|time| !REMEMBERED.contains(&time))
        {
            let problem = "must be between a minute and a year";
            return Err(ConfigError::invalid("remember_devices", problem));
        }
        let asks = second.policy.is_some() || second.has_totp();
        match asks && second.rows.is_none() {
            true => Err(ConfigError::invalid(
                "second_step",
                "needs a store of second factors (`LoginBuilder::factors`)",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(feature = "totp")]
const REMEMBERED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(365 * 24 * 60 * 60);
#[cfg(feature = "totp")]
pub(crate) const TOTP: &str = "totp";
#[cfg(feature = "totp")]
pub(crate) const RECOVERY_CODE: &str = "recovery_code";
