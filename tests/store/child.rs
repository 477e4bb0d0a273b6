//! Another process with a store of its own: this program once more, running one test.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    event::RefreshOutcome,
    principal::SessionId,
    server::refresh::{RefreshPolicy, machine::rotate},
    store::port::SessionStore,
};

use crate::patient::Patient;

/// Lets two processes, each with 50 tasks, rotate generation 0 at once, and says how often they met
/// each outcome and live generation.
pub(crate) fn two_rotate(store: &str, id: SessionId) -> BTreeMap<String, u32> {
    let mut children = [spawn(store, id), spawn(store, id)];
    let mut outputs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().unwrap()).lines())
        .collect();
    for output in &mut outputs {
        // The test harness speaks as well.
        assert!(output.any(|line| line.unwrap().ends_with("ready")));
    }
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let mut met = BTreeMap::new();
    for (child, output) in children.iter_mut().zip(outputs) {
        for line in output {
            if let Some(outcome) = line.unwrap().strip_prefix("met ") {
                *met.entry(outcome.to_owned()).or_default() += 1;
            }
        }
        assert!(child.wait().unwrap().success());
    }
    met
}

fn spawn(store: &str, id: SessionId) -> Child {
    process("child::rotates_for_its_parent", store, id)
}

fn process(test: &str, store: &str, id: SessionId) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("STORES_CHILD_STORE", store)
        .env("STORES_CHILD_SESSION", id.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "for other tests, as a process of its own"]
async fn rotates_for_its_parent() {
    let Ok(url) = std::env::var("STORES_CHILD_STORE") else {
        return;
    };
    let id = std::env::var("STORES_CHILD_SESSION").unwrap();
    let id = id.parse().unwrap();
    if url.starts_with("postgres:") {
        #[cfg(feature = "postgres")]
        {
            use tower_jwt_auth::store::postgres::PostgresStore;
            rotate_often(Patient(PostgresStore::open(&url).await.unwrap()), id).await;
        }
    } else {
        #[cfg(feature = "sqlite")]
        {
            use tower_jwt_auth::store::sqlite::SqliteStore;
            rotate_often(Patient(SqliteStore::open(&url).await.unwrap()), id).await;
        }
    }
}

async fn rotate_often(store: impl SessionStore + Clone, id: SessionId) {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        tasks.spawn(async move { rotate(&store, id, 0, RefreshPolicy::browser()).await });
    }
    while let Some(rotation) = tasks.join_next().await {
        let rotation = rotation.unwrap().unwrap().unwrap();
        let generation = rotation.session.family.generation;
        println!("met {} {generation}", rotation.outcome.as_str());
    }
}

/// What the two must have met.
pub(crate) fn one_rotation() -> BTreeMap<String, u32> {
    let met = |outcome: RefreshOutcome| format!("{} 1", outcome.as_str());
    BTreeMap::from([
        (met(RefreshOutcome::Rotated), 1),
        (met(RefreshOutcome::Retried), 99),
    ])
}

/// Lets a process refresh over and over, kills it after so many answers and a moment, and says the
/// newest generation that it was given.
#[cfg(feature = "sqlite")]
pub(crate) fn killed_while_it_refreshes(file: &str, id: SessionId, answers: usize) -> u64 {
    let mut child = process("child::refreshes_until_killed", file, id);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut held = lines.filter_map(|line| line.unwrap().strip_prefix("held ")?.parse().ok());
    let mut newest = held.by_ref().take(answers).last().unwrap();
    std::thread::sleep(std::time::Duration::from_micros(137 * answers as u64));
    child.kill().unwrap();
    newest = held.last().unwrap_or(newest);
    child.wait().unwrap();
    newest
}

#[cfg(feature = "sqlite")]
#[tokio::test]
#[ignore = "for other tests, as a process of its own"]
async fn refreshes_until_killed() {
    use tower_jwt_auth::store::sqlite::SqliteStore;

    let Ok(file) = std::env::var("STORES_CHILD_STORE") else {
        return;
    };
    let id = std::env::var("STORES_CHILD_SESSION").unwrap();
    let id = id.parse().unwrap();
    let store = SqliteStore::open(&file).await.unwrap();
    // Each token a newer one than the store knows, so that every refresh is a rotation.
    let mut presented = store
        .load(id)
        .await
        .unwrap()
        .unwrap()
        .session
        .family
        .generation
        + 1;
    loop {
        let rotation = rotate(&store, id, presented, RefreshPolicy::browser()).await;
        let live = rotation.unwrap().unwrap().session.family.generation;
        println!("\nheld {live}");
        presented = live + 1;
    }
}
