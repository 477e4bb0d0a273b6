//! Signing out, on one device, the others, all.

use std::time::Duration;

use tower_jwt_auth::{
    event::{RevokedScope, SessionEvent},
    revocation::RevocationSet,
    server::session::{SessionErrorKind, Sessions, SessionsBuilder, StartSession, TokenPair},
    store::port::{
        RevokeReason::{Administrative, CredentialsChanged, Logout},
        SessionStore,
    },
};

use crate::support::sessions::{alice, issuer, service, service_with};

#[tokio::test]
async fn t10_signing_out_ends_this_device() {
    let service = service();
    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let newer = service.refresh(&here).await;
    service.events.take();
    // The token may be spent: whoever holds it held the session.
    for _ in 0..2 {
        let token = here.refresh_token().expose();
        service.sessions.revoke_token(token).await.unwrap();
        assert_eq!(service.refused(&newer).await, "session_revoked");
    }
    let events = service.events.take();
    let [
        SessionEvent::Revoked {
            scope,
            reason: Logout,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*scope, RevokedScope::Session(here.session_id()));
    service.refresh(&there).await;
}

#[tokio::test]
async fn t10_signing_out_the_others_keeps_this_one() {
    let service = service();
    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let mallory = service
        .sessions
        .start(StartSession::new("mallory"))
        .await
        .unwrap();
    for ended in [1, 0] {
        let others = service
            .sessions
            .revoke_others("alice", here.session_id(), Logout);
        assert_eq!(others.await.unwrap(), ended);
    }
    assert_eq!(service.refused(&there).await, "session_revoked");
    service.refresh(&here).await;
    service.refresh(&mallory).await;
}

#[tokio::test]
async fn t10_signing_out_everywhere_ends_all_and_what_is_being_started() {
    let service = service();
    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let read_before = service.sessions.epoch("alice").await.unwrap();
    for epoch in [1, 2] {
        let all = service.sessions.revoke_all("alice", Administrative);
        assert_eq!(all.await.unwrap(), epoch);
    }
    for pair in [&here, &there] {
        assert_eq!(service.refused(pair).await, "session_revoked");
    }
    // A login that looked at the old password meanwhile.
    let late = service
        .sessions
        .start(alice().epoch(read_before))
        .await
        .unwrap_err();
    assert_eq!(late.kind(), SessionErrorKind::Superseded);
    assert_eq!(late.error(), "temporarily_unavailable");
    assert!(
        service
            .sessions
            .list("alice", None)
            .await
            .unwrap()
            .is_empty()
    );

    let again = service.sign_in().await;
    assert_eq!(service.caller(&again).epoch(), Some(2));
    service.refresh(&again).await;
}

#[tokio::test]
async fn a_change_of_the_password_leaves_one_new_session() {
    let service = service();
    let revoked = service.revocations();
    assert!(revoked.loaded(Duration::from_secs(60)).await);
    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let new = service.sessions.restart(alice()).await.unwrap();
    for pair in [&here, &there] {
        assert_eq!(service.refused(pair).await, "session_revoked");
        while !revoked.contains(&service.caller(pair)) {
            tokio::task::yield_now().await;
        }
    }
    assert_ne!(new.session_id(), here.session_id());
    assert!(!revoked.contains(&service.caller(&new)));
    service.refresh(&new).await;
    let events = service.events.take();
    assert!(events.iter().any(|event| matches!(
        event,
        SessionEvent::Revoked {
            reason: CredentialsChanged,
            ..
        }
    )));
}

/// The node that ends something does not wait for the store to tell it: no feed fills this set.
#[tokio::test]
async fn t11_a_node_refuses_at_once_what_it_ended_itself() {
    let own = RevocationSet::local();
    let service = service_with(|builder, _| builder.revocation(own.clone()));
    let sessions = &service.sessions;
    let is_refused = |pair: &TokenPair| own.contains(&service.caller(pair));

    let pair = service.sign_in().await;
    assert!(!is_refused(&pair));
    let token = pair.refresh_token().expose();
    sessions.revoke_token(token).await.unwrap();
    assert!(is_refused(&pair));

    let stolen = service.sign_in().await;
    let mut newest = stolen.clone();
    for _ in 0..2 {
        newest = service.refresh(&newest).await;
        service.pass(60);
    }
    assert!(!is_refused(&newest));
    assert_eq!(service.refused(&stolen).await, "refresh_token_reused");
    assert!(is_refused(&stolen) && is_refused(&newest));

    let (here, there) = (service.sign_in().await, service.sign_in().await);
    let kept = here.session_id();
    let others = sessions.revoke_others("alice", kept, Logout);
    assert_eq!(others.await.unwrap(), 1);
    assert!(is_refused(&there) && !is_refused(&here));

    sessions.revoke_all("alice", Administrative).await.unwrap();
    assert!(is_refused(&here));
    let later = service.sign_in().await;
    assert!(!is_refused(&later));

    // Another node ended it, and this one has not heard of it.
    let elsewhere = Sessions::builder(
        issuer(sessions.issuer().keys().clone()),
        service.store.clone(),
    )
    .secret(service.secret.clone())
    .build()
    .unwrap();
    let id = later.session_id();
    assert!(elsewhere.revoke(id, Logout).await.unwrap());
    assert!(!is_refused(&later));
    assert!(!sessions.revoke(id, Logout).await.unwrap());
    assert!(is_refused(&later));
}

#[tokio::test]
async fn t15_one_session_too_many_ends_one_that_was_never_refreshed() {
    let own = RevocationSet::local();
    let configure = |builder: SessionsBuilder| builder.max_sessions(3).revocation(own.clone());
    let service = service_with(|builder, _| configure(builder));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(service.sign_in().await);
        service.pass(60);
    }
    // The first was used again, so the second goes.
    held[0] = service.refresh(&held[0]).await;
    service.pass(60);
    service.events.take();
    held.push(service.sign_in().await);
    let told = service.events.take();
    let evicted = told.iter().filter_map(|event| match event {
        SessionEvent::Evicted { session, .. } => Some(*session),
        _ => None,
    });
    assert_eq!(evicted.collect::<Vec<_>>(), [held[1].session_id()]);
    assert_eq!(service.refused(&held[1]).await, "session_revoked");
    assert!(own.contains(&service.caller(&held[1])));
    for kept in [0, 2, 3] {
        held[kept] = service.refresh(&held[kept]).await;
        service.pass(60);
    }
    // All of them were refreshed, so the least recently used one goes.
    held.push(service.sign_in().await);
    assert_eq!(service.refused(&held[0]).await, "session_revoked");
    // A script that signs in for every job ends its own sessions.
    for _ in 0..50 {
        service.sign_in().await;
    }
    for kept in [2, 3] {
        service.refresh(&held[kept]).await;
    }
    let list = service.sessions.list("alice", None).await.unwrap();
    assert_eq!(list.len(), 3);
    for most in [0, 100] {
        let refused = Sessions::builder(
            issuer(service.sessions.issuer().keys().clone()),
            service.memory.clone(),
        )
        .secret(service.secret.clone())
        .max_sessions(most)
        .build();
        assert!(refused.unwrap_err().to_string().contains("max_sessions"));
    }
}

