//! Many at once, and what a refresh costs.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tower_jwt_auth::{
    error::StoreErrorKind,
    event::RefreshOutcome,
    server::refresh::{RefreshPolicy, machine::rotate},
    store::postgres::PostgresStore,
};

use super::{Nodes, age};
use crate::{child, patient::Patient, rows::start, support::postgres::Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn t1_ten_thousand_refreshes_are_one_rotation() {
    let server = Server::shared();
    // Of ten connections, as everybody's.
    let store = Patient(PostgresStore::open(&server.url()).await.unwrap());
    let id = start(&store, "ten thousand").await;
    // A busy machine takes longer than the default.
    let policy = RefreshPolicy::browser()
        .grace(Duration::from_secs(300))
        .unwrap();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut rotated = 0;
            for _ in 0..100 {
                let rotation = rotate(&store, id, 0, policy).await;
                let rotation = rotation.unwrap().unwrap();
                assert_eq!(rotation.session.family.generation, 1);
                rotated += u32::from(rotation.outcome == RefreshOutcome::Rotated);
                assert!(rotation.outcome.answers());
            }
            rotated
        });
    }
    let rotated: u32 = tasks.join_all().await.into_iter().sum();
    let took = started.elapsed();
    println!("10 000 refreshes of one token by 100 tasks over 10 connections: {took:?}");
    assert_eq!(rotated, 1);
}

/// Also where somebody made the strictest isolation the default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn nodes_that_start_at_once_make_the_tables_once() {
    let server = Server::shared();
    for round in 0..5 {
        let (url, _) = super::feed::in_schema(&server, &format!("serializable_{round}")).await;
        let url = format!("{url}%20-cdefault_transaction_isolation%3Dserializable");
        let mut nodes = JoinSet::new();
        for _ in 0..8 {
            let url = url.clone();
            nodes.spawn(async move { PostgresStore::open(&url).await });
        }
        for opened in nodes.join_all().await {
            opened.unwrap();
        }
    }
}

/// Where somebody made the strictest isolation the default, some are refused and none is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn t1_serializable_transactions_rotate_once() {
    let server = Server::shared();
    let strictest = "options=-cdefault_transaction_isolation%3Dserializable";
    let url = format!("{}?{strictest}", server.url());
    let store = PostgresStore::open(&url).await.unwrap();
    for _ in 0..5 {
        let id = start(&store, "serializable").await;
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            let store = store.clone();
            tasks.spawn(async move { rotate(&store, id, 0, RefreshPolicy::browser()).await });
        }
        let mut met = BTreeMap::<_, u32>::new();
        for answer in tasks.join_all().await {
            let what = match answer {
                Ok(rotation) => rotation.unwrap().outcome.as_str(),
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                    "refused"
                }
            };
            *met.entry(what).or_default() += 1;
        }
        println!("serializable: {met:?}");
        assert_eq!(met.remove("rotated"), Some(1));
        met.remove("refused");
        assert!(met.keys().all(|outcome| *outcome == "retried"), "{met:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn t1_two_processes_rotate_once() {
    let server = Server::shared();
    let store = PostgresStore::open(&server.url()).await.unwrap();
    for _ in 0..3 {
        let id = start(&store, "two processes").await;
        let url = server.url();
        let met = tokio::task::spawn_blocking(move || child::two_rotate(&url, id));
        assert_eq!(met.await.unwrap(), child::one_rotation());
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn t16_a_refresh_is_one_round_trip() {
    let nodes = Nodes::start().await;
    let counted = Counted::default();
    let port = count_answers(nodes.server.port, counted.clone());
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(&url)
        .await
        .unwrap();
    let store = PostgresStore::new(pool);
    let id = start(&store, "round trips").await;
    let policy = RefreshPolicy::browser();
    // The first one of a connection prepares the statement.
    rotate(&store, id, 0, policy).await.unwrap().unwrap();
    let rounds = 10;
    let before = counted.read();
    for generation in 1..=rounds {
        age(&nodes.pool, id, policy.grace_window() * 2).await;
        let rotation = rotate(&store, id, generation.into(), policy).await;
        assert_eq!(rotation.unwrap().unwrap().outcome, RefreshOutcome::Rotated);
    }
    let (answers, pings) = counted.read();
    let (answers, pings) = (answers - before.0, pings - before.1);
    println!("{rounds} refreshes: {answers} round trips, and {pings} pings off their path");
    assert_eq!(answers, rounds);
}

/// Answers to statements, and answers to sqlx's pings, which it sends when a connection is put back
/// and which ask nothing.
#[derive(Clone, Default)]
struct Counted(Arc<[AtomicU32; 2]>);

impl Counted {
    fn read(&self) -> (u32, u32) {
        let [answers, pings] = self.0.each_ref().map(|count| count.load(Ordering::SeqCst));
        (answers, pings)
    }
}

/// Forwards connections to this port, and counts the server's ReadyForQuery.
fn count_answers(to: u16, counted: Counted) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let mut requests = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut requests.0, &mut requests.1));
            let counted = counted.clone();
            thread::spawn(move || forward_answers(server, client, &counted));
        }
    });
    port
}

/// A message is a letter, four bytes of length, which count themselves, and the rest.
fn forward_answers(mut server: TcpStream, mut client: TcpStream, counted: &Counted) {
    let mut head = [0; 5];
    let mut alone = true;
    while server.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut rest = vec![0; length - 4];
        server.read_exact(&mut rest).unwrap();
        if head[0] == b'Z' {
            counted.0[usize::from(alone)].fetch_add(1, Ordering::SeqCst);
        }
        alone = head[0] == b'Z';
        if client.write_all(&[&head[..], &rest].concat()).is_err() {
            break;
        }
    }
}
