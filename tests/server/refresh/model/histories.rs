//! The histories that are gone through: all short ones, and long ones at random.

use proptest::prelude::*;
use stateright::{Checker, Expectation, Model};
use tower_jwt_auth::server::refresh::RefreshPolicy;

use super::{Budget, World};

fn check_all(world: World) {
    let name = format!("{:?}, thief {}", world.policy, world.thief);
    let checked = world.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states", checked.unique_state_count());
    checked.assert_properties();
}

#[test]
fn an_honest_browser_is_never_signed_out() {
    check_all(World::new(RefreshPolicy::browser()));
}

#[test]
fn an_honest_app_is_never_signed_out_where_receipts_are_confirmed() {
    let mut world = World::new(RefreshPolicy::balanced());
    world.budget = Budget {
        losses: 3,
        copies: 0,
        steps: 3,
        back: 0,
        ..world.budget
    };
    check_all(world);
}

/// A store that only compares and sets, with everything between the two steps of a refresh.
fn split(mut world: World) -> World {
    world.splits = true;
    world.budget = Budget {
        sends: [3, world.budget.sends[1].min(1)],
        losses: 1,
        copies: 0,
        steps: 3,
        back: 0,
        ends: 0,
    };
    world
}

#[test]
fn an_honest_app_is_never_signed_out_by_what_comes_between_load_and_write() {
    let mut world = split(World::new(RefreshPolicy::balanced()));
    world.budget.losses = 2;
    check_all(world);
}

#[test]
fn t10_no_write_of_a_refresh_revives_an_ended_session() {
    let mut world = split(World::new(RefreshPolicy::balanced()));
    world.budget.ends = 1;
    check_all(world);
}

#[test]
fn no_thief_goes_on_by_what_comes_between_load_and_write() {
    let mut world = split(World::with_thief(RefreshPolicy::balanced()));
    world.budget.steps = 2;
    check_all(world);
}

#[test]
fn no_thief_goes_on_beside_a_browser() {
    check_all(World::with_thief(RefreshPolicy::browser()));
}

#[test]
fn no_thief_goes_on_beside_an_app() {
    check_all(World::with_thief(RefreshPolicy::balanced()));
}

#[test]
fn no_thief_goes_on_where_nothing_is_forgiven() {
    check_all(World::with_thief(RefreshPolicy::strict()));
}

/// The history that is left out is needed to be: with it, the checker finds it.
#[test]
fn a_window_that_closes_on_a_repeated_request_signs_an_honest_app_out() {
    let mut world = World::new(RefreshPolicy::balanced());
    world.crossings_left_out = false;
    world.budget = Budget {
        sends: [4, 0],
        losses: 1,
        copies: 0,
        steps: 4,
        back: 0,
        ends: 0,
    };
    let checked = world.checker().threads(2).spawn_bfs().join();
    checked.assert_any_discovery("an honest client stays signed in");
    println!(
        "{:?}",
        checked
            .discovery("an honest client stays signed in")
            .unwrap()
            .into_actions()
    );
}

/// The promise to honest clients has a price, and the checker finds it: a strict server signs them
/// out.
#[test]
fn a_strict_server_signs_honest_clients_out() {
    let checked = World::new(RefreshPolicy::strict())
        .checker()
        .spawn_bfs()
        .join();
    checked.assert_any_discovery("an honest client stays signed in");
}

fn walk(world: &World, choices: &[u16]) -> Result<(), TestCaseError> {
    let mut state = world.init_states().remove(0);
    for choice in choices {
        let mut actions = Vec::new();
        world.actions(&state, &mut actions);
        if actions.is_empty() {
            break;
        }
        let action = actions[usize::from(*choice) % actions.len()];
        let Some(next) = world.next_state(&state, action) else {
            continue;
        };
        state = next;
        for property in world.properties() {
            let holds =
                property.expectation != Expectation::Always || (property.condition)(world, &state);
            prop_assert!(holds, "{}: {:?}", property.name, state);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("HISTORIES").map_or(300, |cases| cases.parse().unwrap())
    ))]

    #[test]
    fn longer_histories_at_random(
        choices in prop::collection::vec(any::<u16>(), 0..400),
        which in 0..5usize,
        splits: bool,
    ) {
        let mut world = match which {
            0 => World::new(RefreshPolicy::browser()),
            1 => World::new(RefreshPolicy::balanced()),
            2 => World::with_thief(RefreshPolicy::browser()),
            3 => World::with_thief(RefreshPolicy::balanced()),
            _ => World::with_thief(RefreshPolicy::strict()),
        };
        // One answer and three others in its place: more are theft to `balanced`.
        let losses = if world.prompt { 50 } else { 3 };
        world.budget = Budget {
            sends: [200, if world.thief { 200 } else { 0 }],
            losses,
            copies: 50,
            steps: 200,
            // Further back than the window, an honest client has to sign in again.
            back: if world.thief { 5 } else { 2 },
            ends: u8::from(splits),
        };
        world.splits = splits;
        walk(&world, &choices)?;
    }
}
