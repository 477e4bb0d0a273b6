//! Creation, end, listing and deletion of sessions.

use std::time::Duration;

use super::{Fixture, IDLE, LIFETIME, SECOND, new_id, new_name, new_session, outcome, peek};
use super::{rotate, session_of, start};
use crate::{
    error::StoreErrorKind,
    event::RefreshOutcome,
    principal::{PrincipalKind, SessionId},
    server::refresh::{RefreshPolicy, machine},
    store::port::{CreateOutcome, NewSessionRecord, RevokeReason, SessionStore},
};

/// A session is not replaced by another one with the same id.
pub async fn starting_never_overwrites(fixture: &impl Fixture) {
    let store = fixture.store();
    let session = new_session();
    start(&store, session.clone()).await;
    rotate(&store, session.id, 0, RefreshPolicy::browser()).await;
    let before = peek(&store, session.id).await.session;
    let thief = NewSessionRecord {
        id: session.id,
        ..new_session()
    };
    let thief_subject = thief.subject.clone();
    assert_eq!(
        store.create(thief).await.expect("create"),
        CreateOutcome::Exists
    );
    assert_eq!(
        store.create(session).await.expect("create"),
        CreateOutcome::Exists
    );
    assert_eq!(peek(&store, before.id).await.session, before);
    let listed = store.list(&thief_subject, 100).await.expect("list");
    assert!(listed.is_empty(), "the session keeps its subject");
}

/// Of concurrent calls that create a session with one id, exactly one succeeds.
pub async fn one_of_many_starts_succeeds(fixture: &impl Fixture) {
    let id = new_id();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = fixture.store();
        let session = NewSessionRecord {
            id,
            ..new_session()
        };
        tasks.spawn(async move { store.create(session).await.expect("create") });
    }
    let mut created = 0;
    while let Some(creation) = tasks.join_next().await {
        match creation.expect("the store does not panic") {
            CreateOutcome::Created(_) => created += 1,
            other => assert_eq!(other, CreateOutcome::Exists),
        }
    }
    assert_eq!(created, 1, "exactly one creates the session");
}

/// A session that does not exist is `None`, not an error.
pub async fn what_is_unknown_is_none(fixture: &impl Fixture) {
    let store = fixture.store();
    let (id, subject) = (new_id(), new_name("unknown"));
    let (browser, logout) = (RefreshPolicy::browser(), RevokeReason::Logout);
    assert_eq!(store.load(id).await.expect("load"), None);
    assert_eq!(
        machine::rotate(&store, id, 0, browser)
            .await
            .expect("rotate"),
        None
    );
    store.confirm(id, 0).await.expect("confirm");
    assert!(!store.revoke(id, logout).await.expect("revoke"));
    let others = store.revoke_others(&subject, id, logout).await;
    assert_eq!(others.expect("revoke_others"), []);
    assert_eq!(store.epoch(&subject).await.expect("epoch"), 0);
    assert_eq!(store.list(&subject, 100).await.expect("list"), []);
    assert_eq!(store.load(id).await.expect("load"), None);
}

/// Subjects and details are returned byte by byte. A subject with a NUL is stored or refused as
/// [`Invalid`](StoreErrorKind::Invalid), because some databases cannot store it.
pub async fn all_text_is_kept(fixture: &impl Fixture) {
    let store = fixture.store();
    let tail = new_name("");
    let long = "s".repeat(255 - tail.len());
    let long_details = format!("{{\"ua\": \"{}\"}}", "é\\\"".repeat(20_000));
    let kinds = [
        PrincipalKind::User,
        PrincipalKind::Guest,
        PrincipalKind::Service,
    ];
    let mut kinds = kinds.iter().cycle();
    for (subject, details) in [
        ("", "{}"),
        (" leading and trailing ", "{ }"),
        (
            "O'Reilly\"; DROP TABLE auth_session; --",
            r#"{"a":1,"a":2}"#,
        ),
        ("%_*?[]{}:/\\", "{\"b\":1,\n \"a\":[]}"),
        ("{auth}:s:*", r#"{"n":1.0e+2,"big":12345678901234567890}"#),
        ("Zoë 👩‍👩‍👧 \u{202e}\u{7f}\r\n\t", "{\"é\":\"\\u00e9\"}"),
        (long.as_str(), long_details.as_str()),
    ] {
        let session = NewSessionRecord {
            kind: *kinds.next().unwrap_or(&PrincipalKind::User),
            details: details.to_owned(),
            ..session_of(&format!("{subject}{tail}"))
        };
        let started = start(&store, session.clone()).await;
        assert_eq!(started.id, session.id);
        assert_eq!(started.subject, session.subject);
        assert_eq!(started.kind, session.kind);
        assert_eq!(started.details, session.details);
        assert_eq!(peek(&store, session.id).await.session, started);
        let listed = store.list(&session.subject, 100).await.expect("list");
        assert_eq!(listed, [started]);
    }
    for other in [tail.to_uppercase(), tail.clone() + " "] {
        let listed = store.list(&other, 100).await.expect("list");
        assert_eq!(listed, [], "subjects are compared byte by byte");
    }
    let nul = session_of(&format!("a\0b{tail}"));
    match store.create(nul.clone()).await {
        Ok(CreateOutcome::Created(record)) => assert_eq!(record.subject, nul.subject),
        Ok(other) => panic!("a subject with a NUL returned {other:?}"),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Invalid),
    }
}

