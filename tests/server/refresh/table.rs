//! Every line of the table of states, on its own.

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

const T: i64 = 1_000_000_000;

/// Generation 5, made by the use of 4 at `T`.
fn family() -> Family {
    let idle = Duration::from_secs(14 * 24 * 3600);
    let mut family = Family::new(at(0), idle, at(90 * 24 * 3_600_000));
    family.generation = 5;
    family.parent = Some(4);
    family.rotated_at = Some(at(0));
    family
}

/// [`family`] with a change.
fn changed(change: impl FnOnce(&mut Family)) -> Family {
    let mut family = family();
    change(&mut family);
    family
}

/// So many milliseconds later.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(T + millis)
}

const STRICT: RefreshPolicy = RefreshPolicy::strict();
const BROWSER: RefreshPolicy = RefreshPolicy::browser();
const BALANCED: RefreshPolicy = RefreshPolicy::balanced();
const BOUND: RefreshPolicy = RefreshPolicy::browser().of_bound_sessions();
const WINDOW: i64 = 30_000;
const LATE: i64 = 24 * 3_600_000;

#[test]
fn revoked_comes_before_everything() {
    let family = changed(|family| family.revoked = true);
    for presented in 0..8 {
        let outcome = decide(&family, presented, &BALANCED, at(0));
        assert_eq!(outcome, RefreshOutcome::Revoked);
        assert_eq!(apply(&family, presented, outcome, at(1)), family);
    }
}

#[test]
fn the_ends_are_exclusive() {
    let idle = 14 * 24 * 3_600_000;
    let outcome = |family: &Family, millis| decide(family, 5, &BROWSER, at(millis));
    assert_eq!(outcome(&family(), idle - 1), RefreshOutcome::Rotated);
    assert_eq!(outcome(&family(), idle), RefreshOutcome::Idle);
    let short = changed(|family| family.expires_at = at(60_000));
    assert_eq!(outcome(&short, 59_999), RefreshOutcome::Rotated);
    assert_eq!(outcome(&short, 60_000), RefreshOutcome::Expired);
}

#[test]
fn the_live_generation_rotates_outside_the_window() {
    for (policy, now, expected) in [
        (STRICT, 0, RefreshOutcome::Rotated),
        (BROWSER, 0, RefreshOutcome::Fresh),
        (BROWSER, WINDOW, RefreshOutcome::Fresh),
        (BROWSER, WINDOW + 1, RefreshOutcome::Rotated),
        (BALANCED, WINDOW + 1, RefreshOutcome::Rotated),
        // The clock was set back: the window is open, but it is no longer than a window.
        (BROWSER, -5_000, RefreshOutcome::Fresh),
        (BROWSER, -WINDOW, RefreshOutcome::Fresh),
        (BROWSER, -WINDOW - 1, RefreshOutcome::Rotated),
        (STRICT, -1, RefreshOutcome::Rotated),
    ] {
        assert_eq!(decide(&family(), 5, &policy, at(now)), expected);
    }
    let first = changed(|family| {
        family.generation = 0;
        family.parent = None;
        family.rotated_at = None;
    });
    assert_eq!(decide(&first, 0, &BROWSER, at(0)), RefreshOutcome::Rotated);
    let next = apply(&first, 0, RefreshOutcome::Rotated, at(7));
    assert_eq!((next.generation, next.parent), (1, Some(0)));
    assert_eq!((next.rotated_at, next.used_at), (Some(at(7)), at(7)));
    assert_eq!(next.expires_at, first.expires_at);
}

#[test]
fn a_newer_generation_than_known_rolls_forward() {
    for policy in [STRICT, BROWSER, BALANCED] {
        let outcome = decide(&family(), 9, &policy, at(0));
        assert_eq!(outcome, RefreshOutcome::Ahead);
        let next = apply(&family(), 9, outcome, at(1));
        assert_eq!((next.generation, next.parent), (10, Some(9)));
    }
}

#[test]
fn the_parent_is_answered_inside_the_window_and_changes_nothing() {
    for policy in [BROWSER, BALANCED] {
        for now in [0, WINDOW] {
            let outcome = decide(&family(), 4, &policy, at(now));
            assert_eq!(outcome, RefreshOutcome::Retried);
            assert_eq!(apply(&family(), 4, outcome, at(now)), family());
        }
    }
    let theft = RefreshOutcome::Reused(ReuseKind::LateParent);
    assert_eq!(decide(&family(), 4, &STRICT, at(0)), theft);
    assert_eq!(decide(&family(), 4, &BROWSER, at(WINDOW + 1)), theft);
}

