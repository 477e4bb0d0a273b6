//! How servers decide about refresh tokens: this crate's, and what others do or did.

use std::{collections::HashMap, time::Duration};

use tower_jwt_auth::{
    event::RefreshOutcome,
    server::refresh::{
        RefreshPolicy,
        machine::{apply, confirm, decide},
    },
    store::port::Family,
    time::Timestamp,
};

/// One session. The first token is 0.
pub(crate) trait Server {
    /// The answer to a token; `None`: the session is over.
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64>;

    /// The answer to somebody who has a copy of the token, and nothing else of the client.
    fn stolen(&mut self, token: u64, now: i64) -> Theft {
        match self.refresh(token, now) {
            Some(answer) => Theft::Answered(answer),
            None => Theft::Over,
        }
    }

    /// The access token that came with this refresh token was used.
    fn used(&mut self, _token: u64) {}
}

/// What a thief gets.
pub(crate) enum Theft {
    Answered(u64),
    /// The session is over.
    Over,
    /// The thief is refused, and the session goes on.
    Refused,
}

/// This crate.
pub(crate) struct Ours {
    family: Family,
    policy: RefreshPolicy,
    confirms: bool,
}

impl Ours {
    pub(crate) fn new(policy: RefreshPolicy, confirms: bool) -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            family: Family::new(
                Timestamp::default(),
                14 * day,
                Timestamp::default().plus(90 * day),
            ),
            policy,
            confirms,
        }
    }
}

impl Server for Ours {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        let now = Timestamp::from_millis(now);
        let outcome: RefreshOutcome = decide(&self.family, token, &self.policy, now);
        self.family = apply(&self.family, token, outcome, now);
        outcome.answers().then_some(self.family.generation)
    }

    fn used(&mut self, token: u64) {
        if self.confirms {
            self.family = confirm(&self.family, token);
        }
    }
}

/// This crate, where sessions are bound to a key of their client.
pub(crate) struct Bound(Ours);

impl Bound {
    pub(crate) fn new(policy: RefreshPolicy) -> Self {
        Self(Ours::new(policy.of_bound_sessions(), false))
    }
}

impl Server for Bound {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        self.0.refresh(token, now)
    }

    fn stolen(&mut self, _token: u64, _now: i64) -> Theft {
        Theft::Refused
    }
}

/// Every token once, to the letter.
pub(crate) struct SingleUse(Option<u64>);

impl SingleUse {
    pub(crate) fn new() -> Self {
        Self(Some(0))
    }
}

impl Server for SingleUse {
    fn refresh(&mut self, token: u64, _now: i64) -> Option<u64> {
        self.0 = self.0.filter(|live| *live == token).map(|live| live + 1);
        self.0
    }
}

/// Ory Hydra: within the window a spent token starts another branch.
pub(crate) struct Fork {
    grace: i64,
    used_at: HashMap<u64, i64>,
    last: u64,
    over: bool,
}

impl Fork {
    pub(crate) fn new(grace: i64) -> Self {
        Self {
            grace,
            used_at: HashMap::new(),
            last: 0,
            over: false,
        }
    }
}

impl Server for Fork {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        let first = *self.used_at.entry(token).or_insert(now);
        self.over |= now > first + self.grace;
        self.last += 1;
        (!self.over).then_some(self.last)
    }
}

/// SuperTokens 5.6: within the window the parent gets a new random child, which replaces the last.
pub(crate) struct Remint {
    grace: i64,
    live: u64,
    parent: Option<u64>,
    rotated_at: i64,
    over: bool,
}

impl Remint {
    pub(crate) fn new(grace: i64) -> Self {
        Self {
            grace,
            live: 0,
            parent: None,
            rotated_at: 0,
            over: false,
        }
    }
}

impl Server for Remint {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        if token == self.live {
            self.parent = Some(token);
            self.rotated_at = now;
        } else if self.parent != Some(token) || now > self.rotated_at + self.grace {
            self.over = true;
        }
        self.live += 1;
        (!self.over).then_some(self.live)
    }
}

/// SuperTokens up to 5.4: the parent works until one of its random children is used.
pub(crate) struct ParentUntilUsed {
    live: u64,
    /// Of which parent a child was.
    children: HashMap<u64, u64>,
    last: u64,
    over: bool,
}

impl ParentUntilUsed {
    pub(crate) fn new() -> Self {
        Self {
            live: 0,
            children: HashMap::new(),
            last: 0,
            over: false,
        }
    }
}

impl Server for ParentUntilUsed {
    fn refresh(&mut self, token: u64, _now: i64) -> Option<u64> {
        self.used(token);
        self.over |= token != self.live;
        self.last += 1;
        self.children.insert(self.last, token);
        (!self.over).then_some(self.last)
    }

    fn used(&mut self, token: u64) {
        if self.children.get(&token) == Some(&self.live) {
            self.live = token;
        }
    }
}

/// Supabase's counter: the previous token always works, older ones within a window that every use
/// moves on.
pub(crate) struct Sliding {
    window: i64,
    live: u64,
    used_at: i64,
    over: bool,
}

impl Sliding {
    pub(crate) fn new(window: i64) -> Self {
        Self {
            window,
            live: 0,
            used_at: 0,
            over: false,
        }
    }
}

impl Server for Sliding {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        if token == self.live {
            self.live += 1;
        } else if token + 1 != self.live && now > self.used_at + self.window {
            self.over = true;
        }
        self.used_at = now;
        (!self.over).then_some(self.live)
    }
}

/// Derived children and a window for the parent, but the live token always rotates.
pub(crate) struct NoDebounce {
    grace: i64,
    live: u64,
    rotated_at: i64,
    over: bool,
}

impl NoDebounce {
    pub(crate) fn new(grace: i64) -> Self {
        Self {
            grace,
            live: 0,
            rotated_at: 0,
            over: false,
        }
    }
}

impl Server for NoDebounce {
    fn refresh(&mut self, token: u64, now: i64) -> Option<u64> {
        if token == self.live {
            self.live += 1;
            self.rotated_at = now;
        } else if token + 1 != self.live || now > self.rotated_at + self.grace {
            self.over = true;
        }
        (!self.over).then_some(self.live)
    }
}
