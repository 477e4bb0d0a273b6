//! What holds in every history.

use stateright::Property;
use tower_jwt_auth::{event::RefreshOutcome, server::refresh::machine::decide};

use super::{LEAP, STEP, State, World};

pub(super) fn of(world: &World) -> Vec<Property<World>> {
    let mut properties = vec![
        Property::always("no transition does what none may", |_, state: &State| {
            !state.seen.broken
        }),
        Property::always("one generation is live", one_is_live),
        Property::always("an ended session stays ended", |_, state: &State| {
            !state.seen.ended || state.family.revoked
        }),
        Property::always("the diverged never both survive", diverged_never_survive),
    ];
    if world.thief {
        properties.extend([
            Property::always("that both use it ends it", both_use_ends_it),
            Property::sometimes("a theft ends a session", |_, state: &State| {
                state.family.revoked
            }),
        ]);
    } else {
        properties.extend([
            Property::always("an honest client stays signed in", |_, state: &State| {
                state.seen.ended || !state.seen.client_refused && !state.family.revoked
            }),
            Property::sometimes("an answer is given again", |_, state: &State| {
                state.seen.retried
            }),
        ]);
    }
    if world.policy.needs_confirmations() {
        properties.push(Property::sometimes(
            "one is reissued",
            |_, state: &State| state.seen.reissued,
        ));
    }
    if world.splits {
        properties.push(Property::sometimes(
            "a write is overtaken",
            |_, state: &State| state.seen.overtaken,
        ));
    }
    properties
}

fn one_is_live(world: &World, state: &State) -> bool {
    let live = |generation: &u64| {
        let outcome = decide(&state.family, *generation, &world.policy, state.now);
        matches!(outcome, RefreshOutcome::Fresh | RefreshOutcome::Rotated)
    };
    let live: Vec<_> = (0..=state.family.generation).filter(live).collect();
    state.family.revoked || live == [state.family.generation]
}

/// Two holders of different tokens either get the same answer or one of them ends the session.
fn diverged_never_survive(world: &World, state: &State) -> bool {
    let [Some(one), Some(other)] = state.holders.map(|holder| holder.token) else {
        return true;
    };
    one == other
        || [(one, other), (other, one)]
            .into_iter()
            .all(|(first, second)| {
                let mut state = state.clone();
                let first = world.present(&mut state, first);
                let second = world.present(&mut state, second);
                first.is_none() || second.is_none() || first == second
            })
}

/// Client and thief refresh in turn, each later than the window: the session does not survive it.
fn both_use_ends_it(world: &World, state: &State) -> bool {
    let [Some(client), Some(thief)] = state.holders.map(|holder| holder.token) else {
        return true;
    };
    let mut tokens = [client, thief];
    let mut state = state.clone();
    for turn in 0..6 {
        state.now = state.now.plus(LEAP + STEP);
        match world.present(&mut state, tokens[turn % 2]) {
            Some(next) => tokens[turn % 2] = next,
            None => return state.family.revoked,
        }
    }
    false
}
