//! The builder of [`Login`].

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

#[cfg(feature = "totp")]
use crate::server::login::second::Authenticators;
use crate::{
    event::{EventSink, Events},
    secret::SecretKey,
    server::login::{
        DeviceTokens, EmailClaims, Login, PasswordHasher, PasswordPolicy, SecondStepPolicy,
        StepTokens, UnlockHook,
        code_flow::CodeFlows,
        second::{ErasedSecondStepPolicy, SecondStep},
        take_over::{ErasedTakeOverHook, TakeOverHook},
        throttle::{AdmissionControl, HardLock, ThrottleKeys},
        use_case::Inner,
    },
    store::port::{
        CredentialStore, ErasedCredentialStore, ErasedFactorStore, ErasedOneTimeStore,
        ErasedThrottleStore, ErasedUserStore, FactorStore, OneTimeStore,
    },
    time::{Clock, SystemClock},
};

/// Builds a [`Login`].
#[must_use]
pub struct LoginBuilder {
    users: Arc<dyn ErasedUserStore>,
    throttle: Arc<dyn ErasedThrottleStore>,
    secret: SecretKey,
    hasher: Option<PasswordHasher>,
    policy: PasswordPolicy,
    one_time: Option<Arc<dyn ErasedOneTimeStore>>,
    factors: Option<Arc<dyn ErasedFactorStore>>,
    credentials: Option<Arc<dyn ErasedCredentialStore>>,
    second_step: Option<Arc<dyn ErasedSecondStepPolicy>>,
    #[cfg(feature = "totp")]
    totp: Option<String>,
    #[cfg(feature = "totp")]
    remember: Option<Duration>,
    email_claims: EmailClaims,
    take_over: Vec<Box<dyn ErasedTakeOverHook>>,
    lock: Option<HardLock>,
    patience: Duration,
    events: Events,
    clock: Arc<dyn Clock>,
}

