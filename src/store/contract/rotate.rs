//! The rows of the table of refreshes, one by one.

use std::time::Duration;

use super::{Fixture, IDLE, LIFETIME, SECOND, new_session, outcome, peek, rotate, start};
use crate::{
    server::refresh::{RefreshOutcome, RefreshPolicy, ReuseKind},
    store::port::{NewSessionRecord, RevokeReason, SessionStore},
};

/// The answer that got lost is given again, for the spent token and for its successor.
pub async fn t2_a_lost_answer_is_given_again(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let id = start(&store, new_session()).await.id;
    assert_eq!(
        outcome(&store, id, 0, browser).await,
        (RefreshOutcome::Rotated, 1)
    );
    for _ in 0..3 {
        assert_eq!(
            outcome(&store, id, 0, browser).await,
            (RefreshOutcome::Retried, 1)
        );
        assert_eq!(
            outcome(&store, id, 1, browser).await,
            (RefreshOutcome::Fresh, 1)
        );
    }
}

/// A grandparent ends the session, also inside the window.
pub async fn t3_an_ancestor_ends_the_session(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, browser).await;
    fixture.age(id, 31 * SECOND).await;
    assert_eq!(
        outcome(&store, id, 1, browser).await,
        (RefreshOutcome::Rotated, 2)
    );
    let reused = RefreshOutcome::Reused(ReuseKind::StaleLineage);
    assert_eq!(outcome(&store, id, 0, browser).await, (reused, 2));
    is_over(&store, id).await;
}

/// A parent that comes later than the policy forgives ends the session.
pub async fn t3_a_late_parent_ends_the_session(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, browser).await;
    fixture.age(id, 31 * SECOND).await;
    let reused = RefreshOutcome::Reused(ReuseKind::LateParent);
    assert_eq!(outcome(&store, id, 0, browser).await, (reused, 1));
    is_over(&store, id).await;
}

/// A child that a reissue displaced ends the session.
pub async fn t4_a_displaced_child_ends_the_session(fixture: &impl Fixture) {
    let store = fixture.store();
    let balanced = RefreshPolicy::balanced();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, balanced).await;
    fixture.age(id, 31 * SECOND).await;
    let reissued = outcome(&store, id, 0, balanced).await;
    assert_eq!(reissued, (RefreshOutcome::Reissued, 2));
    let reused = RefreshOutcome::Reused(ReuseKind::DisplacedChild);
    assert_eq!(outcome(&store, id, 1, balanced).await, (reused, 2));
    is_over(&store, id).await;
}

async fn is_over(store: &impl SessionStore, id: crate::principal::SessionId) {
    let session = peek(store, id).await.session;
    assert!(session.family.revoked, "a reuse must end the session");
    assert_eq!(session.revoked, Some(RevokeReason::ReuseKind));
    let generation = session.family.generation;
    for presented in 0..=generation + 1 {
        let after = outcome(store, id, presented, RefreshPolicy::balanced()).await;
        assert_eq!(after, (RefreshOutcome::Revoked, generation));
    }
}

/// Three times in a row, and again once a generation was confirmed; a rotation alone is no proof.
pub async fn a_late_parent_is_forgiven_three_times(fixture: &impl Fixture) {
    let store = fixture.store();
    let balanced = RefreshPolicy::balanced();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, balanced).await;
    for generation in 2..=3 {
        fixture.age(id, 31 * SECOND).await;
        let reissued = outcome(&store, id, 0, balanced).await;
        assert_eq!(reissued, (RefreshOutcome::Reissued, generation));
    }
    fixture.age(id, 31 * SECOND).await;
    assert_eq!(
        outcome(&store, id, 3, balanced).await,
        (RefreshOutcome::Rotated, 4)
    );
    fixture.age(id, 31 * SECOND).await;
    let third = outcome(&store, id, 3, balanced).await;
    assert_eq!(third, (RefreshOutcome::Reissued, 5));
    assert_eq!(peek(&store, id).await.session.family.reissues, 3);

    store.confirm(id, 5).await.expect("confirm");
    assert_eq!(peek(&store, id).await.session.family.reissues, 0);
    fixture.age(id, 31 * SECOND).await;
    assert_eq!(
        outcome(&store, id, 5, balanced).await,
        (RefreshOutcome::Rotated, 6)
    );
    for generation in 7..=9 {
        fixture.age(id, 31 * SECOND).await;
        let reissued = outcome(&store, id, 5, balanced).await;
        assert_eq!(reissued, (RefreshOutcome::Reissued, generation));
    }
    fixture.age(id, 31 * SECOND).await;
    let reused = RefreshOutcome::Reused(ReuseKind::LateParent);
    assert_eq!(outcome(&store, id, 5, balanced).await, (reused, 9));
}

