//! The builder of [`Sessions`].

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{ClaimsSource, ErasedClaimsSource, Inner, Sessions};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    layer::Confirmations,
    principal::PrincipalKind,
    revocation::{self, RevocationSet},
    secret::SecretKey,
    server::{
        issue::TokenIssuer,
        refresh::{RefreshPolicy, RefreshTokens},
    },
    store::port::{ErasedSessionStore, LISTED},
};

/// Builds [`Sessions`]. Invalid settings are reported by [`build`](Self::build).
#[must_use = "nothing is built before `build` is called"]
pub struct SessionsBuilder {
    issuer: TokenIssuer,
    store: Arc<dyn ErasedSessionStore>,
    secret: Option<SecretKey>,
    policy: RefreshPolicy,
    users: Lifetimes,
    guests: Lifetimes,
    most: Option<usize>,
    confirmations: Option<Confirmations>,
    claims: Option<Arc<dyn ErasedClaimsSource>>,
    claims_timeout: Duration,
    mfa_acr: Option<String>,
    events: Events,
    revocations: Vec<RevocationSet>,
}

/// The idle timeout and the maximum lifetime of sessions of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) idle: Duration,
    pub(super) lifetime: Duration,
}

impl SessionsBuilder {
    pub(super) fn new(issuer: TokenIssuer, store: Arc<dyn ErasedSessionStore>) -> Self {
        Self {
            issuer,
            store,
            secret: None,
            policy: RefreshPolicy::default(),
            users: Lifetimes {
                idle: 14 * DAY,
                lifetime: 90 * DAY,
            },
            guests: Lifetimes {
                idle: 7 * DAY,
                lifetime: 30 * DAY,
            },
            most: Some(DEFAULT_MAX_SESSIONS),
            confirmations: None,
            claims: None,
            claims_timeout: Duration::from_secs(2),
            mfa_acr: None,
            events: Events::default(),
            revocations: Vec::new(),
        }
    }

    /// Sets the server's secret. Required. All processes of one service share it.
    pub fn secret(mut self, secret: SecretKey) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets how lenient a refresh is; [`browser`](RefreshPolicy::browser) by default.
    pub fn policy(mut self, policy: RefreshPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the confirmations. [`balanced`](RefreshPolicy::balanced) needs them.
    ///
    /// Pass the same confirmations to every layer and every socket that accepts the access tokens
    /// ([`JwtAuthLayer::confirmations`](crate::JwtAuthLayer::confirmations),
    /// `SocketAuth::confirmations`), on other servers as well. The endpoints of this crate confirm
    /// through the sessions.
    pub fn confirmations(mut self, confirmations: Confirmations) -> Self {
        self.confirmations = Some(confirmations);
        self
    }

    /// Adds a revocation set that the layers of this process check
    /// ([`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation)). May be called repeatedly.
    ///
    /// A session that these sessions end is in the set before the method returns, so this process
    /// refuses its access tokens immediately. Without a set, this process receives its own
    /// revocations from the store's revocation feed, as all other processes do. The feed also
    /// delivers a revocation whose confirmation by the store was lost.
    pub fn revocation(mut self, set: RevocationSet) -> Self {
        self.revocations.push(set);
        self
    }

    /// Sets the idle timeout of a session, in whole seconds; 14 days by default. Every
    /// rotation of the refresh token restarts it; a repeat within the grace window does not.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.users.idle = idle;
        self
    }