impl LoginBuilder {
    pub(super) fn new(
        users: Arc<dyn ErasedUserStore>,
        throttle: Arc<dyn ErasedThrottleStore>,
        secret: SecretKey,
    ) -> Self {
        Self {
            users,
            throttle,
            secret,
            hasher: None,
            policy: PasswordPolicy::new(),
            one_time: None,
            factors: None,
            credentials: None,
            second_step: None,
            #[cfg(feature = "totp")]
            totp: None,
            #[cfg(feature = "totp")]
            remember: None,
            email_claims: EmailClaims::None,
            take_over: Vec::new(),
            lock: None,
            patience: Duration::from_secs(2),
            events: Events::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Sets the hasher; [`PasswordHasher::new`] by default.
    pub fn hasher(mut self, hasher: PasswordHasher) -> Self {
        self.hasher = Some(hasher);
        self
    }

    /// Sets the rules for new passwords; [`PasswordPolicy::new`] by default.
    pub fn password_policy(mut self, policy: PasswordPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the store of one-time tokens, which [`Login::reset_token`] and
    /// [`Login::reset_password`] need.
    ///
    /// # Security
    ///
    /// Set it in every project that issues tokens for
    /// [resets](crate::store::port::OneTimePurpose::Reset): a new password then invalidates the
    /// outstanding tokens of the same user.
    pub fn one_time(mut self, store: impl OneTimeStore) -> Self {
        self.one_time = Some(Arc::new(store));
        self
    }

    /// Sets the store of second factors. It is needed for every second step, because the token of a first
    /// step completes one sign-in only.
    pub fn factors(mut self, store: impl FactorStore) -> Self {
        self.factors = Some(Arc::new(store));
        self
    }

    /// Sets the store of linked credentials, which [identities](Login::identities) need.
    pub fn credentials(mut self, store: impl CredentialStore) -> Self {
        self.credentials = Some(Arc::new(store));
        self
    }

    /// Sets a policy that may ask for another factor after the first one. It needs a
    /// [store](Self::factors).
    pub fn second_step(mut self, policy: impl SecondStepPolicy) -> Self {
        self.second_step = Some(Arc::new(policy));
        self
    }

    /// Enables authenticator apps (TOTP, RFC 6238) and recovery codes. Users who have enrolled are asked
    /// for a code after every first factor that is not a second one already. It needs a
    /// [store](Self::factors).
    ///
    /// `name` is the name of the service in authenticator apps.
    ///
    /// # Security
    ///
    /// The secrets of authenticators are encrypted under the server's secret. If it is lost, no code is
    /// accepted any more, recovery codes included.
    #[cfg(feature = "totp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
    pub fn totp(mut self, name: impl Into<String>) -> Self {
        self.totp = Some(name.into());
        self
    }

    /// Lets users remember a device for this long, after they have proved a second factor on it; off by
    /// default. From a remembered device a sign-in needs no code of the authenticator. At most a year.
    ///
    /// # Security
    ///
    /// - The first factor is still needed. A session that starts without a code has no second factor in
    ///   `amr`, so that rules which require one still ask for a [step-up](crate::server::endpoints).
    /// - A new password, the end of all sessions, and the end of the authenticator forget all devices.
    ///   Twenty devices are remembered for a user.
    /// - A [policy](Self::second_step) of your own is asked on every device.
    #[cfg(feature = "totp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
    pub fn remember_devices(mut self, lifetime: Duration) -> Self {
        self.remember = Some(lifetime);
        self
    }

    /// Sets the claims about the user's address in access tokens; none by default. A custom
    /// [claims source](crate::server::session::ClaimsSource) takes precedence.
    pub fn email_claims(mut self, claims: EmailClaims) -> Self {
        self.email_claims = claims;
        self
    }

    /// Adds a hook that removes what your application keeps for an account, before the owner of its address
    /// takes the account over, such as [API keys](crate::layer::api_key::ApiKeys). May be called repeatedly.
    pub fn on_take_over(mut self, hook: impl TakeOverHook) -> Self {
        self.take_over.push(Box::new(hook));
        self
    }

    /// Locks a name after this many failures within a day, until [`Login::unlock`] is called.
    ///
    /// Off by default, because an attacker can lock the name of any user. Trusted devices can still
    /// sign in.
    pub fn hard_lock(mut self, failures: NonZeroU32, hook: impl UnlockHook) -> Self {
        self.lock = Some(HardLock::new(failures, hook));
        self
    }

    /// Sets how long an attempt waits for open attempts on the same name, and for other nodes that
    /// count attempts on it; 2 s by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the event sink. It receives one event per attempt.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Sets the clock for the lifetimes of device tokens.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the login.
    #[must_use]
    pub fn build(self) -> Login {
        let keys = ThrottleKeys::new(&self.secret);
        let hasher = self.hasher.unwrap_or_default();
        let tokens = StepTokens::new(&self.secret);
        let second = SecondStep::new(self.factors, self.second_step, tokens);
        #[cfg(feature = "totp")]
        let second = SecondStep {
            totp: self
                .totp
                .map(|name| Authenticators::new(name, &self.secret)),
            remember: self.remember,
            ..second
        };
        let inner = Inner {
            users: self.users,
            admission: AdmissionControl::new(
                self.throttle,
                keys,
                self.lock,
                self.patience,
                hasher.clone(),
            ),
            hasher,
            policy: self.policy,
            one_time: self.one_time,
            credentials: self.credentials,
            second,
            email_claims: self.email_claims,
            take_over: self.take_over,
            devices: DeviceTokens::new(&self.secret),
            code_flows: CodeFlows::new(&self.secret),
            events: self.events,
            clock: self.clock,
            warned: false.into(),
        };
        Login {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Debug for LoginBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginBuilder")
            .field("hasher", &self.hasher)
            .field("policy", &self.policy)
            .field("lock", &self.lock)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
