//! Builds the use cases.

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{GrantSource, Inner, KeptGrants, SessionEvent, Sessions};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    issue::TokenIssuer,
    principal::PrincipalKind,
    refresh::{Confirmations, LISTED, RefreshPolicy, RefreshTokens, SessionStore},
    revoke::RevocationSet,
    secret::SecretKey,
};

/// Builds [`Sessions`]. Mistakes are reported by [`build`](Self::build).
#[must_use = "nothing is built before `build` is called"]
pub struct SessionsBuilder<S, G = KeptGrants> {
    issuer: TokenIssuer,
    store: S,
    secret: Option<SecretKey>,
    policy: RefreshPolicy,
    users: Lifetimes,
    guests: Lifetimes,
    most: Option<usize>,
    confirmations: Option<Confirmations>,
    grants: G,
    grants_chosen: bool,
    grants_timeout: Duration,
    mfa_acr: Option<String>,
    events: Events,
    on_event: Option<EventHook>,
    revocations: Vec<RevocationSet>,
}

pub(super) type EventHook = Arc<dyn Fn(&SessionEvent) + Send + Sync>;

/// How long a session lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) idle: Duration,
    pub(super) lifetime: Duration,
}

impl<S> SessionsBuilder<S> {
    pub(super) fn new(issuer: TokenIssuer, store: S) -> Self {
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
            most: None,
            confirmations: None,
            grants: KeptGrants,
            grants_chosen: false,
            grants_timeout: Duration::from_secs(2),
            mfa_acr: None,
            events: Events::default(),
            on_event: None,
            revocations: Vec::new(),
        }
    }
}

impl<S, G> SessionsBuilder<S, G> {
    /// The server's secret. Required; all processes of one service share it.
    pub fn secret(mut self, secret: SecretKey) -> Self {
        self.secret = Some(secret);
        self
    }

    /// How lenient a refresh is; [`browser`](RefreshPolicy::browser) by default.
    pub fn policy(mut self, policy: RefreshPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the confirmations. [`balanced`](RefreshPolicy::balanced) needs them.
    ///
    /// The same confirmations go to every layer and every socket that accepts the access tokens
    /// ([`JwtAuthLayer::confirmations`](crate::JwtAuthLayer::confirmations),
    /// `SocketAuth::confirmations`), on other servers as well. The endpoints of this crate confirm by the
    /// sessions.
    pub fn confirmations(mut self, confirmations: Confirmations) -> Self {
        self.confirmations = Some(confirmations);
        self
    }

    /// The set that the layers of this process ask
    /// ([`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation)). What these sessions end is
    /// in it before whoever asked for it is answered: a token that was revoked is refused at once
    /// on this node. Without it this node hears of its own doing as all others do, by the store's
    /// feed; so it does where the store's answer was lost, of a claimed guest and of a user's other
    /// sessions. May be called repeatedly.
    pub fn revocation(mut self, set: RevocationSet) -> Self {
        self.revocations.push(set);
        self
    }

    /// How long a session lives unused, in whole seconds; 14 days by default.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.users.idle = idle;
        self
    }

