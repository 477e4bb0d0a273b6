//! What a client sees of a server that dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::task::JoinSet;
use tower_jwt_auth::{
    error::StoreErrorKind,
    event::RefreshOutcome,
    principal::SessionId,
    server::refresh::{RefreshPolicy, machine::rotate},
    store::{
        port::{RevokeReason, SessionStore},
        postgres::PostgresStore,
    },
};

use crate::rows::{holder, start};
use crate::support::postgres::Server;

/// One who refreshes over and over, and never takes a failure for an answer.
struct Client {
    id: SessionId,
    /// The generation of the newest token that reached it.
    held: AtomicU64,
    refreshed: AtomicU64,
    failed: AtomicU64,
}

impl Client {
    /// Ends when it was told to, with an answer in hand.
    async fn refresh_until(&self, store: PostgresStore, pool: PgPool, enough: Arc<AtomicBool>) {
        while !enough.load(Ordering::SeqCst) {
            self.refresh(&store).await;
            // So that the window is over. Where that fails, the next refresh is a fresh one.
            let aged = sqlx::query(
                "UPDATE auth_session SET used_at = used_at - 31000, rotated_at = rotated_at - 31000
                 WHERE sid = $1",
            );
            let aged = aged.bind(self.id.as_bytes().as_slice());
            let _ = aged.execute(&pool).await;
        }
    }

    async fn refresh(&self, store: &PostgresStore) {
        let held = self.held.load(Ordering::SeqCst);
        let rotation = loop {
            match rotate(store, self.id, held, RefreshPolicy::browser()).await {
                Ok(rotation) => break rotation.expect("the session is there"),
                Err(error) => {
                    assert_ne!(error.kind(), StoreErrorKind::Invalid, "{error:?}");
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let live = rotation.session.family.generation;
        match rotation.outcome {
            // Ahead would be a rotation that was answered and lost.
            RefreshOutcome::Rotated | RefreshOutcome::Retried => assert_eq!(live, held + 1),
            RefreshOutcome::Fresh => assert_eq!(live, held),
            other => panic!("{other:?} of generation {held}: {:?}", rotation.session),
        }
        self.refreshed.fetch_add(1, Ordering::SeqCst);
        self.held.store(live, Ordering::SeqCst);
    }
}

/// `KILL_POINTS` raises their number.
const POINTS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn t8_killed_at_random_points_every_family_stays_sound() {
    let points = std::env::var("KILL_POINTS").map_or(POINTS, |points| points.parse().unwrap());
    let server = Arc::new(Server::start());
    let store = PostgresStore::open(&server.url()).await.unwrap();
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(1))
        .connect(&server.url())
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(Arc::new(Client {
            id: start(&store, "killed").await,
            held: AtomicU64::new(0),
            refreshed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }));
    }
    let enough = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for client in &clients {
        let (client, store, pool) = (Arc::clone(client), store.clone(), pool.clone());
        let enough = Arc::clone(&enough);
        tasks.spawn(async move { client.refresh_until(store, pool, enough).await });
    }
    let sum = |count: fn(&Client) -> &AtomicU64| -> u64 {
        let counts = clients.iter().map(|client| count(client));
        counts.map(|count| count.load(Ordering::SeqCst)).sum()
    };
    for point in 0..points {
        // Not before the load runs again.
        let before = sum(|client| &client.refreshed);
        while sum(|client| &client.refreshed) < before + 32 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let nanos = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        tokio::time::sleep(Duration::from_micros(u64::from(nanos / 1000 % 50_000))).await;
        let killed = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            killed.kill();
            killed.resume();
        })
        .await
        .unwrap();
        for client in &clients {
            // What it holds was answered before this, so the row is there already or further on.
            let held = client.held.load(Ordering::SeqCst);
            let session = loop {
                match store.load(client.id).await {
                    Ok(peek) => break peek.unwrap().session,
                    Err(error) => assert_ne!(error.kind(), StoreErrorKind::Invalid),
                }
            };
            assert!(!session.family.revoked, "point {point}: {session:?}");
            assert!(
                session.family.generation >= held,
                "point {point}: {session:?}"
            );
            let parent = session.family.generation.checked_sub(1);
            assert_eq!(session.family.parent, parent, "point {point}");
        }
    }
    enough.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    for client in &clients {
        let live = store.load(client.id).await.unwrap().unwrap().session.family;
        assert_eq!(live.generation, client.held.load(Ordering::SeqCst));
    }
    let revoked = sqlx::query("SELECT 1 FROM auth_revocation").fetch_all(&pool);
    assert!(revoked.await.unwrap().is_empty());
    println!(
        "{points} kills, {} refreshes, {} failures",
        sum(|client| &client.refreshed),
        sum(|client| &client.failed),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn t9_a_restart_is_an_outage_and_then_over() {
    let server = Arc::new(Server::start());
    let store = PostgresStore::open(&server.url()).await.unwrap();
    let set = store.revocations().unwrap();
    assert!(set.loaded(Duration::from_secs(60)).await);
    let id = start(&store, "restart").await;

    let stopped = Arc::clone(&server);
    tokio::task::spawn_blocking(move || stopped.stop())
        .await
        .unwrap();
    // Connections of before say that they were lost, each one once.
    loop {
        let asked = Instant::now();
        let error = store.load(id).await.unwrap_err();
        println!(
            "without a server after {:?}: {:?}",
            asked.elapsed(),
            error.kind()
        );
        match error.kind() {
            StoreErrorKind::Interrupted => {}
            kind => break assert_eq!(kind, StoreErrorKind::Unavailable, "{error:?}"),
        }
    }
    let error = store.revoke(id, RevokeReason::Logout).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");

    let resumed = Arc::clone(&server);
    tokio::task::spawn_blocking(move || resumed.resume())
        .await
        .unwrap();
    let back = Instant::now();
    while let Err(error) = store.revoke(id, RevokeReason::Logout).await {
        assert!(back.elapsed() < Duration::from_secs(60), "{error:?}");
    }
    println!("served {:?} after the server was back", back.elapsed());
    while !set.contains(&holder(id)) {
        assert!(back.elapsed() < Duration::from_secs(60), "the feed is dead");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("the feed told of it {:?} after", back.elapsed());
}
