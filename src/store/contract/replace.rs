//! The replacement of a session by a new one.

use tokio::task::JoinSet;

use super::{Fixture, IDLE, LIFETIME, new_id, new_name, new_session, peek, session_of, start};
use crate::{
    principal::SessionId,
    store::port::{CreateOutcome, NewSessionRecord, RevokeReason, SessionStore},
};

/// The new session is alive and the old one is revoked, with the reason. Only one session is listed.
pub async fn u25_a_session_is_replaced(fixture: &impl Fixture) {
    let store = fixture.store();
    let old = start(&store, new_session()).await;
    let new = session_of(&old.subject);
    let replaced = store.replace(old.id, new.clone()).await.expect("replace");
    let Some(CreateOutcome::Created(record)) = replaced else {
        panic!("not replaced: {replaced:?}");
    };
    assert_eq!((record.id, &record.details), (new.id, &new.details));
    let old = peek(&store, old.id).await.session;
    assert!(old.family.revoked);
    assert_eq!(old.revoked, Some(RevokeReason::Replaced));
    assert_eq!(peek(&store, new.id).await.session, record);
    assert!(!record.family.revoked);
    assert_eq!(alive(fixture, &old.subject).await, [new.id]);
    // The same session is not replaced twice, and no session is overwritten.
    let again = store.replace(old.id, session_of(&old.subject)).await;
    assert_eq!(again.expect("replace"), None);
    let again = store.replace(old.id, new.clone()).await.expect("replace");
    assert!(matches!(again, None | Some(CreateOutcome::Exists)));
    assert_eq!(alive(fixture, &old.subject).await, [new.id]);
}

/// A session that is not alive, or of another subject, is not replaced. Nothing is written then.
pub async fn u25_what_has_ended_is_not_replaced(fixture: &impl Fixture) {
    let store = fixture.store();
    let revoked = start(&store, new_session()).await;
    let done = store.revoke(revoked.id, RevokeReason::Logout).await;
    assert!(done.expect("revoke"));
    let idle = start(&store, new_session()).await;
    fixture.age(idle.id, IDLE).await;
    let expired = NewSessionRecord {
        idle: 2 * LIFETIME,
        ..new_session()
    };
    let expired = start(&store, expired).await;
    fixture.age(expired.id, LIFETIME).await;
    let everywhere = start(&store, new_session()).await;
    let all = store.revoke_all(&everywhere.subject, RevokeReason::Logout);
    all.await.expect("revoke_all");
    for old in [revoked, idle, expired, everywhere] {
        let new = session_of(&old.subject);
        let replaced = store.replace(old.id, new.clone()).await.expect("replace");
        assert_eq!(replaced, None);
        assert_eq!(store.load(new.id).await.expect("load"), None);
    }
    let old = start(&store, new_session()).await;
    for (id, subject) in [
        (old.id, new_name("another subject")),
        (new_id(), old.subject.clone()),
    ] {
        let new = session_of(&subject);
        let replaced = store.replace(id, new.clone()).await.expect("replace");
        assert_eq!(replaced, None);
        assert_eq!(store.load(new.id).await.expect("load"), None);
    }
    // The epoch is compared as for a new session.
    let new = NewSessionRecord {
        epoch: Some(7),
        ..session_of(&old.subject)
    };
    let moved = store.replace(old.id, new).await.expect("replace");
    assert_eq!(moved, Some(CreateOutcome::EpochMoved));
    assert_eq!(alive(fixture, &old.subject).await, [old.id]);
}

/// Of several nodes that replace one session concurrently, one succeeds.
pub async fn u25_one_of_many_replacements_succeeds(fixture: &impl Fixture) {
    for _ in 0..5 {
        let old = start(&fixture.store(), new_session()).await;
        let mut tasks = JoinSet::new();
        for _ in 0..10 {
            let (store, new) = (fixture.store(), session_of(&old.subject));
            tasks.spawn(async move { store.replace(old.id, new).await.expect("replace") });
        }
        let replaced = tasks.join_all().await;
        let replaced: Vec<_> = replaced.into_iter().flatten().collect();
        let [CreateOutcome::Created(new)] = &*replaced else {
            panic!("not one replacement: {replaced:?}");
        };
        assert_eq!(alive(fixture, &old.subject).await, [new.id]);
    }
}

async fn alive(fixture: &impl Fixture, subject: &str) -> Vec<SessionId> {
    let sessions = fixture.store().list(subject, 100).await.expect("list");
    sessions.iter().map(|session| session.id).collect()
}