    /// How long a session lives, in whole seconds; 90 days by default. Nothing moves its end.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.users.lifetime = lifetime;
        self
    }

    /// How long a guest's session lives unused; 7 days by default.
    pub fn guest_idle(mut self, idle: Duration) -> Self {
        self.guests.idle = idle;
        self
    }

    /// How long a guest's session lives; 30 days by default.
    pub fn guest_lifetime(mut self, lifetime: Duration) -> Self {
        self.guests.lifetime = lifetime;
        self
    }

    /// How many sessions a user has at once, 1 to 99; any number by default. One more ends the one that
    /// was used least, and costs each login a list of them: for accounts of persons, who could else
    /// fill the store by signing in again and again. A script that signs in for every job of its own
    /// would end others.
    ///
    /// Logins at the same moment may leave some more, until the next one.
    pub fn max_sessions(mut self, most: usize) -> Self {
        self.most = Some(most);
        self
    }

    /// Sets the source of what a subject may do.
    ///
    /// Without it, [`AuthEndpoints`](crate::endpoints::AuthEndpoints) over these sessions reads roles
    /// and disabled accounts from the user store of its [`Login`](crate::login::Login) at every
    /// refresh. Without endpoints a session keeps the grants that it was started with.
    ///
    /// A subject that the user store does not know, such as one that another service authenticated,
    /// needs a source of its own. [`KeptGrants`] is the one that reads nothing.
    pub fn grant_source<H: GrantSource>(self, grants: H) -> SessionsBuilder<S, H> {
        SessionsBuilder {
            issuer: self.issuer,
            store: self.store,
            secret: self.secret,
            policy: self.policy,
            users: self.users,
            guests: self.guests,
            most: self.most,
            confirmations: self.confirmations,
            grants,
            grants_chosen: true,
            grants_timeout: self.grants_timeout,
            mfa_acr: self.mfa_acr,
            events: self.events,
            on_event: self.on_event,
            revocations: self.revocations,
        }
    }

    /// Sets the claim `acr` of sessions that start with a second factor: with `mfa` among their
    /// methods, or with methods of two kinds (knowledge, possession, inherence; RFC 8176 §2).
    ///
    /// There is no default. An `acr` that a session is [started with](super::SessionStart::acr) takes
    /// precedence. A refresh never changes it.
    pub fn mfa_acr(mut self, class: impl Into<String>) -> Self {
        self.mfa_acr = Some(class.into());
        self
    }

    /// How long the grant source may take, 100 ms to 30 s; 2 s by default.
    pub fn grants_timeout(mut self, timeout: Duration) -> Self {
        self.grants_timeout = timeout;
        self
    }

    /// Who is told what happens to sessions, among everything else.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Told what happens to sessions, with all that is known of it; besides
    /// [`events`](Self::events). It must not block.
    pub fn on_event(mut self, hook: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(hook));
        self
    }
}

impl<S: SessionStore, G: GrantSource> SessionsBuilder<S, G> {
    /// The use cases.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: no secret, a lifetime out of its range (a minute to 400 days, the
    /// unused one no longer than the whole), a number of sessions out of its range, or a policy that
    /// needs confirmations and has none.
    pub fn build(self) -> Result<Sessions<S, G>, ConfigError> {
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
        in_range("grants_timeout", self.grants_timeout, GRANTS_TIMEOUTS)?;
        if self.most.is_some_and(|most| !(1..LISTED).contains(&most)) {
            return Err(ConfigError::invalid("max_sessions", "not between 1 and 99"));
        }
        if self.mfa_acr.as_ref().is_some_and(String::is_empty) {
            return Err(ConfigError::invalid("mfa_acr", "an empty string"));
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
                grants: self.grants,
                grants_chosen: self.grants_chosen,
                users_grants: OnceLock::new(),
                mfa_acr: self.mfa_acr,
                grants_timeout: self.grants_timeout,
                events: self.events,
                on_event: self.on_event,
                revocations: self.revocations,
                confirmations: self.confirmations,
            }),
        })
    }
}

impl<S, G> fmt::Debug for SessionsBuilder<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("policy", &self.policy)
            .field("users", &self.users)
            .field("guests", &self.guests)
            .finish_non_exhaustive()
    }
}

impl<S, G> Inner<S, G> {
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
    // Stores keep seconds.
    if lifetimes.idle.subsec_nanos() != 0 || lifetimes.lifetime.subsec_nanos() != 0 {
        return Err(ConfigError::invalid(lifetime, "whole seconds are needed"));
    }
    if lifetimes.idle > lifetimes.lifetime {
        return Err(ConfigError::invalid(idle, "longer than the whole lifetime"));
    }
    Ok(())
}

fn in_range(
    name: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!("not between {:?} and {:?}", range.start(), range.end());
    Err(ConfigError::invalid(name, problem))
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 400 days is as long as browsers keep a cookie (RFC 6265bis §5.5).
const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(400 * 24 * 60 * 60);
const GRANTS_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30);
