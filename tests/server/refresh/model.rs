//! Every short history of a session: a client with two tabs, a thief, a network that loses, copies,
//! delays and reorders, and a clock that is set back: by less than a window where nobody steals, by an
//! hour where somebody does. Exhaustively by a model checker, and longer
//! ones at random.
//!
//! Time goes in steps of 10 s. A request and its answer are under way for less than two of them:
//! then the client has given up. `Leap` is a pause that is longer than the grace window.
//!
//! A refresh is one step, or two where `splits` is set: it loads and decides, and later compares and sets
//! what it decided. Confirmations, logouts, other refreshes and time come between the two.
//!
//! One history is left out, because no server can tell it from theft (`tests/server/refresh/crossing.rs`):
//! a repeated request that is under way when the window of its token closes.

mod histories;
mod properties;

use std::{cmp::Ordering, time::Duration};

use stateright::{Model, Property};
use tower_jwt_auth::{
    event::RefreshOutcome,
    server::refresh::{
        RefreshPolicy,
        machine::{apply, confirm, decide},
    },
    store::port::Family,
    time::Timestamp,
};

#[derive(Clone, Debug)]
struct World {
    policy: RefreshPolicy,
    thief: bool,
    /// Use of an access token is reported.
    confirmations: bool,
    /// The client repeats a refresh within the window; otherwise it may come back much later.
    prompt: bool,
    crossings_left_out: bool,
    /// What comes between a load and its write is gone through as well.
    splits: bool,
    /// How far the clock is set back at a time.
    back_by: Duration,
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    sends: [u8; 2],
    losses: u8,
    copies: u8,
    steps: u8,
    back: u8,
    /// Logouts, and raised epochs, which are the same to a session.
    ends: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: Timestamp,
    family: Family,
    /// Sorted, so that one set of messages is one state.
    messages: Vec<Message>,
    holders: [Holder; 2],
    budget: Budget,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Holder {
    /// The generation that it would present.
    token: Option<u64>,
    /// For each tab, how many steps ago it sent a request that nothing has answered yet.
    unanswered: [Option<u8>; 2],
}

/// What was ever seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    client_refused: bool,
    retried: bool,
    reissued: bool,
    /// The session was ended on purpose.
    ended: bool,
    /// A session had changed between its load and its write.
    overtaken: bool,
    /// A transition did what none may.
    broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    kind: Kind,
    holder: usize,
    tab: usize,
    generation: u64,
    /// Of an answer: it gives back the very token that was sent.
    same: bool,
    age: u8,
    /// Of a request whose session was loaded, and that has to write.
    decided: Option<Decided>,
}

/// What a store is given to compare and to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Decided {
    /// Generation, reissues, confirmed.
    from: (u64, u32, Option<u64>),
    /// Generation, parent, reissues; `None`: the session ends, whatever it is.
    to: Option<(u64, Option<u64>, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Request,
    Answer,
    Confirmation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Send(usize, usize),
    /// A message arrives, in whatever order.
    Arrive(usize),
    Lose(usize),
    Copy(usize),
    UseAccessToken,
    Steal,
    Tick,
    Leap,
    SetBack,
    End,
}

const CLIENT: usize = 0;
const THIEF: usize = 1;
const STEP: Duration = Duration::from_secs(10);
const LEAP: Duration = Duration::from_secs(40);
const HOUR: Duration = Duration::from_secs(3600);

impl State {
    /// The tabs of the client are alike, so that two states that differ in their order are one.
    fn order_tabs(&mut self) {
        let [first, second] = self.holders[CLIENT].unanswered;
        let swapped = || {
            let mut messages = self.messages.clone();
            for message in &mut messages {
                if message.holder == CLIENT && message.kind != Kind::Confirmation {
                    message.tab = 1 - message.tab;
                }
            }
            messages.sort();
            messages
        };
        let messages = match first.cmp(&second) {
            Ordering::Less => return,
            Ordering::Equal => swapped().min(self.messages.clone()),
            Ordering::Greater => swapped(),
        };
        self.messages = messages;
        self.holders[CLIENT].unanswered = [first.min(second), first.max(second)];
    }
}

impl World {
    fn new(policy: RefreshPolicy) -> Self {
        Self {
            policy,
            thief: false,
            confirmations: policy.needs_confirmations(),
            prompt: !policy.needs_confirmations(),
            crossings_left_out: true,
            splits: false,
            back_by: STEP,
            budget: Budget {
                sends: [4, 0],
                losses: 2,
                copies: 1,
                steps: 4,
                back: 1,
                ends: 0,
            },
        }
    }