#[test]
fn a_clock_that_was_an_hour_ahead_opens_no_window_of_an_hour() {
    let hour = 3_600_000;
    let theft = RefreshOutcome::Reused(ReuseKind::LateParent);
    for (policy, now, expected) in [
        (BROWSER, -WINDOW, RefreshOutcome::Retried),
        (BROWSER, -WINDOW - 1, theft),
        (BROWSER, -hour, theft),
        (BALANCED, -hour, RefreshOutcome::Reissued),
        (BALANCED, -LATE, RefreshOutcome::Reissued),
        (BALANCED, -LATE - 1, theft),
    ] {
        assert_eq!(decide(&family(), 4, &policy, at(now)), expected, "{now}");
    }
    // The next rotation is by the clock as it is.
    let next = apply(&family(), 5, RefreshOutcome::Rotated, at(-hour));
    assert_eq!(
        decide(&next, 5, &BROWSER, at(-hour)),
        RefreshOutcome::Retried
    );
}

#[test]
fn a_late_parent_is_reissued_while_nobody_used_its_child() {
    let outcome = |family: &Family, millis| decide(family, 4, &BALANCED, at(millis));
    let theft = RefreshOutcome::Reused(ReuseKind::LateParent);
    assert_eq!(outcome(&family(), WINDOW + 1), RefreshOutcome::Reissued);
    assert_eq!(outcome(&family(), LATE), RefreshOutcome::Reissued);
    assert_eq!(outcome(&family(), LATE + 1), theft);
    assert_eq!(outcome(&confirm(&family(), 5), WINDOW + 1), theft);
    // Of another generation it proves nothing.
    for other in [0, 4, 6] {
        assert_eq!(confirm(&family(), other), family());
    }
    let next = apply(&family(), 4, RefreshOutcome::Reissued, at(LATE));
    assert_eq!(
        (next.generation, next.parent, next.reissues),
        (6, Some(4), 1)
    );
    assert_eq!(next.rotated_at, Some(at(LATE)));
    let often = changed(|family| family.reissues = 3);
    assert_eq!(outcome(&often, WINDOW + 1), theft);
    // A rotation does not wipe the count: only a proof of receipt does.
    assert_eq!(
        apply(&often, 5, RefreshOutcome::Rotated, at(LATE)).reissues,
        3
    );
    assert_eq!(confirm(&often, 5).reissues, 0);
}

#[test]
fn whatever_else_is_spent_is_theft_at_any_time() {
    let reissued = apply(&family(), 4, RefreshOutcome::Reissued, at(WINDOW + 1));
    for policy in [STRICT, BROWSER, BALANCED] {
        for now in [0, WINDOW + 1, LATE] {
            let outcome = decide(&family(), 3, &policy, at(now));
            assert_eq!(outcome, RefreshOutcome::Reused(ReuseKind::StaleLineage));
            let mut ended = apply(&family(), 3, outcome, at(now));
            assert!(ended.revoked);
            ended.revoked = false;
            assert_eq!(ended, family());
            let outcome = decide(&reissued, 5, &policy, at(now));
            assert_eq!(outcome, RefreshOutcome::Reused(ReuseKind::DisplacedChild));
        }
    }
}

#[test]
fn an_outcome_writes_exactly_where_it_changes_something() {
    for outcome in [
        RefreshOutcome::Fresh,
        RefreshOutcome::Rotated,
        RefreshOutcome::Ahead,
        RefreshOutcome::Retried,
        RefreshOutcome::Reissued,
        RefreshOutcome::Revoked,
        RefreshOutcome::Expired,
        RefreshOutcome::Idle,
        RefreshOutcome::Reused(ReuseKind::LateParent),
    ] {
        let changed = apply(&family(), 5, outcome, at(1)) != family();
        assert_eq!(changed, outcome.writes(), "{outcome:?}");
    }
}

#[test]
fn g41_a_bound_session_forgives_a_late_parent_whatever_the_policy() {
    for policy in [STRICT, BROWSER, BALANCED] {
        let policy = policy.of_bound_sessions();
        assert!(!policy.needs_confirmations());
        assert_eq!(policy.grace_window(), Duration::from_secs(30));
        let late = |family: &Family| decide(family, 4, &policy, at(LATE));
        for family in [
            family(),
            changed(|family| family.confirmed = Some(5)),
            changed(|family| family.reissues = 1_000),
        ] {
            assert_eq!(late(&family), RefreshOutcome::Reissued);
        }
        let outcome = decide(&family(), 4, &policy, at(LATE + 1));
        assert_eq!(outcome, RefreshOutcome::Reused(ReuseKind::LateParent));
        let stale = decide(&family(), 3, &policy, at(0));
        assert_eq!(stale, RefreshOutcome::Reused(ReuseKind::StaleLineage));
    }
    let short = BROWSER.grace(Duration::from_secs(2)).unwrap();
    assert_eq!(
        short.of_bound_sessions().grace_window(),
        short.grace_window()
    );
    assert_eq!(decide(&family(), 5, &BOUND, at(0)), RefreshOutcome::Fresh);
    assert_eq!(
        decide(&family(), 5, &BOUND, at(WINDOW + 1)),
        RefreshOutcome::Rotated
    );
}
