//! What a refresh costs: read once, written once. PostgreSQL's is counted on the wire as well, in
//! `postgres::crowd`.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tower_jwt_auth::{
    server::refresh::RefreshPolicy,
    store::{AnyStore, SqliteStore, port::SessionStore},
};

use super::{
    node::{Node, Switch, Watched},
    place::{Kind, Place},
};

const ROUNDS: usize = 10;

/// Ten refreshes that rotate, and ten of other tabs.
async fn refresh(place: &Place, node: &Node) {
    let mut held = node.sign_in("alice").await;
    // A connection's first ones prepare what the others use.
    held = node.refresh(&held).await;
    place.age(held.session_id(), Duration::from_secs(31)).await;
    node.store.take_calls();
    for _ in 0..ROUNDS {
        held = node.refresh(&held).await;
        node.refresh(&held).await;
        place.age(held.session_id(), Duration::from_secs(31)).await;
    }
    assert_eq!(
        node.store.take_calls(),
        3 * ROUNDS,
        "two to rotate, one for the other tab"
    );
}

#[tokio::test]
async fn a_refresh_writes_once_to_memory() {
    let place = Place::memory();
    refresh(&place, &Node::of(&place).await).await;
}

#[tokio::test]
async fn a_refresh_is_one_commit_to_sqlite() {
    let place = Place::sqlite().await;
    let Kind::Sqlite { folder, .. } = &place.kind else {
        unreachable!()
    };
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&commits);
    let options = SqliteConnectOptions::new().filename(folder.file());
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .after_connect(move |connection, _| {
            let counted = Arc::clone(&counted);
            Box::pin(async move {
                // Called for transactions that write something.
                connection.lock_handle().await?.set_commit_hook(move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                    true
                });
                Ok(())
            })
        })
        .connect_with(options);
    let store = AnyStore::Sqlite(SqliteStore::new(pool.await.unwrap()));
    let store = Watched::new(store, Switch::default());
    let node = Node::over(store, RefreshPolicy::browser());
    refresh(&place, &node).await;
    // Begun, prepared, and then one each; ageing has a connection of its own.
    assert_eq!(commits.load(Ordering::SeqCst), 2 + ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn a_refresh_is_one_writing_script_to_redis() {
    let place = Place::redis().await;
    let Kind::Redis(server) = &place.kind else {
        unreachable!()
    };
    let node = Node::of(&place).await;
    // All scripts are there.
    let first = node.sign_in("bob").await;
    let second = node.refresh(&first).await;
    node.refresh(&second).await;

    let mut monitor = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    monitor.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(monitor).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("+OK"));
    let id = {
        let mut held = node.sign_in("alice").await;
        for _ in 0..ROUNDS {
            held = node.refresh(&held).await;
            node.refresh(&held).await;
            place.age(held.session_id(), Duration::from_secs(31)).await;
        }
        held.session_id()
    };
    assert!(node.store.peek(id).await.unwrap().is_some());
    let _: String = server.ask(&["ECHO", "the end"]).await.unwrap();

    // What a script does stands below the script, as of `lua`. The fixture's ageing is one of them.
    let (mut asked, mut wrote) = (0, 0);
    let mut of_store = false;
    for line in lines.take_while(|line| !line.contains("the end")) {
        let command = line.split_once("] ").map_or("", |(_, command)| command);
        if line.contains(" lua] ") {
            wrote += usize::from(of_store && command.starts_with("\"HSET\""));
        } else {
            let script = command.starts_with("\"EVALSHA\"") || command.starts_with("\"EVAL\"");
            of_store = script && !command.ends_with(&format!("{id}\" \"-31000\""));
            asked += usize::from(of_store);
        }
    }
    println!("{ROUNDS} refreshes and {ROUNDS} of other tabs: {asked} scripts, {wrote} that write");
    // Signing in reads the epoch and writes the session; the last one is this test's look.
    assert_eq!((asked, wrote), (2 + 3 * ROUNDS + 1, 1 + ROUNDS));
}
