//! What a server that dies, forgets, hangs or is demoted leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    error::StoreErrorKind,
    event::RefreshOutcome,
    principal::SessionId,
    revocation::{Revocation, RevocationCheck, RevocationLog},
    server::refresh::{RefreshPolicy, machine::rotate},
    store::{
        RedisStore,
        port::{RevokeReason, SessionStore},
    },
    time::Timestamp,
};

use super::{DAY, MINUTE, caller, loaded, session};
use crate::support::{
    port::free_port,
    redis::{DURABLE, FORGETFUL, Server},
    until::until,
};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn down_at_start_is_unavailable_and_then_it_is_there() {
    let port = free_port();
    let store = RedisStore::new(&format!("redis://127.0.0.1:{port}")).unwrap();
    let set = store.revocations().unwrap();
    let error = store.create(session(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let id = session(1).id;
    let error = rotate(&store, id, 0, RefreshPolicy::browser()).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let error = store.revoke(id, RevokeReason::Logout).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!set.is_ready(), "it was never loaded");

    let _server = Server::start_on(port, FORGETFUL).await;
    until(|| set.is_ready()).await;
    store.create(session(1)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_restart_with_a_log_on_disk_loses_nothing() {
    let mut server = Server::start(DURABLE).await;
    let store = server.store();
    let set = loaded(&store).await;
    let browser = RefreshPolicy::browser();
    let (alive, ended) = (session(1).id, session(2).id);
    store.create(session(1)).await.unwrap();
    store.create(session(2)).await.unwrap();
    rotate(&store, alive, 0, browser).await.unwrap();
    store.revoke(ended, RevokeReason::Logout).await.unwrap();
    let epoch = store.revoke_all("bob", RevokeReason::Logout).await.unwrap();
    let before = store.load(alive).await.unwrap().unwrap().session;

    server.kill();
    let error = store.revoke(alive, RevokeReason::Logout).await.unwrap_err();
    assert_ne!(error.kind(), StoreErrorKind::Invalid, "never `Ok`");
    server.restart().await;

    assert_eq!(peek_again(&store, alive).await, before);
    let retried = rotate(&store, alive, 0, browser).await.unwrap().unwrap();
    assert_eq!(retried.outcome, RefreshOutcome::Retried);
    assert_eq!(retried.session.family.generation, 1);
    let over = rotate(&store, ended, 0, browser).await.unwrap().unwrap();
    assert_eq!(over.outcome, RefreshOutcome::Revoked);
    assert_eq!(store.epoch("bob").await.unwrap(), epoch);
    assert!(loaded(&store).await.contains(&caller(ended)), "a new node");
    until(|| set.contains(&caller(ended))).await;
}

/// The first requests after a restart may meet the connection that was lost.
async fn peek_again(
    store: &RedisStore,
    id: SessionId,
) -> tower_jwt_auth::store::port::SessionRecord {
    let back = Instant::now();
    loop {
        match store.load(id).await {
            Ok(found) => return found.unwrap().session,
            Err(error) => assert!(back.elapsed() < MINUTE, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nodes that run forget nothing, whatever the server forgot.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn an_empty_restart_brings_no_revoked_token_back() {
    let mut server = Server::start(FORGETFUL).await;
    let store = server.store();
    let set = loaded(&store).await;
    let id = session(1).id;
    store.create(session(1)).await.unwrap();
    store.revoke(id, RevokeReason::Logout).await.unwrap();
    until(|| set.contains(&caller(id))).await;

    server.kill();
    server.restart().await;
    // It follows the new server: what is revoked there arrives.
    let second = session(2).id;
    let waited = Instant::now();
    while !set.contains(&caller(second)) {
        assert!(waited.elapsed() < MINUTE, "never followed");
        let until = Timestamp::from(std::time::SystemTime::now()).plus(DAY);
        let revocation = Revocation::session(second.to_string(), until);
        let _ = store.append(revocation).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(set.contains(&caller(id)), "nothing is forgotten");
    assert!(set.is_ready());
    assert_eq!(store.load(id).await.unwrap(), None);
    let after = rotate(&store, id, 0, RefreshPolicy::browser())
        .await
        .unwrap();
    assert_eq!(after, None, "a session that was lost is no session");
}

/// Everybody who repeats a refresh that failed gets on, and nobody is taken for a thief.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn t8_killed_again_and_again_under_load_every_family_is_sound() {
    let server = Arc::new(tokio::sync::RwLock::new(Server::start(DURABLE).await));
    let mut clients = JoinSet::new();
    let stop = Arc::new(AtomicBool::new(false));
    let refreshed: [_; 4] = std::array::from_fn(|_| Arc::new(AtomicU64::new(0)));
    for (number, refreshed) in (1..).zip(&refreshed) {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        let refreshed = Arc::clone(refreshed);
        let store = server.read().await.store();
        clients.spawn(async move {
            let id = session(number).id;
            store.create(session(number)).await.unwrap();
            let (mut generation, mut turns) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                // Out of the window of the last refresh.
                while server.read().await.age(id, DAY / 2).await.is_err() {}
                let rotation = loop {
                    match rotate(&store, id, generation, RefreshPolicy::browser()).await {
                        Ok(rotation) => break rotation.unwrap(),
                        Err(error) => assert_ne!(error.kind(), StoreErrorKind::Invalid),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                };
                assert!(rotation.outcome.answers(), "{rotation:?}");
                assert_eq!(rotation.session.family.generation, generation + 1);
                generation += 1;
                refreshed.store(generation, Ordering::Relaxed);
                turns += 1;
                // Its end comes with every ageing nearer.
                if turns % 20 == 0 {
                    turns = 0;
                    let _ = server.read().await.extend(id, 30 * DAY).await;
                }
            }
            (id, generation)
        });
    }
    for round in 0..10 {
        // Not before all are at work again.
        let read = || {
            refreshed
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed))
        };
        let before = read();
        let all_went_on = || read().iter().zip(&before).all(|(now, before)| now > before);
        until(all_went_on).await;
        tokio::time::sleep(Duration::from_millis(100 + 37 * round % 90)).await;
        let mut server = server.write().await;
        server.kill();
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    let store = server.read().await.store();
    while let Some(client) = clients.join_next().await {
        let (id, generation) = client.unwrap();
        let family = store.load(id).await.unwrap().unwrap().session.family;
        assert!(!family.revoked);
        assert_eq!(family.generation, generation);
        assert!(generation >= 10, "the clients were at work: {generation}");
    }
}

/// A server that hangs: an answer in seconds, no queue, no heap of connections, and then it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_server_that_hangs_makes_no_queue() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    store.create(session(1)).await.unwrap();
    server.signal("STOP");
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..3000 {
        let store = store.clone();
        calls.spawn(async move { store.epoch("alice").await.unwrap_err().kind() });
    }
    let mut refused = 0;
    while let Some(kind) = calls.join_next().await {
        match kind.unwrap() {
            StoreErrorKind::Unavailable => refused += 1,
            other => assert_eq!(other, StoreErrorKind::Interrupted),
        }
    }
    assert!(refused >= 3000 - 2 * 1024, "refused at once: {refused}");
    // Two tries of at most three seconds each, and a slow machine; one after the other, they would
    // take hours.
    assert!(begun.elapsed() < MINUTE);
    server.signal("CONT");
    let waited = Instant::now();
    while store.epoch("alice").await.is_err() {
        assert!(waited.elapsed() < MINUTE, "never again");
    }
    // Those that were given up leave as the server gets to know of it.
    loop {
        let clients: String = server.ask(&["CLIENT", "LIST"]).await.unwrap();
        if clients.lines().count() < 10 {
            break;
        }
        assert!(waited.elapsed() < MINUTE, "{clients}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// After a failover the old primary is a replica.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_replica_is_never_told_that_it_revoked() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    store.create(session(1)).await.unwrap();
    let id = session(1).id;
    let _: String = server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let error = store.revoke(id, RevokeReason::Logout).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let error = store.revoke_all("alice", RevokeReason::Logout).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let error = rotate(&store, id, 0, RefreshPolicy::browser()).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let _: String = server.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let session = store.load(id).await.unwrap().unwrap().session;
    assert!(!session.family.revoked, "nothing was half done");
    assert!(store.revoke(id, RevokeReason::Logout).await.unwrap());
}

/// A full server refuses; nothing is evicted, nothing half done.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_full_server_starts_nothing_and_keeps_everything() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    store.create(session(1)).await.unwrap();
    let _: String = server
        .ask(&["CONFIG", "SET", "maxmemory", "1mb"])
        .await
        .unwrap();
    let mut big = session(2);
    big.details = "x".repeat(1 << 20);
    let _ = store.create(big).await;
    let error = store.create(session(3)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let _: String = server
        .ask(&["CONFIG", "SET", "maxmemory", "0"])
        .await
        .unwrap();
    assert_eq!(store.load(session(3).id).await.unwrap(), None);
    assert!(store.load(session(1).id).await.unwrap().is_some());
}
