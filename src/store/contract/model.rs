//! Random walks, compared with the pure state machine.

use std::time::Duration;

use super::{Fixture, SECOND, new_session, peek, session_of, start};
use crate::{
    event::RefreshOutcome,
    revocation::RETENTION,
    server::refresh::{
        RefreshPolicy,
        machine::{apply, confirm, decide},
    },
    store::port::{RevokeReason, SessionRecord, SessionStore},
};

/// After every step of a random walk, the whole session equals the result of [`decide`], [`apply`]
/// and [`confirm`].
pub async fn every_step_is_as_decided(fixture: &impl Fixture) {
    for seed in 1..=WALKS {
        walk(fixture, seed).await;
    }
}

async fn walk(fixture: &impl Fixture, seed: u64) {
    let store = fixture.store();
    let mut random = Random(seed);
    let mut model = start(&store, short_session()).await;
    let mut now = model.created_at;
    for step in 0..STEPS {
        let place = format!("seed {seed}, step {step}");
        if model.family.revoked && random.one_in(3) {
            model = start(&store, short_session()).await;
        }
        match random.below(20) {
            0..=10 => rotate(&store, &mut model, &mut random, &place).await,
            11..=14 => {
                let by = random.age();
                let family = &model.family;
                let end = family.ends_at();
                if end.minus(by).plus(FORGOTTEN) < now {
                    model = start(&store, short_session()).await;
                } else {
                    fixture.age(model.id, by).await;
                    age(&mut model, by);
                }
            }
            15 if random.one_in(3) => {
                let by = random.age();
                fixture.set_back(model.id, by).await;
                set_back(&mut model, by);
            }
            15..=17 if !model.family.revoked => {
                let generation = random.generation(&model);
                store.confirm(model.id, generation).await.expect("confirm");
                model.family = confirm(&model.family, generation);
            }
            18 if random.one_in(4) => {
                store
                    .revoke(model.id, RevokeReason::Administrative)
                    .await
                    .expect("revoke");
                model.revoked.get_or_insert(RevokeReason::Administrative);
                model.family.revoked = true;
            }
            _ => {}
        }
        let found = peek(&store, model.id).await;
        assert_eq!(
            found.session, model,
            "the session is not as decided ({place})"
        );
        now = found.now;
    }
}

async fn rotate(
    store: &impl SessionStore,
    model: &mut SessionRecord,
    random: &mut Random,
    place: &str,
) {
    let presented = random.generation(model);
    let policy = random.policy();
    let rotation = super::rotate(store, model.id, presented, policy).await;
    let expected = decide(&model.family, presented, &policy, rotation.decided_at);
    let end = model.family.ends_at();
    // A session that ends between the decision and the write was ended by time, not by the reuse.
    let ended_first = matches!(expected, RefreshOutcome::Reused(_))
        && rotation.outcome == RefreshOutcome::Revoked
        && rotation.decided_at.plus(SLACK) > end;
    assert!(
        rotation.outcome == expected || ended_first,
        "{presented} was presented to {model:?} under {policy:?} at {:?}: {:?}, not {expected:?} ({place})",
        rotation.decided_at,
        rotation.outcome
    );
    let was_revoked = model.family.revoked;
    model.family = apply(&model.family, presented, expected, rotation.now);
    if model.family.revoked && !was_revoked {
        model.revoked = Some(RevokeReason::Reuse);
    }
    assert_eq!(
        rotation.session, *model,
        "{presented} was {expected:?} and did not change the session so ({place})"
    );
}

/// The decision is right just inside and just outside of every window.
pub async fn the_windows_have_their_edges(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let balanced = RefreshPolicy::balanced();
    let grace = browser.grace_window();
    let late = balanced.late_parent_window();
    for (policy, presented, age, expected) in [
        (browser, 1, grace - SLACK, "fresh"),
        (browser, 1, grace + SECOND, "rotated"),
        (browser, 0, grace - SLACK, "retried"),
        (browser, 0, grace + SECOND, "late_parent"),
        (balanced, 0, grace - SLACK, "retried"),
        (balanced, 0, grace + SECOND, "reissued"),
        (balanced, 0, late - SLACK, "reissued"),
        (balanced, 0, late + SECOND, "late_parent"),
        (browser, 1, super::IDLE - SLACK, "rotated"),
        (browser, 1, super::IDLE, "idle"),
        (RefreshPolicy::strict(), 1, Duration::ZERO, "rotated"),
        (RefreshPolicy::strict(), 0, Duration::ZERO, "late_parent"),
    ] {
        let id = start(&store, new_session()).await.id;
        super::rotate(&store, id, 0, policy).await;
        fixture.age(id, age).await;
        let found = super::rotate(&store, id, presented, policy).await.outcome;
        assert_eq!(
            found.as_str(),
            expected,
            "{presented} was presented {age:?} after the rotation under {policy:?}"
        );
    }
}