/// A list contains the live sessions, the most recently used first, and no more than its limit.
pub async fn lists_hold_what_is_alive(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let mut ids = Vec::new();
    for hours in 1..=6 {
        let id = start(&store, session_of(&subject)).await.id;
        fixture.age(id, Duration::from_secs(3600 * hours)).await;
        ids.push(id);
    }
    start(&store, new_session()).await;
    rotate(&store, ids[3], 0, RefreshPolicy::browser()).await;
    store
        .revoke(ids[1], RevokeReason::Logout)
        .await
        .expect("revoke");
    fixture.age(ids[2], IDLE).await;
    fixture.age(ids[4], LIFETIME).await;
    let listed = store.list(&subject, 100).await.expect("list");
    let found: Vec<SessionId> = listed.iter().map(|session| session.id).collect();
    assert_eq!(found, [ids[3], ids[0], ids[5]]);
    assert_eq!(listed[0], peek(&store, ids[3]).await.session);

    for _ in 0..101 {
        start(&store, session_of(&subject)).await;
    }
    let listed = store.list(&subject, 100).await.expect("list");
    assert_eq!(listed.len(), 100);
    assert!(listed.iter().all(|session| session.id != ids[5]));
    let all = store.list(&subject, 1000).await.expect("list");
    assert_eq!(all.len(), 104);
    assert_eq!(all[..100], listed);
    // The refreshed session is as new as those after it.
    assert!(all.iter().any(|session| session.id == ids[3]));
    let last: Vec<SessionId> = all[102..].iter().map(|session| session.id).collect();
    assert_eq!(last, [ids[0], ids[5]], "none is left out");
    assert_eq!(store.list(&subject, 2).await.expect("list"), all[..2]);
}

/// `revoke` ends one session and no other. A second call has no effect.
pub async fn t10_one_session_ends(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let id = start(&store, session_of(&subject)).await.id;
    let other = start(&store, session_of(&subject)).await.id;
    assert!(revoke(&store, id).await, "the session was alive");
    assert!(!revoke(&store, id).await, "the session has ended before");
    let again = store.revoke(id, RevokeReason::Administrative).await;
    assert!(!again.expect("revoke"));
    let session = peek(&store, id).await.session;
    assert!(session.family.revoked);
    assert_eq!(
        session.revoked,
        Some(RevokeReason::Logout),
        "the first reason stays"
    );
    let browser = RefreshPolicy::browser();
    assert_eq!(
        outcome(&store, id, 0, browser).await,
        (RefreshOutcome::Revoked, 0)
    );
    assert_eq!(
        outcome(&store, other, 0, browser).await,
        (RefreshOutcome::Rotated, 1)
    );

    let unused = start(&store, session_of(&subject)).await.id;
    fixture.age(unused, IDLE).await;
    assert!(!revoke(&store, unused).await, "the session was idle");
    let session = peek(&store, unused).await.session;
    assert!(session.family.revoked, "its access tokens may be valid");
}

async fn revoke(store: &impl SessionStore, id: SessionId) -> bool {
    let revoked = store.revoke(id, RevokeReason::Logout).await;
    revoked.expect("revoke")
}

/// `revoke_others` keeps the given session, and the sessions of other subjects.
pub async fn t10_the_other_sessions_end(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let keep = start(&store, session_of(&subject)).await.id;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(start(&store, session_of(&subject)).await.id);
    }
    let unused = start(&store, session_of(&subject)).await.id;
    fixture.age(unused, IDLE).await;
    let foreign = start(&store, new_session()).await.id;
    let reason = RevokeReason::CredentialsChanged;
    let ended = store.revoke_others(&subject, keep, reason).await;
    let mut ended = ended.expect("revoke_others");
    ended.sort();
    others.sort();
    assert_eq!(ended, others, "the sessions that were alive");
    for id in others {
        let session = peek(&store, id).await.session;
        assert!(session.family.revoked);
        assert_eq!(session.revoked, Some(reason));
    }
    for id in [keep, foreign] {
        assert!(!peek(&store, id).await.session.family.revoked);
    }
    let again = store.revoke_others(&subject, keep, reason).await;
    assert_eq!(again.expect("revoke_others"), []);
    // The id of another subject's session keeps no session of this subject.
    let ended = store.revoke_others(&subject, foreign, reason).await;
    assert_eq!(ended.expect("revoke_others"), [keep]);
    assert!(peek(&store, keep).await.session.family.revoked);
    assert!(!peek(&store, foreign).await.session.family.revoked);
}