    fn with_thief(policy: RefreshPolicy) -> Self {
        Self {
            thief: true,
            // It was wrong for a while and is put right.
            back_by: HOUR,
            budget: Budget {
                sends: [2, 2],
                losses: 1,
                copies: 0,
                steps: 3,
                back: 1,
                ends: 0,
            },
            ..Self::new(policy)
        }
    }

    /// What the server answers; `None`: a refusal.
    fn present(&self, state: &mut State, generation: u64) -> Option<u64> {
        let before = state.family.clone();
        let outcome = decide(&before, generation, &self.policy, state.now);
        let after = apply(&before, generation, outcome, state.now);
        state.seen.retried |= outcome == RefreshOutcome::Retried;
        state.seen.reissued |= outcome == RefreshOutcome::Reissued;
        state.seen.broken |= after.expires_at != before.expires_at
            || before.revoked && !after.revoked
            || !outcome.writes() && after != before
            || after.generation < before.generation
            || outcome.answers() == after.revoked;
        state.family = after;
        outcome.answers().then_some(state.family.generation)
    }

    /// The first step of a refresh that has to write after a load; `None`: it is one step.
    fn load(&self, state: &State, generation: u64) -> Option<Decided> {
        let family = &state.family;
        let outcome = decide(family, generation, &self.policy, state.now);
        // The live generation is advanced without a load.
        if !self.splits || !outcome.writes() || outcome == RefreshOutcome::Rotated {
            return None;
        }
        let next = apply(family, generation, outcome, state.now);
        Some(Decided {
            from: (family.generation, family.reissues, family.confirmed),
            to: outcome
                .answers()
                .then_some((next.generation, next.parent, next.reissues)),
        })
    }

    /// The second step, as a store does it. Returns `false` if nothing was changed.
    fn advance(state: &mut State, decided: Decided) -> bool {
        let family = &mut state.family;
        let Some((generation, parent, reissues)) = decided.to else {
            family.revoked = true;
            return true;
        };
        let seen = (family.generation, family.reissues, family.confirmed);
        if family.revoked || state.now >= family.ends_at() || seen != decided.from {
            return false;
        }
        state.seen.broken |= generation <= family.generation;
        state.seen.reissued |= reissues > family.reissues;
        family.generation = generation;
        family.parent = parent;
        family.reissues = reissues;
        family.rotated_at = Some(state.now);
        family.used_at = state.now;
        true
    }

    fn arrive(&self, state: &mut State, message: Message) {
        match message.kind {
            Kind::Confirmation => state.family = confirm(&state.family, message.generation),
            Kind::Answer => {
                let holder = &mut state.holders[message.holder];
                holder.unanswered[message.tab] = None;
                // It is not stored again: a newer one may have come meanwhile.
                if !message.same {
                    holder.token = Some(message.generation);
                }
            }
            Kind::Request => {
                if let Some(decided) = message.decided {
                    if Self::advance(state, decided) {
                        let answer = decided.to.map(|(generation, ..)| generation);
                        return Self::answer(state, message, answer);
                    }
                    state.seen.overtaken = true;
                }
                match self.load(state, message.generation) {
                    None => {
                        let answer = self.present(state, message.generation);
                        Self::answer(state, message, answer);
                    }
                    decided => state.messages.push(Message { decided, ..message }),
                }
            }
        }
    }

    fn answer(state: &mut State, request: Message, generation: Option<u64>) {
        match generation {
            Some(generation) => state.messages.push(Message {
                kind: Kind::Answer,
                generation,
                same: generation == request.generation,
                decided: None,
                ..request
            }),
            None => state.seen.client_refused |= request.holder == CLIENT,
        }
    }

    /// Whether time may pass: nothing is too old, and the client has no duty left.
    fn may_pass(&self, state: &State, leap: bool) -> bool {
        let oldest = state.messages.iter().map(|message| message.age).max();
        let under_way = match leap {
            true => oldest.is_none(),
            false => oldest.is_none_or(|age| age == 0),
        };
        let unanswered = state.holders[CLIENT].unanswered;
        let oldest_duty = unanswered.into_iter().flatten().max();
        let duty = self.prompt
            && match leap {
                true => oldest_duty.is_some(),
                false => oldest_duty.is_some_and(|age| age >= 2),
            };
        under_way && !duty && !self.closes_on_a_repetition(state, leap)
    }

