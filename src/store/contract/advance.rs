//! Compare and set.

use std::time::Duration;

use super::{
    Fixture, Handles, IDLE, LIFETIME, SECOND, new_name, new_session, peek, rotate, session_of,
    start, users::new_user,
};
use crate::{
    event::RefreshOutcome,
    principal::{PrincipalKind, SessionId},
    server::refresh::RefreshPolicy,
    store::port::{
        Family, NewSessionRecord, RevokeReason, SessionStore, UserAdmin, UserStanding, UserStore,
    },
};

/// If the session is still as it was loaded, `advance` sets the state and the store's time, and
/// nothing else.
pub async fn advance_sets_what_it_is_given(fixture: &impl Fixture) {
    let store = fixture.store();
    let id = start(&store, new_session()).await.id;
    fixture.age(id, 60 * SECOND).await;
    let before = peek(&store, id).await.session;
    let mut to = next(&before.family);
    to.reissues = 2;
    // A store ignores these values.
    to.confirmed = Some(9);
    to.idle = SECOND;
    to.expires_at = before.created_at;
    let advanced = store.advance(id, &before.family, &to).await;
    let advanced = advanced.expect("advance").expect("nothing has changed");
    let mut expected = before.clone();
    let family = &mut expected.family;
    family.generation = to.generation;
    family.parent = to.parent;
    family.reissues = 2;
    family.rotated_at = Some(advanced.now);
    family.used_at = advanced.now;
    assert_eq!(advanced.session, expected);
    let after = peek(&store, id).await;
    assert_eq!(after.session, expected);
    assert!(after.now >= advanced.now && advanced.now > before.family.used_at);
}

/// If the generation, the number of reissues or the confirmation differ, nothing is changed.
pub async fn advance_compares_what_was_loaded(fixture: &impl Fixture) {
    let store = fixture.store();
    let id = start(&store, new_session()).await.id;
    rotate(&store, id, 0, RefreshPolicy::browser()).await;
    store.confirm(id, 1).await.expect("confirm");
    let loaded = peek(&store, id).await.session;
    let changes: [fn(&mut Family); 5] = [
        |family| family.generation = 0,
        |family| family.generation = 2,
        |family| family.reissues = 1,
        |family| family.confirmed = None,
        |family| family.confirmed = Some(0),
    ];
    for change in changes {
        let mut from = loaded.family.clone();
        change(&mut from);
        assert!(!advances(&store, id, &from).await, "{from:?}");
        assert_eq!(peek(&store, id).await.session, loaded);
    }
    assert!(advances(&store, id, &loaded.family).await);
    assert!(
        !advances(&store, id, &loaded.family).await,
        "it has changed"
    );
}

/// A session that is revoked, expired or idle, or whose subject's epoch was raised, cannot be
/// advanced.
pub async fn t10_what_has_ended_is_not_advanced(fixture: &impl Fixture) {
    let store = fixture.store();
    for how in 0..4 {
        let session = NewSessionRecord {
            idle: if how == 1 { LIFETIME } else { IDLE },
            ..new_session()
        };
        let session = start(&store, session).await;
        let id = session.id;
        match how {
            0 => {
                let reason = RevokeReason::Logout;
                assert!(store.revoke(id, reason).await.expect("revoke"));
            }
            1 => fixture.age(id, LIFETIME).await,
            2 => fixture.age(id, IDLE).await,
            _ => {
                let reason = RevokeReason::Administrative;
                let epoch = store.revoke_all(&session.subject, reason).await;
                assert_eq!(epoch.expect("revoke_all"), 1);
            }
        }
        let loaded = peek(&store, id).await.session;
        assert_eq!(loaded.family.revoked, how == 0 || how == 3, "{how}");
        assert!(!advances(&store, id, &loaded.family).await, "{how}");
        let live = store.advance_live(id, 0, Duration::ZERO, None).await;
        assert_eq!(live.expect("advance_live"), None, "{how}");
        assert_eq!(peek(&store, id).await.session, loaded, "{how}");
    }
}