    /// Sets the maximum lifetime of a session, in whole seconds; 90 days by default. A refresh does
    /// not extend it.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.users.lifetime = lifetime;
        self
    }

    /// Sets the idle timeout of a guest's session, in whole seconds; 7 days by default.
    pub fn guest_idle(mut self, idle: Duration) -> Self {
        self.guests.idle = idle;
        self
    }

    /// Sets the maximum lifetime of a guest's session, in whole seconds; 30 days by default.
    pub fn guest_lifetime(mut self, lifetime: Duration) -> Self {
        self.guests.lifetime = lifetime;
        self
    }

    /// Limits how many sessions a user has at the same time, 1 to 99; 50 by default. `None` removes
    /// the limit.
    ///
    /// A login over the limit ends the oldest session that was never refreshed. If all of them were
    /// refreshed, it ends the least recently used one. A script that signs in for every job
    /// therefore ends its own sessions, and not those of its user's devices. Every end emits
    /// [`SessionEvent::Evicted`](crate::event::SessionEvent::Evicted).
    ///
    /// A limit costs one more query per login, which lists the user's sessions. Concurrent logins
    /// may exceed the limit until the next login. A login ends at most 100 sessions, and the next
    /// one continues. Guests are not limited.
    pub fn max_sessions(mut self, most: impl Into<Option<usize>>) -> Self {
        self.most = most.into();
        self
    }

    /// Sets the source of the session's claims (roles, scope, permissions, custom claims), which is called at every
    /// start and every refresh.
    ///
    /// Without it, [`AuthEndpoints`](crate::server::endpoints::AuthEndpoints) over these sessions reads
    /// roles and disabled accounts from the user store of its [`Login`](crate::server::login::Login) at
    /// every refresh. Without endpoints a session keeps the claims that it was started with.
    ///
    /// A subject that is not in the user store, such as one that another service authenticated,
    /// needs a custom source. [`StaticClaims`](super::StaticClaims) is the source that reads nothing.
    pub fn claims_source(mut self, claims: impl ClaimsSource) -> Self {
        self.claims = Some(Arc::new(claims));
        self
    }

    /// Sets the claim `acr` of sessions that start with a second factor: with `mfa` among their
    /// methods, or with methods of two kinds (knowledge, possession, inherence; RFC 8176 §2).
    ///
    /// There is no default. An `acr` that a session is [started with](super::StartSession::acr) takes
    /// precedence. A refresh never changes it.
    pub fn mfa_acr(mut self, class: impl Into<String>) -> Self {
        self.mfa_acr = Some(class.into());
        self
    }

    /// Sets the timeout of one call of the claims source, 100 ms to 30 s; 2 s by default.
    pub fn claims_timeout(mut self, timeout: Duration) -> Self {
        self.claims_timeout = timeout;
        self
    }

    /// Sets the event sink. It receives every
    /// [`SessionEvent`](crate::event::SessionEvent): starts, refreshes, reuse, expiry and revocations;
    /// and the failures of housekeeping.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Validates the settings and returns the sessions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]:
    ///
    /// - the secret is missing,
    /// - an idle timeout or a lifetime is not between one minute and 400 days, is not in whole
    ///   seconds, or the idle timeout exceeds the lifetime,
    /// - `claims_timeout` or `max_sessions` is out of its range,
    /// - `mfa_acr` is an empty string,
    /// - the policy needs confirmations and none were set.
    pub fn build(self) -> Result<Sessions, ConfigError> {
        let secret = self
            .secret
            .ok_or_else(|| ConfigError::invalid("secret", "a secret key is required"))?;
        if self.policy.needs_confirmations() && self.confirmations.is_none() {
            return Err(ConfigError::invalid(
                "policy",
                "the balanced policy needs `confirmations`: without them a stolen, spent token works",
            ));
        }
        check("idle", "lifetime", self.users)?;
        check("guest_idle", "guest_lifetime", self.guests)?;
        in_range("claims_timeout", self.claims_timeout, CLAIMS_TIMEOUTS)?;
        if self
            .most
            .is_some_and(|most| !(1..LISTED as usize).contains(&most))
        {
            return Err(ConfigError::invalid(
                "max_sessions",
                "must be between 1 and 99",
            ));
        }
        if self.mfa_acr.as_ref().is_some_and(String::is_empty) {
            return Err(ConfigError::invalid("mfa_acr", "must not be empty"));
        }
        for set in &self.revocations {
            revocation::expect(self.issuer.issuer(), set);
        }
        Ok(Sessions {
            inner: Arc::new(Inner {
                issuer: self.issuer,
                store: self.store,
                tokens: RefreshTokens::new(&secret),
                policy: self.policy,
                users: self.users,
                guests: self.guests,
                most: self.most,
                claims: self.claims.map_or_else(OnceLock::new, OnceLock::from),
                mfa_acr: self.mfa_acr,
                claims_timeout: self.claims_timeout,
                events: self.events,
                revocations: self.revocations,
                confirmations: self.confirmations,
            }),
        })
    }
}

impl fmt::Debug for SessionsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("policy", &self.policy)
            .field("users", &self.users)
            .field("guests", &self.guests)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn lifetimes(&self, kind: PrincipalKind) -> Lifetimes {
        match kind {
            PrincipalKind::Guest => self.guests,
            _ => self.users,
        }
    }
}

fn check(
    idle: &'static str,
    lifetime: &'static str,
    lifetimes: Lifetimes,
) -> Result<(), ConfigError> {
    in_range(idle, lifetimes.idle, LIFETIMES)?;
    in_range(lifetime, lifetimes.lifetime, LIFETIMES)?;
    // Stores keep whole seconds.
    if lifetimes.idle.subsec_nanos() != 0 || lifetimes.lifetime.subsec_nanos() != 0 {
        return Err(ConfigError::invalid(lifetime, "must be in whole seconds"));
    }
    if lifetimes.idle > lifetimes.lifetime {
        return Err(ConfigError::invalid(idle, "must not exceed the lifetime"));
    }
    Ok(())
}

pub(super) fn in_range(
    name: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("must be between {:?} and {:?}", range.start(), range.end());
    Err(ConfigError::invalid(name, problem))
}

/// The number of sessions of a user, unless another one is set.
pub(crate) const DEFAULT_MAX_SESSIONS: usize = 50;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Browsers keep a cookie for 400 days at most (RFC 6265bis §5.5).
const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(400 * 24 * 60 * 60);
const CLAIMS_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30);