    /// Whether the window closes while the client's request with a spent token is under way.
    fn closes_on_a_repetition(&self, state: &State, leap: bool) -> bool {
        let by = if leap { LEAP } else { STEP };
        let closes = |rotated: Timestamp| {
            let end = rotated.plus(self.policy.grace_window());
            state.now <= end && end < state.now.plus(by)
        };
        let repeats = |message: &Message| {
            (message.kind, message.holder) == (Kind::Request, CLIENT)
                && message.generation < state.family.generation
        };
        self.crossings_left_out
            && state.family.rotated_at.is_some_and(closes)
            && state.messages.iter().any(repeats)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let now = Timestamp::from_millis(1_000_000_000);
        let client = Holder {
            token: Some(0),
            unanswered: [None; 2],
        };
        vec![State {
            now,
            family: Family::new(
                now,
                Duration::from_secs(14 * 24 * 3600),
                now.plus(Duration::from_secs(90 * 24 * 3600)),
            ),
            messages: Vec::new(),
            holders: [client, Holder::default()],
            budget: self.budget,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (holder, held) in state.holders.iter().enumerate() {
            // A thief needs no tabs.
            for tab in 0..=usize::from(holder == CLIENT) {
                let waits = |message: &Message| {
                    (message.holder, message.tab) == (holder, tab)
                        && message.kind != Kind::Confirmation
                };
                let idle = !state.messages.iter().any(waits);
                if held.token.is_some() && state.budget.sends[holder] > 0 && idle {
                    actions.push(Action::Send(holder, tab));
                }
            }
        }
        for (at, message) in state.messages.iter().enumerate() {
            if at > 0 && state.messages[at - 1] == *message {
                continue;
            }
            actions.push(Action::Arrive(at));
            if message.decided.is_some() {
                // It is at the server.
                continue;
            }
            if state.budget.losses > 0 {
                actions.push(Action::Lose(at));
            }
            if state.budget.copies > 0 && message.kind == Kind::Request {
                actions.push(Action::Copy(at));
            }
        }
        let confirms = |message: &Message| message.kind == Kind::Confirmation;
        if self.confirmations && !state.messages.iter().any(confirms) {
            actions.push(Action::UseAccessToken);
        }
        if self.thief && state.holders[THIEF].token.is_none() {
            actions.push(Action::Steal);
        }
        if state.budget.steps > 0 {
            if self.may_pass(state, false) {
                actions.push(Action::Tick);
            }
            if self.may_pass(state, true) {
                actions.push(Action::Leap);
            }
        }
        if state.budget.back > 0 {
            actions.push(Action::SetBack);
        }
        if state.budget.ends > 0 {
            actions.push(Action::End);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Send(holder, tab) => {
                let held = &mut state.holders[holder];
                state.budget.sends[holder] -= 1;
                held.unanswered[tab].get_or_insert(0);
                state.messages.push(Message {
                    kind: Kind::Request,
                    holder,
                    tab,
                    generation: held.token?,
                    same: false,
                    age: 0,
                    decided: None,
                });
            }
            Action::Arrive(at) => {
                let message = state.messages.remove(at);
                self.arrive(&mut state, message);
            }
            Action::Lose(at) => {
                state.budget.losses -= 1;
                state.messages.remove(at);
            }
            Action::Copy(at) => {
                state.budget.copies -= 1;
                // The two arrive in the same step. One that comes when the window has closed may rotate
                // where nobody waits for the answer any more, and `browser` does not forgive that.
                state.messages[at].age = 1;
                state.messages.push(state.messages[at]);
            }
            Action::UseAccessToken => {
                let generation = state.holders[CLIENT].token?;
                // Seen before: no second report.
                if state.family.confirmed >= Some(generation) {
                    return None;
                }
                state.messages.push(Message {
                    kind: Kind::Confirmation,
                    holder: CLIENT,
                    tab: 0,
                    generation,
                    same: false,
                    age: 0,
                    decided: None,
                });
            }
            Action::Steal => state.holders[THIEF].token = state.holders[CLIENT].token,
            Action::Tick | Action::Leap => {
                let by = if action == Action::Tick { STEP } else { LEAP };
                state.budget.steps -= 1;
                state.now = state.now.plus(by);
                for message in &mut state.messages {
                    message.age += 1;
                }
                for holder in &mut state.holders {
                    for tab in holder.unanswered.iter_mut().flatten() {
                        *tab = tab.saturating_add(1).min(3);
                    }
                }
            }
            Action::End => {
                state.budget.ends -= 1;
                state.family.revoked = true;
                state.seen.ended = true;
            }
            Action::SetBack => {
                state.budget.back -= 1;
                state.now = state.now.minus(self.back_by);
            }
        }
        state.messages.sort();
        state.order_tabs();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