/// `advance_live`, if implemented, does what a rotation does. If the presented generation is not the
/// live one, or the key is another, it changes nothing.
pub async fn t16_the_live_generation_advances_in_one_round_trip(fixture: &impl Fixture) {
    let store = fixture.store();
    let grace = RefreshPolicy::browser().grace_window();
    let key = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    for bound in [None, Some(key)] {
        let session = NewSessionRecord {
            bound_key: bound.map(str::to_owned),
            ..new_session()
        };
        let id = start(&store, session).await.id;
        let other = if bound.is_none() { Some(key) } else { None };
        for (live, bound_key) in [(1, bound), (7, bound), (0, other), (0, Some("other"))] {
            let before = peek(&store, id).await.session;
            let nothing = store.advance_live(id, live, grace, bound_key).await;
            assert_eq!(nothing.expect("advance_live"), None, "{live} {bound_key:?}");
            assert_eq!(peek(&store, id).await.session, before);
        }
        let before = peek(&store, id).await.session;
        assert_eq!(before.bound_key.as_deref(), bound);
        let advanced = store.advance_live(id, 0, grace, bound).await;
        let Some(advanced) = advanced.expect("advance_live") else {
            return;
        };
        let mut expected = before;
        expected.family = next(&expected.family);
        expected.family.rotated_at = Some(advanced.now);
        expected.family.used_at = advanced.now;
        assert_eq!(advanced.session, expected);
        assert_eq!(peek(&store, id).await.session, expected);
        // Inside the grace window nothing is changed: the state machine decides.
        let again = store.advance_live(id, 1, grace, bound).await;
        assert_eq!(again.expect("advance_live"), None);
        let strict = store.advance_live(id, 1, Duration::ZERO, bound).await;
        assert!(strict.expect("advance_live").is_some());
    }
}

/// `advance_live_with_user`, if implemented, does what `advance_live` does for a session whose subject may
/// sign in, and returns the current roles. It changes nothing of a user who is disabled or unknown.
/// Guests and services need not be users.
pub async fn t16_the_live_generation_advances_if_its_user_may_sign_in<F>(fixture: &F)
where
    F: Handles<Store: SessionStore + UserStore + UserAdmin>,
{
    let store = fixture.store();
    if SessionStore::users(&store).is_none() {
        return;
    }
    let roles = ["a \"b\", c", "", "é"];
    let user = new_user().roles(roles);
    let expected = user.roles.clone();
    let subject = user.subject.clone();
    assert!(UserStore::create(&store, user).await.expect("create"));
    let id = start(&store, session_of(&subject)).await.id;
    let before = peek(&store, id).await.session;
    let advance = async |id, live, grace, bound_key| {
        let advanced = store.advance_live_with_user(id, live, grace, bound_key);
        advanced.await.expect("advance_live_with_user")
    };
    let grace = RefreshPolicy::browser().grace_window();
    for (live, bound_key) in [(1, None), (7, None), (0, Some("a key"))] {
        assert_eq!(advance(id, live, grace, bound_key).await, None);
        assert_eq!(peek(&store, id).await.session, before);
    }
    let Some((advanced, standing)) = advance(id, 0, grace, None).await else {
        // Not implemented: the session is loaded first.
        return;
    };
    assert_eq!(standing, Some(UserStanding::new(expected, false)));
    let mut session = before;
    session.family = next(&session.family);
    session.family.rotated_at = Some(advanced.now);
    session.family.used_at = advanced.now;
    assert_eq!(advanced.session, session);
    assert_eq!(peek(&store, id).await.session, session);
    assert_eq!(advance(id, 1, grace, None).await, None, "in the window");

    let changed = vec!["admin".to_owned()];
    assert!(
        store
            .set_roles(&subject, &changed)
            .await
            .expect("set_roles")
    );
    let advanced = advance(id, 1, Duration::ZERO, None).await;
    let (_, standing) = advanced.expect("a user who may sign in");
    assert_eq!(standing, Some(UserStanding::new(changed, false)));

    let disabled = async |disabled| {
        let done = store.set_disabled(&subject, disabled).await;
        assert!(done.expect("set_disabled"));
    };
    disabled(true).await;
    let before = peek(&store, id).await.session;
    assert_eq!(advance(id, 2, Duration::ZERO, None).await, None);
    assert_eq!(peek(&store, id).await.session, before);
    disabled(false).await;
    assert!(advance(id, 2, Duration::ZERO, None).await.is_some());
    let ended = store.revoke(id, RevokeReason::Logout).await;
    assert!(ended.expect("revoke"));
    assert_eq!(advance(id, 3, Duration::ZERO, None).await, None);

    for kind in [
        PrincipalKind::User,
        PrincipalKind::Guest,
        PrincipalKind::Service,
    ] {
        let session = NewSessionRecord {
            kind,
            ..session_of(&new_name("unknown"))
        };
        let id = start(&store, session).await.id;
        let advanced = advance(id, 0, grace, None).await;
        assert_eq!(advanced.is_some(), kind != PrincipalKind::User, "{kind:?}");
        let generation = peek(&store, id).await.session.family.generation;
        assert_eq!(generation, u64::from(advanced.is_some()));
    }
    let unknown = SessionId::from_bytes(crate::secret::random());
    assert_eq!(advance(unknown, 0, grace, None).await, None);
}

