//! The secrets under which the keys are sealed, and their replacement.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tower_jwt_auth::{ConfigError, store::MemoryStore, test_util::TestClock};

use super::{HOUR, Link, Node, stored};

/// Whether a node with these secrets starts.
async fn opens(store: &MemoryStore, clock: &TestClock, secrets: &str) -> bool {
    match Node::open(Link::new(store), clock, secrets).await {
        Ok(_) => true,
        Err(ConfigError::Invalid { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn s9_another_secret_stops_the_start_and_makes_no_ring_beside_it() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let node = Node::start(&store, &clock).await;
    let before = stored(&store).await;
    assert!(!opens(&store, &clock, "b").await);
    assert!(!opens(&store, &clock, "bc").await);
    assert_eq!(stored(&store).await, before);
    assert!(node.verify(&node.token()).is_ok());
}

#[tokio::test]
async fn s8_the_secret_rolls_while_the_nodes_run() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(Node::start(&store, &clock).await);
    }
    let token = nodes[0].token();
    for secrets in ["ab", "ba", "b"] {
        for node in 0..2 {
            let restarted = Node::open(Link::new(&store), &clock, secrets)
                .await
                .unwrap();
            nodes[node] = restarted;
            for node in &nodes {
                node.ring.refresh().await.unwrap();
                assert!(node.verify(&token).is_ok(), "{secrets}");
                assert!(node.verify(&nodes[0].token()).is_ok(), "{secrets}");
            }
            // Only after `ba` on the first node is the ring sealed under the new secret.
            let sealed_anew = secrets != "ab";
            assert_eq!(
                stored(&store).await.revision,
                1 + u64::from(sealed_anew),
                "{secrets}"
            );
        }
    }
    assert!(opens(&store, &clock, "b").await);
    assert!(!opens(&store, &clock, "a").await);
}

/// During the roll a node with the old order neither seals against the new one nor undoes it with a
/// change of its own.
#[tokio::test]
async fn s8_nodes_with_both_orders_do_not_seal_against_each_other() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let old = Node::open(Link::new(&store), &clock, "ab").await.unwrap();
    let new = Node::open(Link::new(&store), &clock, "ba").await.unwrap();
    let sealed = stored(&store).await.revision;
    for node in [&old, &new].into_iter().cycle().take(20) {
        node.ring.refresh().await.unwrap();
    }
    assert_eq!(stored(&store).await.revision, sealed);
    old.ring.rotate().await.unwrap();
    assert!(opens(&store, &clock, "b").await);
    // A node with the old order that starts again decides for an hour.
    drop(Node::open(Link::new(&store), &clock, "ab").await.unwrap());
    drop(old);
    new.ring.refresh().await.unwrap();
    assert!(!opens(&store, &clock, "b").await);
    clock.advance(HOUR);
    new.ring.refresh().await.unwrap();
    assert!(opens(&store, &clock, "b").await);
}

/// No record holds the private key in any form that can be read without the secret.
#[tokio::test]
async fn s9_the_stored_text_holds_no_private_key() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let node = Node::start(&store, &clock).await;
    node.ring.rotate().await.unwrap();
    let document: Value = serde_json::from_str(&stored(&store).await.keys).unwrap();
    // The beginning of an Ed25519 key in PKCS#8 (RFC 8410 §7).
    let beginning = [0x03, 0x2b, 0x65, 0x70];
    for record in document["keys"].as_array().unwrap() {
        let names: Vec<_> = record
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, ["activates_at", "alg", "kid", "sealed", "state"]);
        let sealed = URL_SAFE_NO_PAD
            .decode(record["sealed"].as_str().unwrap())
            .unwrap();
        assert!(!sealed.windows(4).any(|part| part == beginning));
    }
}
