//! The key ring that nodes share.

use tokio::task::JoinSet;

use super::Handles;
use crate::store::port::KeyRingStore;

/// Creates a `#[tokio::test]` for every rule of a [`KeyRingStore`](crate::store::port::KeyRingStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does. Each test needs a store without
/// a ring that no other test uses.
#[macro_export]
macro_rules! key_ring_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::key_ring_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            s8_a_ring_is_compared_and_set
            s8_one_of_many_swaps_succeeds
            s8_a_change_is_signalled
        }
    };
    ($fixture:expr) => {
        $crate::key_ring_store_contract!([] $fixture);
    };
}

/// A swap depends on the revision only. The text is returned unchanged.
pub async fn s8_a_ring_is_compared_and_set<F>(fixture: &F)
where
    F: Handles<Store: KeyRingStore>,
{
    let load = async || fixture.store().load_key_ring().await.expect("load");
    let swap = async |from, to, keys: &str| {
        let store = fixture.store();
        store.swap_key_ring(from, to, keys).await.expect("swap")
    };
    let first = load().await;
    assert_eq!(
        (first.revision, &*first.keys),
        (0, ""),
        "a store without a ring"
    );
    assert!(!swap(1, 2, "of another revision").await);
    assert_eq!(load().await.revision, 0);
    let long = format!("'\"\\ {{auth}} \u{e4}\u{1f511} {}", "x".repeat(100_000));
    assert!(swap(0, 1, &long).await);
    assert!(!swap(0, 1, "a second ring").await);
    let second = load().await;
    assert_eq!((second.revision, second.keys), (1, long));
    assert!(second.now >= first.now, "the store's time");
    // A node with a newer ring replaces an older one and may skip revisions.
    for (from, to) in [
        (1, 7),
        (7, 7),
        (7, u64::from(u32::MAX) * 8),
        (u64::from(u32::MAX) * 8, 3),
    ] {
        assert!(!swap(from + 1, to, "of another revision").await);
        assert!(swap(from, to, "next").await, "{from} to {to}");
        let now = load().await;
        assert_eq!((now.revision, &*now.keys), (to, "next"));
    }
}

/// Of several nodes that replace one revision concurrently, exactly one succeeds, and its ring stays.
pub async fn s8_one_of_many_swaps_succeeds<F>(fixture: &F)
where
    F: Handles<Store: KeyRingStore>,
{
    for revision in 0..3 {
        let mut swaps = JoinSet::new();
        for node in 0..20 {
            let store = fixture.store();
            swaps.spawn(async move {
                let keys = format!("of node {node}");
                let swap = store.swap_key_ring(revision, revision + 1, &keys).await;
                swap.expect("swap").then_some(keys)
            });
        }
        let mut winners = swaps.join_all().await;
        winners.retain(Option::is_some);
        let ring = fixture.store().load_key_ring().await.expect("load");
        assert_eq!(winners, [Some(ring.keys)]);
        assert_eq!(ring.revision, revision + 1);
    }
}

/// A change wakes a waiting node. A node that missed a change does not wait.
pub async fn s8_a_change_is_signalled<F>(fixture: &F)
where
    F: Handles<Store: KeyRingStore>,
{
    let (waiting, other) = (fixture.store(), fixture.store());
    let wait = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 2 {
            waiting.key_ring_changed(seen).await.expect("signal");
            seen = waiting.load_key_ring().await.expect("load").revision;
        }
    });
    for revision in 0..2 {
        let swap = other.swap_key_ring(revision, revision + 1, "a ring").await;
        assert!(swap.expect("swap"));
        tokio::task::yield_now().await;
    }
    wait.await.expect("the store does not panic");
    // Without a change the wait ends by itself.
    fixture.store().key_ring_changed(2).await.expect("signal");
}