/// The end of a session does not move, however often the session is used.
pub async fn t6_the_end_never_moves(fixture: &impl Fixture) {
    let store = fixture.store();
    let session = NewSessionRecord {
        lifetime: 4 * IDLE,
        ..new_session()
    };
    let started = start(&store, session).await;
    let (id, end) = (started.id, started.family.expires_at);
    assert_eq!(end, started.created_at.plus(4 * IDLE));
    let step = IDLE - Duration::from_secs(3600);
    for generation in 0..4 {
        let rotation = rotate(&store, id, generation, RefreshPolicy::browser()).await;
        assert_eq!(rotation.outcome, RefreshOutcome::Rotated);
        let aged = step * u32::try_from(generation).unwrap_or_default();
        assert_eq!(rotation.session.family.expires_at, end.minus(aged));
        // The session is listed until its end.
        let listed = store.list(&started.subject, 100).await.expect("list");
        assert_eq!(listed.len(), 1);
        fixture.age(id, step).await;
    }
    fixture.age(id, Duration::from_secs(4 * 3600)).await;
    let rotation = rotate(&store, id, 4, RefreshPolicy::browser()).await;
    assert_eq!(rotation.outcome, RefreshOutcome::Expired);
    assert_eq!(store.list(&started.subject, 100).await.expect("list"), []);
}

/// A confirmation of the live generation resets the reissues. A confirmation of another generation
/// changes nothing.
pub async fn only_the_live_generation_is_confirmed(fixture: &impl Fixture) {
    let store = fixture.store();
    let id = start(&store, session_of("confirmed")).await.id;
    let from = peek(&store, id).await.session.family;
    let mut to = next(&from);
    to.reissues = 3;
    let advanced = store.advance(id, &from, &to).await.expect("advance");
    assert!(advanced.is_some());
    for other in [0, 2, 1 << 40] {
        store.confirm(id, other).await.expect("confirm");
    }
    let family = peek(&store, id).await.session.family;
    assert_eq!((family.confirmed, family.reissues), (None, 3));
    for _ in 0..2 {
        store.confirm(id, 1).await.expect("confirm");
        let family = peek(&store, id).await.session.family;
        assert_eq!((family.confirmed, family.reissues), (Some(1), 0));
    }
}

/// Returns the state after a rotation.
fn next(family: &Family) -> Family {
    let mut next = family.clone();
    next.parent = Some(family.generation);
    next.generation += 1;
    next
}

async fn advances(store: &impl SessionStore, id: SessionId, from: &Family) -> bool {
    let advanced = store.advance(id, from, &next(from)).await;
    advanced.expect("advance").is_some()
}
