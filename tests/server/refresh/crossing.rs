//! The one history of an honest client that no policy with a window forgives.

use std::time::Duration;

use tower_jwt_auth::{
    event::{RefreshOutcome, ReuseKind},
    server::refresh::{
        RefreshPolicy,
        machine::{apply, confirm, decide},
    },
    store::port::Family,
    time::Timestamp,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + 1000 * seconds)
}

fn present(
    family: &mut Family,
    generation: u64,
    policy: &RefreshPolicy,
    second: i64,
) -> RefreshOutcome {
    let outcome = decide(family, generation, policy, at(second));
    *family = apply(family, generation, outcome, at(second));
    outcome
}

/// Generation 0, first used in second 0; that answer is lost. In second 25 two tabs repeat the request,
/// and one of the two answers arrives.
fn one_of_two_repetitions_arrived(policy: &RefreshPolicy) -> Family {
    let idle = Duration::from_secs(14 * 24 * 3600);
    let mut family = Family::new(at(0), idle, at(90 * 24 * 3600));
    assert_eq!(present(&mut family, 0, policy, 0), RefreshOutcome::Rotated);
    assert_eq!(present(&mut family, 0, policy, 25), RefreshOutcome::Retried);
    family
}

/// The other repetition takes six seconds, and the window closes meanwhile.
///
/// To the server it is what a thief sends who copied generation 0: a spent token, whose successor
/// was used by somebody. What answered the one would answer the other, with the live token. So the
/// client has to keep away from the end of the window, as the manual says.
#[test]
fn a_repetition_that_is_under_way_when_its_window_closes_is_theft() {
    for policy in [RefreshPolicy::browser(), RefreshPolicy::balanced()] {
        let family = one_of_two_repetitions_arrived(&policy);
        // The successor was used by its access token …
        let mut used = confirm(&family, 1);
        let late = RefreshOutcome::Reused(ReuseKind::LateParent);
        assert_eq!(present(&mut used, 0, &policy, 31), late);
        // … or for the next refresh.
        let mut refreshed = family;
        assert_eq!(
            present(&mut refreshed, 1, &policy, 31),
            RefreshOutcome::Rotated
        );
        let stale = RefreshOutcome::Reused(ReuseKind::StaleLineage);
        assert_eq!(present(&mut refreshed, 0, &policy, 31), stale);
    }
}

/// Before the end and after it all is well.
#[test]
fn a_repetition_that_arrives_on_one_side_of_the_end_is_answered() {
    for policy in [RefreshPolicy::browser(), RefreshPolicy::balanced()] {
        let mut family = confirm(&one_of_two_repetitions_arrived(&policy), 1);
        assert_eq!(
            present(&mut family, 0, &policy, 30),
            RefreshOutcome::Retried
        );
    }
    let policy = RefreshPolicy::balanced();
    let mut family = one_of_two_repetitions_arrived(&policy);
    // Nobody got the answer of second 25 either. Both tabs come back later.
    assert_eq!(
        present(&mut family, 0, &policy, 3600),
        RefreshOutcome::Reissued
    );
    family = confirm(&family, 2);
    assert_eq!(
        present(&mut family, 0, &policy, 3620),
        RefreshOutcome::Retried
    );
}