/// A rotation while the clock was ahead does not extend the grace window by the distance.
pub async fn a_clock_that_was_ahead_opens_no_window(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let balanced = RefreshPolicy::balanced();
    let grace = browser.grace_window();
    let late = balanced.late_parent_window();
    for (policy, presented, ahead, expected) in [
        (browser, 1, grace - SECOND, "fresh"),
        (browser, 1, grace + SLACK, "rotated"),
        (browser, 0, grace - SECOND, "retried"),
        (browser, 0, grace + SLACK, "late_parent"),
        (browser, 0, Duration::from_secs(3600), "late_parent"),
        (balanced, 0, grace + SLACK, "reissued"),
        (balanced, 0, late + SLACK, "late_parent"),
        (RefreshPolicy::strict(), 0, SECOND, "late_parent"),
    ] {
        let id = start(&store, new_session()).await.id;
        super::rotate(&store, id, 0, policy).await;
        fixture.set_back(id, ahead).await;
        let found = super::rotate(&store, id, presented, policy).await.outcome;
        assert_eq!(
            found.as_str(),
            expected,
            "{presented} was presented when the clock had been {ahead:?} ahead under {policy:?}"
        );
    }
}

/// Subtracts from every time what [`Fixture::age`] subtracts in the row.
fn age(model: &mut SessionRecord, by: Duration) {
    model.created_at = model.created_at.minus(by);
    let family = &mut model.family;
    family.rotated_at = family.rotated_at.map(|at| at.minus(by));
    family.used_at = family.used_at.minus(by);
    family.expires_at = family.expires_at.minus(by);
}

/// Adds to every time what [`Fixture::set_back`] adds in the row.
fn set_back(model: &mut SessionRecord, by: Duration) {
    model.created_at = model.created_at.plus(by);
    let family = &mut model.family;
    family.rotated_at = family.rotated_at.map(|at| at.plus(by));
    family.used_at = family.used_at.plus(by);
    family.expires_at = family.expires_at.plus(by);
}

/// The number of steps: enough to reach every window and its end.
fn short_session() -> crate::store::port::NewSessionRecord {
    crate::store::port::NewSessionRecord {
        idle: Duration::from_secs(30 * 3600),
        lifetime: Duration::from_secs(10 * 24 * 3600),
        ..session_of(&super::new_name("walker"))
    }
}

/// SplitMix64: the same seed gives the same walk on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// Returns a generation: usually the live one or its parent, sometimes another one.
    fn generation(&mut self, model: &SessionRecord) -> u64 {
        let family = &model.family;
        match self.below(12) {
            0..=4 => family.generation,
            5..=8 => family.parent.unwrap_or(family.generation),
            9 => family.generation.saturating_sub(1),
            10 => family.generation + 1 + self.below(3),
            _ => self.below(family.generation + 1),
        }
    }

    fn policy(&mut self) -> RefreshPolicy {
        match self.below(8) {
            0 => RefreshPolicy::strict(),
            1..=3 => RefreshPolicy::browser(),
            4 => RefreshPolicy::browser()
                .grace(300 * SECOND)
                .expect("a grace window of five minutes"),
            _ => RefreshPolicy::balanced(),
        }
    }

    fn age(&mut self) -> Duration {
        let edge = match self.below(8) {
            0..=2 => 30 * SECOND,
            3 => 300 * SECOND,
            4 => Duration::from_secs(24 * 3600),
            5 => Duration::from_secs(30 * 3600),
            6 => RETENTION,
            _ => SECOND,
        };
        // Within 30 ms of the edge, the next step may fall on either side of it.
        edge - Duration::from_millis(30) + Duration::from_millis(self.below(60))
    }
}

/// A store may delete a session a day after its end. The test itself may take an hour.
const FORGOTTEN: Duration = Duration::from_secs(23 * 3600);
const WALKS: u64 = 3;
const STEPS: u32 = 300;
/// The maximum time between two calls on a slow machine.
const SLACK: Duration = Duration::from_secs(20);