/// `revoke_all` ends all earlier sessions. Sessions that are created later are alive.
pub async fn t10_all_sessions_end(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let browser = RefreshPolicy::browser();
    let before = [
        start(&store, session_of(&subject)).await,
        start(&store, session_of(&subject)).await,
    ];
    let foreign = start(&store, new_session()).await.id;
    assert_eq!(revoke_all(&store, &subject).await, 1);
    assert_eq!(store.epoch(&subject).await.expect("epoch"), 1);
    for session in &before {
        assert_eq!(session.epoch, 0);
        assert!(peek(&store, session.id).await.session.family.revoked);
        let after = outcome(&store, session.id, 0, browser).await;
        assert_eq!(after, (RefreshOutcome::Revoked, 0));
        let revoked = store.revoke(session.id, RevokeReason::Logout).await;
        assert!(!revoked.expect("revoke"), "the session has ended before");
    }
    assert_eq!(store.list(&subject, 100).await.expect("list"), []);
    let others = store
        .revoke_others(&subject, foreign, RevokeReason::Logout)
        .await;
    assert_eq!(others.expect("revoke_others"), []);
    assert!(!peek(&store, foreign).await.session.family.revoked);

    let session = start(&store, session_of(&subject)).await;
    assert_eq!(session.epoch, 1);
    let alive = outcome(&store, session.id, 0, browser).await;
    assert_eq!(alive, (RefreshOutcome::Rotated, 1));
    assert_eq!(store.list(&subject, 100).await.expect("list").len(), 1);
    assert_eq!(revoke_all(&store, &subject).await, 2);
    let after = outcome(&store, session.id, 1, browser).await;
    assert_eq!(after, (RefreshOutcome::Revoked, 1));
}

async fn revoke_all(store: &impl SessionStore, subject: &str) -> u32 {
    let epoch = store.revoke_all(subject, RevokeReason::CredentialsChanged);
    epoch.await.expect("revoke_all")
}

/// `list` and `revoke_others` handle more sessions than a store ends in one step, also between
/// sessions that ended by logout or by time.
pub async fn t15_many_sessions_end_and_leave_the_list(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let keep = start(&store, session_of(&subject)).await.id;
    for round in 0..2 {
        let mut others = Vec::new();
        for number in 0..620 {
            let id = start(&store, session_of(&subject)).await.id;
            match number % 5 {
                0 => fixture.age(id, IDLE).await,
                1 => assert!(revoke(&store, id).await),
                _ => others.push(id),
            }
        }
        let listed = store.list(&subject, 100).await.expect("list");
        assert_eq!(listed.len(), 100, "round {round}");
        let reason = RevokeReason::CredentialsChanged;
        let ended = store.revoke_others(&subject, keep, reason).await;
        let mut ended = ended.expect("revoke_others");
        ended.sort();
        others.sort();
        assert!(ended == others, "round {round}");
        let listed = store.list(&subject, 100).await.expect("list");
        let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        assert_eq!(listed, [keep], "round {round}");
    }
    for _ in 0..620 {
        start(&store, session_of(&subject)).await;
    }
    assert_eq!(revoke_all(&store, &subject).await, 1);
    assert_eq!(store.list(&subject, 100).await.expect("list"), []);
    let session = start(&store, session_of(&subject)).await;
    assert_eq!(store.list(&subject, 100).await.expect("list"), [session]);
}

/// A login that verified the old password cannot create a session after the epoch was raised.
pub async fn t10_a_login_that_read_the_old_epoch_starts_nothing(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let login = |epoch| NewSessionRecord {
        epoch: Some(epoch),
        ..session_of(&subject)
    };
    let read = store.epoch(&subject).await.expect("epoch");
    let in_time = start(&store, login(read)).await;
    assert_eq!(in_time.epoch, read);
    let raised = revoke_all(&store, &subject).await;
    for epoch in [read, raised + 1] {
        let late = login(epoch);
        let creation = store.create(late.clone()).await.expect("create");
        assert_eq!(creation, CreateOutcome::EpochMoved);
        assert_eq!(store.load(late.id).await.expect("load"), None);
    }
    let session = start(&store, login(raised)).await;
    assert_eq!(session.epoch, raised);
}

/// `purge` deletes sessions that ended more than a day ago, and no others.
pub async fn what_ended_long_ago_is_purged(fixture: &impl Fixture) {
    let store = fixture.store();
    let subject = new_name("subject");
    let mut ended = Vec::new();
    for _ in 0..5 {
        let id = start(&store, session_of(&subject)).await.id;
        ended.push(id);
    }
    let alive = start(&store, session_of(&subject)).await.id;
    let used = NewSessionRecord {
        idle: LIFETIME,
        ..session_of(&subject)
    };
    let just_ended = start(&store, used).await.id;
    for id in &ended {
        let day = Duration::from_secs(24 * 3600);
        fixture.age(*id, LIFETIME + day + SECOND).await;
    }
    fixture.age(just_ended, LIFETIME).await;
    let mut purged = store.purge(2).await.expect("purge");
    while purged > 0 {
        assert!(purged <= 4, "two sessions and two revocations at most");
        purged = store.purge(2).await.expect("purge");
    }
    for id in ended {
        assert_eq!(store.load(id).await.expect("load"), None);
    }
    peek(&store, alive).await;
    peek(&store, just_ended).await;
    let listed = store.list(&subject, 100).await.expect("list");
    assert_eq!(listed.len(), 1);
}
