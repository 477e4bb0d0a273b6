//! Refreshes, one after the other and at once.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tower_jwt_auth::{
    event::{RefreshOutcome, ReuseKind, SessionEvent},
    revocation::RevocationSet,
    server::refresh::RefreshPolicy,
    server::refresh::machine::RefreshTokens,
};

use crate::support::sessions::{service, with_policy};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t1_hundred_refreshes_are_one_rotation() {
    let service = service();
    let first = service.sign_in().await;
    service.events.take();
    service.store.take_counts();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let sessions = service.sessions.clone();
        let token = first.refresh_token().clone();
        tasks.spawn(async move { sessions.refresh(token.expose()).await.unwrap() });
    }
    let pairs = tasks.join_all().await;
    let refresh: BTreeSet<_> = pairs
        .iter()
        .map(|pair| pair.refresh_token().expose())
        .collect();
    let access: BTreeSet<_> = pairs
        .iter()
        .map(|pair| pair.access_token().expose())
        .collect();
    assert_eq!((refresh.len(), access.len()), (1, 100));
    assert_eq!(service.generation(&pairs[0]), 1);

    let outcomes: Vec<_> = service.events.take().into_iter().map(outcome).collect();
    let of = |which| outcomes.iter().filter(|outcome| **outcome == which).count();
    assert_eq!(
        (of(RefreshOutcome::Rotated), of(RefreshOutcome::Retried)),
        (1, 99)
    );
    let (reads, writes) = service.store.take_counts();
    assert_eq!(
        (reads, writes),
        (99, 100),
        "the losers pay a second round trip"
    );
    service.refresh(&pairs[7]).await;
}

fn outcome(event: SessionEvent) -> RefreshOutcome {
    match event {
        SessionEvent::Refreshed { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t1_strict_lets_one_of_a_hundred_through() {
    let service = with_policy(RefreshPolicy::strict());
    let first = service.sign_in().await;
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let sessions = service.sessions.clone();
        let token = first.refresh_token().clone();
        tasks.spawn(async move { sessions.refresh(token.expose()).await });
    }
    let answers = tasks.join_all().await;
    let good: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().ok())
        .collect();
    assert_eq!(good.len(), 1);
    // The others were theft, to the letter of RFC 9700 §4.14.
    assert_eq!(service.refused(good[0]).await, "session_revoked");
}

#[tokio::test]
async fn t16_a_refresh_is_one_round_trip() {
    let service = service();
    let first = service.sign_in().await;
    assert_eq!(
        service.store.take_counts(),
        (2, 1),
        "the epoch, the session, and the list of the others"
    );
    let second = service.refresh(&first).await;
    assert_eq!(service.store.take_counts(), (0, 1));
    // Answered from what is read: the parent and the live one inside the window.
    service.refresh(&first).await;
    service.refresh(&second).await;
    assert_eq!(service.store.take_counts(), (2, 2));
}

#[tokio::test]
async fn the_access_token_says_what_the_session_is() {
    let service = service();
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    for (pair, generation) in [(&first, 0), (&second, 1)] {
        let caller = service.caller(pair);
        assert_eq!(caller.subject(), Some("alice"));
        assert_eq!(caller.session_id(), Some(&*pair.session_id().to_string()));
        assert_eq!(caller.epoch(), Some(0));
        assert_eq!(caller.refresh_generation(), Some(generation));
        assert!(caller.has_role("editor") && caller.has_scope("orders:read"));
        let token = service
            .verifier
            .verify_now(pair.access_token().expose())
            .unwrap();
        assert_eq!(token.get_as::<Vec<String>>("amr").unwrap(), ["pwd"]);
        assert!(token.get_as::<u64>("auth_time").is_some());
    }
    let json = serde_json::to_value(second.to_response()).unwrap();
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["scope"], "orders:read");
    assert_eq!(json["refresh_expires_in"], 14 * 24 * 3600);
    assert!(json["expires_in"].as_u64().unwrap() <= 600);
    let debug = format!(
        "{second:?} {:?} {:?}",
        second.to_response(),
        service.sessions
    );
    for secret in [second.access_token(), second.refresh_token()] {
        assert!(!debug.contains(secret.expose()));
    }
}

#[tokio::test]
async fn t2_an_answer_that_was_lost_is_given_again() {
    let service = service();
    let first = service.sign_in().await;
    let lost = service.refresh(&first).await;
    service.pass(30);
    let again = service.refresh(&first).await;
    assert_eq!(
        again.refresh_token().expose(),
        lost.refresh_token().expose()
    );
    service.pass(1);
    assert_eq!(service.generation(&service.refresh(&again).await), 2);
}

#[tokio::test]
async fn two_tabs_with_the_new_token_get_the_same_one() {
    let service = service();
    let second = service.refresh(&service.sign_in().await).await;
    let (tab, other) = (
        service.refresh(&second).await,
        service.refresh(&second).await,
    );
    // Nothing that a cookie jar should store again, after whatever else has arrived.
    assert!(second.is_new_refresh_token());
    assert!(!tab.is_new_refresh_token());
    assert_eq!(
        tab.refresh_token().expose(),
        second.refresh_token().expose()
    );
    assert_eq!(
        other.refresh_token().expose(),
        second.refresh_token().expose()
    );
}

#[tokio::test]
async fn t3_an_ancestor_ends_the_session_on_all_nodes() {
    let service = service();
    let nodes: [RevocationSet; 2] = std::array::from_fn(|_| service.revocations());
    for node in &nodes {
        assert!(node.loaded(std::time::Duration::from_secs(60)).await);
    }
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    service.pass(31);
    let third = service.refresh(&second).await;
    service.events.take();

    service.pass(5);
    assert_eq!(service.refused(&first).await, "refresh_token_reused");
    let [
        SessionEvent::ReuseDetected {
            session,
            reuse,
            age,
            ..
        },
    ] = &service.events.take()[..]
    else {
        panic!("one event")
    };
    assert_eq!(*session, first.session_id());
    assert_eq!((*reuse, age.as_secs()), (ReuseKind::StaleLineage, 5));

    for pair in [&first, &second, &third] {
        assert_eq!(service.refused(pair).await, "session_revoked");
    }
    assert!(service.events.take().is_empty(), "said once");
    let caller = service.caller(&third);
    for node in &nodes {
        while !node.contains(&caller) {
            tokio::task::yield_now().await;
        }
    }
    // Nobody else's.
    let other = service.sign_in().await;
    assert!(!nodes[0].contains(&service.caller(&other)));
}

#[tokio::test]
async fn t3_a_late_parent_is_theft_to_browsers() {
    let service = service();
    let first = service.sign_in().await;
    let second = service.refresh(&first).await;
    service.pass(31);
    assert_eq!(service.refused(&first).await, "refresh_token_reused");
    assert_eq!(service.refused(&second).await, "session_revoked");
}

#[tokio::test]
async fn t13_a_store_that_lost_a_rotation_is_rolled_forward() {
    let service = service();
    let first = service.sign_in().await;
    // What it answered before the failover.
    let tokens = RefreshTokens::new(&service.secret);
    let ahead = tokens
        .read(first.refresh_token().expose())
        .unwrap()
        .successor(5);
    service.events.take();
    let next = service
        .sessions
        .refresh(tokens.write(&ahead).expose())
        .await
        .unwrap();
    assert_eq!(service.generation(&next), 6);
    let events = service.events.take();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].name(), "store.lost_write");
    assert_eq!(outcome(events[0].clone()), RefreshOutcome::Ahead);
    service.refresh(&next).await;
}
