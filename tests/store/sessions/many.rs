//! Many refreshes of one token, and many sessions of one user.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Barrier, task::JoinSet};
use tower_jwt_auth::{
    event::{RefreshOutcome, SessionEvent},
    server::{
        refresh::RefreshPolicy,
        session::{SessionErrorKind, Sessions, StartSession, TokenPair},
    },
    store::port::SessionStore,
};

use super::{
    node::{Node, issuer, secret},
    place::Place,
};

const CONTENDERS: usize = 1000;

/// All at the same moment. Returns the answers, and how often the store was called.
async fn contend(nodes: &[Node; 4], token: &str) -> (Vec<TokenPair>, usize) {
    let barrier = Arc::new(Barrier::new(CONTENDERS));
    let mut tasks = JoinSet::new();
    for number in 0..CONTENDERS {
        let sessions = nodes[number % 4].sessions.clone();
        let (token, barrier) = (token.to_owned(), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            let mut turned_away = 0;
            loop {
                // A busy store lets nobody queue for long, and its clients come again.
                match sessions.refresh(&token).await {
                    Err(error) if error.kind() == SessionErrorKind::StoreUnavailable => {}
                    answer => return (answer.unwrap(), turned_away),
                }
                turned_away += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let answers = tasks.join_all().await;
    let turned_away: usize = answers.iter().map(|(_, turned_away)| turned_away).sum();
    let calls: usize = nodes.iter().map(|node| node.store.take_calls()).sum();
    let pairs = answers.into_iter().map(|(pair, _)| pair).collect();
    // Those that were turned away did not get beyond the tries of the others.
    (pairs, calls.saturating_sub(4 * turned_away))
}

fn outcomes(nodes: &[Node; 4]) -> BTreeMap<&'static str, usize> {
    let mut met = BTreeMap::new();
    for event in nodes.iter().flat_map(Node::take_events) {
        if let SessionEvent::Refreshed { outcome, .. } = event {
            *met.entry(outcome.as_str()).or_default() += 1;
        }
    }
    met
}

pub(super) async fn t1_thousand_contenders_over_four_nodes_are_one_rotation(place: Place) {
    // A busy machine takes longer than the default.
    let policy = RefreshPolicy::browser()
        .grace(Duration::from_secs(300))
        .unwrap();
    let node = async || Node::over(place.node().await, policy);
    let nodes = [node().await, node().await, node().await, node().await];
    let first = nodes[0].sign_in("alice").await;
    let read = nodes[0]
        .tokens
        .read(first.refresh_token().expose())
        .unwrap();
    // The live generation, and one that the store has lost: every contender loads and compares.
    for (presented, next, tries) in [(0, 1, 2), (7, 8, 4)] {
        for node in &nodes {
            node.take_events();
            node.store.take_calls();
        }
        let token = nodes[0].tokens.write(&read.successor(presented));
        let (pairs, calls) = contend(&nodes, token.expose()).await;
        let tokens = pairs.iter().map(|pair| pair.refresh_token().expose());
        assert_eq!(tokens.collect::<BTreeSet<_>>().len(), 1);
        assert_eq!(nodes[0].generation(&pairs[0]), next);
        let met = outcomes(&nodes);
        let writer = if presented == 0 {
            RefreshOutcome::Rotated
        } else {
            RefreshOutcome::Ahead
        };
        assert_eq!(met.get(writer.as_str()), Some(&1), "{met:?}");
        assert!(
            calls <= tries * CONTENDERS,
            "{}: {calls} calls",
            place.name()
        );
        println!(
            "{}: {CONTENDERS} contenders, {calls} calls, {met:?}",
            place.name()
        );
        place
            .age(first.session_id(), Duration::from_secs(301))
            .await;
    }
}

pub(super) async fn t15_a_user_has_fifty_sessions(place: Place) {
    let node = Node::of(&place).await;
    let kept = node.sign_in("alice").await;
    let kept = node.refresh(&kept).await;
    let mut eldest = BTreeSet::new();
    for _ in 0..5 {
        eldest.insert(node.sign_in("alice").await.session_id());
    }
    // A store orders sessions by milliseconds, and a login takes less than one.
    tokio::time::sleep(Duration::from_millis(10)).await;
    for _ in 0..49 {
        node.sign_in("alice").await;
    }
    let listed = node.sessions.list("alice", None).await.unwrap();
    assert_eq!(listed.len(), 50);
    let events = node.take_events().into_iter();
    let evicted: Vec<_> = events
        .filter_map(|event| match event {
            SessionEvent::Evicted { session, .. } => Some(session),
            _ => None,
        })
        .collect();
    assert_eq!(evicted.len(), 5, "each by the login that was one too many");
    assert_eq!(BTreeSet::from_iter(evicted), eldest);
    // The device that was used stays.
    node.refresh(&kept).await;

    let without = Sessions::builder(issuer(), node.store.store.clone())
        .secret(secret())
        .max_sessions(None);
    let without = without.build().unwrap();
    for _ in 0..55 {
        without.start(StartSession::new("bob")).await.unwrap();
    }
    assert_eq!(node.store.list("bob", 100).await.unwrap().len(), 55);
}