/// As after the limit was lowered: the sessions that have to end are not among the 100 that were used
/// last.
#[tokio::test]
async fn t15_of_more_than_a_hundred_sessions_the_right_ones_end() {
    let service = service_with(|builder, _| builder.max_sessions(None));
    let mut held = Vec::new();
    for _ in 0..130 {
        held.push(service.sign_in().await);
        service.pass(1);
    }
    held[0] = service.refresh(&held[0]).await;
    let alive = async || {
        let alive = service.memory.list("alice", 1000).await.unwrap();
        let alive = alive.iter().map(|session| session.id);
        alive.collect::<std::collections::HashSet<_>>()
    };
    let limited = |most: usize| {
        let sessions = Sessions::builder(
            issuer(service.sessions.issuer().keys().clone()),
            service.memory.clone(),
        );
        let sessions = sessions.secret(service.secret.clone());
        sessions.max_sessions(most).build().unwrap()
    };
    let new = limited(99).start(alice()).await.unwrap();
    let alive_now = alive().await;
    assert_eq!(alive_now.len(), 99);
    assert!(alive_now.contains(&new.session_id()));
    for (at, pair) in held.iter().enumerate() {
        // The first was refreshed, so the 32 after it have to go.
        let kept = at == 0 || at > 32;
        assert_eq!(alive_now.contains(&pair.session_id()), kept, "{at}");
    }
    // One login ends at most 100, and the next one the rest.
    for _ in 0..60 {
        service.sign_in().await;
    }
    for left in [60, 1] {
        limited(1).start(alice()).await.unwrap();
        assert_eq!(alive().await.len(), left);
    }
}

#[tokio::test]
async fn a_device_is_ended_by_its_owner_alone() {
    let service = service();
    let pair = service.sign_in().await;
    let own = |subject| {
        service
            .sessions
            .revoke_own(subject, pair.session_id(), Logout)
    };
    assert!(!own("mallory").await.unwrap());
    let pair = service.refresh(&pair).await;
    assert!(own("alice").await.unwrap());
    assert!(!own("alice").await.unwrap());
    assert_eq!(service.refused(&pair).await, "session_revoked");
}

#[tokio::test]
async fn the_list_of_devices_shows_what_was_kept() {
    let service = service();
    let phone = alice()
        .label("p".repeat(1000))
        .user_agent("curl/8")
        .ip([192, 0, 2, 1].into())
        .client_id("app");
    let phone = service.sessions.start(phone).await.unwrap();
    service.pass(60);
    let browser = service.sign_in().await;
    service.pass(60);
    service.refresh(&phone).await;

    let id = browser.session_id();
    let devices = service.sessions.list("alice", Some(id)).await.unwrap();
    let current: Vec<_> = devices.iter().map(|device| device.is_current()).collect();
    assert_eq!(current, [false, true], "the one used last comes first");
    let device = &devices[0];
    assert_eq!(device.label().unwrap().len(), 200);
    assert_eq!(device.user_agent(), Some("curl/8"));
    assert_eq!(device.ip(), Some([192, 0, 2, 1].into()));
    assert_eq!(device.client_id(), Some("app"));
    assert_eq!(device.amr().collect::<Vec<_>>(), ["pwd"]);
    assert_eq!(
        device.used_at().since(device.created_at()),
        Duration::from_secs(120)
    );
    assert_eq!(
        device.ends_at().since(device.used_at()).as_secs(),
        14 * 24 * 3600
    );
    assert!(service.sessions.list("bob", None).await.unwrap().is_empty());
}
