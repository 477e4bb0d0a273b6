//! Records that somebody with write access to the store planted, changed or brought back.

use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError,
    store::{MemoryStore, port::KeyRingStore},
    test_util::TestClock,
};

use super::{Link, Node, key, stored};

type Change = fn(&mut Vec<Value>, &[Value]);

/// Changes of a ring of two records, given an older ring of the same secret and a ring of another
/// secret.
const CHANGES: &[(&str, Change)] = &[
    ("removed", |keys, _| drop(keys.pop())),
    ("doubled", |keys, _| keys.push(keys[0].clone())),
    ("replaced by its neighbour", |keys, _| {
        keys[1] = keys[0].clone()
    }),
    ("planted", |keys, foreign| keys.push(foreign[1].clone())),
    ("planted in place", |keys, foreign| {
        keys[1] = foreign[1].clone()
    }),
    ("brought back", |keys, foreign| keys[0] = foreign[0].clone()),
    ("brought back beside", |keys, foreign| {
        keys.push(foreign[0].clone())
    }),
    ("with swapped seals", |keys, _| {
        let first = keys[0]["sealed"].take();
        keys[0]["sealed"] = keys[1]["sealed"].take();
        keys[1]["sealed"] = first;
    }),
    ("with another kid", |keys, _| {
        keys[0]["kid"] = json!("another")
    }),
    ("with another algorithm", |keys, _| {
        keys[0]["alg"] = json!("Ed25519")
    }),
    ("with a secret's algorithm", |keys, _| {
        keys[0]["alg"] = json!("HS256")
    }),
    ("with no algorithm", |keys, _| {
        keys[0]["alg"] = json!("none")
    }),
    ("with another state", |keys, _| {
        keys[0]["state"] = json!("retired")
    }),
    ("with another time", |keys, _| {
        keys[1]["activates_at"] = json!(0)
    }),
    ("with a changed seal", |keys, _| {
        let mut sealed = keys[0]["sealed"].as_str().unwrap().to_owned();
        let last = if sealed.starts_with('A') { "B" } else { "A" };
        sealed.replace_range(..1, last);
        keys[0]["sealed"] = json!(sealed);
    }),
    ("with half of a seal", |keys, _| {
        let sealed = keys[0]["sealed"].as_str().unwrap().to_owned();
        keys[0]["sealed"] = json!(sealed[..sealed.len() / 2]);
    }),
    ("with an empty seal", |keys, _| {
        keys[0]["sealed"] = json!("")
    }),
    ("of a foreign ring", |keys, foreign| {
        *keys = vec![foreign[1].clone()]
    }),
    ("all removed", |keys, _| keys.clear()),
];

fn records(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).unwrap();
    document["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn s9_a_planted_or_changed_record_stops_the_start_and_is_never_published() {
    let clock = TestClock::new();
    for (name, change) in CHANGES {
        for next_revision in [false, true] {
            let store = MemoryStore::with_clock(clock.clone());
            let running = Node::start(&store, &clock).await;
            let older = records(&stored(&store).await.keys);
            let elsewhere = MemoryStore::with_clock(clock.clone());
            let foreign = Node::open(Link::new(&elsewhere), &clock, "x")
                .await
                .unwrap();
            let attacker = foreign.token();
            let foreign = records(&stored(&elsewhere).await.keys);
            running.ring.rotate().await.unwrap();
            let published = running.issuer.keys().jwks();
            let good = stored(&store).await;

            let mut keys = records(&good.keys);
            change(&mut keys, &[older[0].clone(), foreign[0].clone()]);
            let text = json!({ "format": 1, "keys": keys }).to_string();
            let revision = good.revision + u64::from(next_revision);
            assert!(
                store
                    .swap_key_ring(good.revision, revision, &text)
                    .await
                    .unwrap()
            );

            let started = Node::open(Link::new(&store), &clock, "a").await;
            match started.err().unwrap() {
                ConfigError::Invalid { name, problem } => {
                    assert_eq!(name, "the key ring");
                    assert!(
                        !problem.contains('\n') && problem.contains("the store"),
                        "{problem}"
                    );
                }
                other => panic!("{name}: {other:?}"),
            }
            // A node that runs goes on with what it has.
            assert!(running.ring.refresh().await.is_err(), "{name}");
            assert_eq!(running.issuer.keys().jwks(), published, "{name}");
            assert!(running.verify(&running.token()).is_ok());
            assert!(running.verify(&attacker).is_err(), "{name}");
            // Nothing is made beside it.
            let left = stored(&store).await;
            assert_eq!((left.revision, left.keys), (revision, text), "{name}");
        }
    }
}

#[tokio::test]
async fn s9_a_text_that_is_no_ring_stops_the_start() {
    let clock = TestClock::new();
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "\u{0}",
        r#"{"format":2,"keys":[]}"#,
        r#"{"format":1,"keys":{}}"#,
    ] {
        let store = MemoryStore::with_clock(clock.clone());
        store.swap_key_ring(0, 3, text).await.unwrap();
        let started = Node::open(Link::new(&store), &clock, "a").await;
        assert!(
            matches!(started, Err(ConfigError::Invalid { .. })),
            "{text}"
        );
        assert_eq!(stored(&store).await.revision, 3);
    }
}

#[tokio::test]
async fn s9_an_error_names_the_record_in_one_short_line() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let kid = format!("\u{1b}[31m{}", "x".repeat(1000));
    let record = json!({ "kid": kid, "alg": "EdDSA", "state": "signing", "activates_at": 0, "sealed": "AA" });
    let text = json!({ "format": 1, "keys": [record] }).to_string();
    store.swap_key_ring(0, 1, &text).await.unwrap();
    let error = Node::open(Link::new(&store), &clock, "a")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.len() < 300 && !error.contains(['\u{1b}', '\n']),
        "{error}"
    );
    drop(key("a"));
}