/// Whoever presents the parent of a child that arrived has stolen it.
pub async fn a_confirmed_child_makes_a_late_parent_theft(fixture: &impl Fixture) {
    let store = fixture.store();
    let balanced = RefreshPolicy::balanced();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, balanced).await;
    store.confirm(id, 1).await.expect("confirm");
    store.confirm(id, 1).await.expect("confirm twice");
    fixture.age(id, 31 * SECOND).await;
    let reused = RefreshOutcome::Reused(ReuseKind::LateParent);
    assert_eq!(outcome(&store, id, 0, balanced).await, (reused, 1));
}

/// A confirmation of another generation than the live one changes nothing.
pub async fn only_the_live_generation_is_confirmed(fixture: &impl Fixture) {
    let store = fixture.store();
    let balanced = RefreshPolicy::balanced();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, balanced).await;
    for other in [0, 2, 1 << 40] {
        store.confirm(id, other).await.expect("confirm");
    }
    let family = peek(&store, id).await.session.family;
    assert_eq!(family.confirmed, None, "only generation 1 was live");
    store.confirm(id, 1).await.expect("confirm");
    let family = peek(&store, id).await.session.family;
    assert_eq!(family.confirmed, Some(1));
}

/// However often a session is used, its end stays.
pub async fn t6_the_end_never_moves(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let session = NewSessionRecord {
        lifetime: 4 * IDLE,
        ..new_session()
    };
    let started = start(&store, session).await;
    let (id, end) = (started.id, started.family.expires_at);
    assert_eq!(end, started.created_at.plus(4 * IDLE));
    let step = IDLE - Duration::from_secs(3600);
    for generation in 0..4 {
        let rotation = rotate(&store, id, generation, browser).await;
        assert_eq!(rotation.outcome, RefreshOutcome::Rotated);
        let aged = step * u32::try_from(generation).unwrap_or_default();
        assert_eq!(rotation.session.family.expires_at, end.minus(aged));
        fixture.age(id, step).await;
    }
    fixture.age(id, Duration::from_secs(4 * 3600)).await;
    assert_eq!(
        outcome(&store, id, 4, browser).await,
        (RefreshOutcome::Expired, 4)
    );
}

/// A session that was not used for too long ends, and retries are no use.
pub async fn t6_an_unused_session_ends(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, browser).await;
    let used_at = peek(&store, id).await.session.family.used_at;
    let retried = rotate(&store, id, 0, browser).await;
    assert_eq!(retried.session.family.used_at, used_at);
    fixture.age(id, IDLE).await;
    for presented in 0..3 {
        let after = outcome(&store, id, presented, browser).await;
        assert_eq!(after, (RefreshOutcome::Idle, 1));
    }
    let family = peek(&store, id).await.session.family;
    assert!(!family.revoked, "an end by itself is no theft");
    assert!(LIFETIME > IDLE);
}

/// A generation that the store never heard of was issued by it before it lost a write.
pub async fn t13_a_lost_rotation_is_rolled_forward(fixture: &impl Fixture) {
    let store = fixture.store();
    let browser = RefreshPolicy::browser();
    let id = start(&store, new_session()).await.id;
    assert_eq!(
        outcome(&store, id, 7, browser).await,
        (RefreshOutcome::Ahead, 8)
    );
    assert_eq!(
        outcome(&store, id, 7, browser).await,
        (RefreshOutcome::Retried, 8)
    );
    assert_eq!(
        outcome(&store, id, 8, browser).await,
        (RefreshOutcome::Fresh, 8)
    );
    let far = 1 << 52;
    assert_eq!(
        outcome(&store, id, far, browser).await,
        (RefreshOutcome::Ahead, far + 1)
    );
    let reused = RefreshOutcome::Reused(ReuseKind::StaleLineage);
    assert_eq!(outcome(&store, id, 8, browser).await, (reused, far + 1));
}
