//! Counters of login attempts: compare and set.

use std::time::Duration;

use tokio::task::JoinSet;

use super::Handles;
use crate::{
    secret,
    store::port::ThrottleStore,
    store::port::{ThrottleKey, ThrottleRow},
    time::Timestamp,
};

/// Creates a `#[tokio::test]` for every rule of a [`ThrottleStore`](crate::store::port::ThrottleStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! throttle_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::throttle_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            a_counter_is_kept_as_it_came
            a_counter_changes_only_from_the_row_that_was_loaded
            of_many_swaps_from_one_row_one_succeeds
            no_change_of_a_counter_is_lost
            a_cleared_counter_is_missing
        }
    };
    ($fixture:expr) => {
        $crate::throttle_store_contract!([] $fixture);
    };
}

/// A row is returned unchanged until it expires, even if that is in a thousand years.
pub async fn a_counter_is_kept_as_it_came<F>(fixture: &F)
where
    F: Handles<Store: ThrottleStore>,
{
    for lifetime in [HOUR, HOUR * 24 * 365 * 1000] {
        let (store, key) = (fixture.store(), new_key());
        let missing = store.load(&key).await.expect("load");
        assert_eq!(missing.row, None);
        let row = row(u32::MAX, missing.now.plus(lifetime));
        assert!(swap(&store, &key, None, Some(&row)).await);
        let loaded = fixture.store().load(&key).await.expect("load");
        assert_eq!(loaded.row, Some(row));
        assert!(loaded.now >= missing.now, "time runs forward");
    }
}

/// Inserts, updates and deletes compare the whole row.
pub async fn a_counter_changes_only_from_the_row_that_was_loaded<F>(fixture: &F)
where
    F: Handles<Store: ThrottleStore>,
{
    let (store, key) = (fixture.store(), new_key());
    let until = store.load(&key).await.expect("load").now.plus(HOUR);
    let [first, second, third] = [1, 2, 3].map(|count| row(count, until));
    // Differs from the first row in one time only.
    let later = row(1, until.plus(Duration::from_millis(1)));

    assert!(!swap(&store, &key, Some(&first), Some(&second)).await);
    assert!(!swap(&store, &key, Some(&first), None).await);
    assert_eq!(load(&store, &key).await, None);
    assert!(swap(&store, &key, None, Some(&first)).await);
    for (from, to) in [
        (None, Some(&second)),
        (Some(&second), Some(&third)),
        (Some(&later), Some(&third)),
        (Some(&second), None),
        (Some(&later), None),
    ] {
        assert!(!swap(&store, &key, from, to).await, "{from:?}");
        assert_eq!(load(&store, &key).await, Some(first));
    }
    assert!(swap(&store, &key, Some(&first), Some(&second)).await);
    assert!(!swap(&store, &key, Some(&first), Some(&third)).await);
    assert_eq!(load(&store, &key).await, Some(second));
    assert!(swap(&store, &key, Some(&second), None).await);
    assert_eq!(load(&store, &key).await, None);
    assert!(!swap(&store, &key, Some(&second), None).await);
}

/// Of concurrent inserts, updates and deletes on different nodes, exactly one succeeds.
pub async fn of_many_swaps_from_one_row_one_succeeds<F>(fixture: &F)
where
    F: Handles<Store: ThrottleStore>,
{
    let key = new_key();
    let until = fixture.store().load(&key).await.expect("load").now;
    let until = until.plus(HOUR);
    let mut from = None;
    for round in 0..3 {
        let mut tasks = JoinSet::new();
        for number in 0..CROWD {
            let store = fixture.store();
            // In the last round every third one deletes the row.
            let deletes = round == 2 && number % 3 == 0;
            let to = (!deletes).then(|| row(1 + round * CROWD + number, until));
            tasks.spawn(async move {
                let swapped = swap(&store, &key, from.as_ref(), to.as_ref()).await;
                swapped.then_some(to)
            });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            winners.extend(task.expect("the store does not panic"));
        }
        let [winner] = winners.as_slice() else {
            panic!("round {round}: one swap succeeds, not {winners:?}");
        };
        from = *winner;
        assert_eq!(load(&fixture.store(), &key).await, from, "round {round}");
    }
}

/// Nodes that load, add one, and swap until they succeed count without losses.
pub async fn no_change_of_a_counter_is_lost<F>(fixture: &F)
where
    F: Handles<Store: ThrottleStore>,
{
    let key = new_key();
    let mut tasks = JoinSet::new();
    for _ in 0..NODES {
        let store = fixture.store();
        tasks.spawn(async move {
            for _ in 0..EACH {
                loop {
                    let loaded = store.load(&key).await.expect("load");
                    let count = loaded.row.map_or(0, |row| row.weight());
                    let next = row(count + 1, loaded.now.plus(HOUR));
                    if swap(&store, &key, loaded.row.as_ref(), Some(&next)).await {
                        break;
                    }
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("the store does not panic");
    }
    let sum = load(&fixture.store(), &key).await;
    assert_eq!(sum.map(|row| row.weight()), Some(NODES * EACH));
}

/// A cleared counter is missing: a swap can insert it and cannot replace it. Other counters stay.
pub async fn a_cleared_counter_is_missing<F>(fixture: &F)
where
    F: Handles<Store: ThrottleStore>,
{
    let store = fixture.store();
    let [key, other] = [new_key(), new_key()];
    let until = store.load(&key).await.expect("load").now.plus(HOUR);
    let [first, second] = [1, 2].map(|count| row(count, until));
    for key in [&key, &other] {
        assert!(swap(&store, key, None, Some(&first)).await);
    }
    store.clear(&key).await.expect("clear");
    assert_eq!(load(&store, &key).await, None);
    assert_eq!(load(&store, &other).await, Some(first));
    assert!(!swap(&store, &key, Some(&first), Some(&second)).await);
    assert!(swap(&store, &key, None, Some(&second)).await);
    store.clear(&key).await.expect("clear");
    store.clear(&key).await.expect("clear a missing row");
}

async fn swap(
    store: &impl ThrottleStore,
    key: &ThrottleKey,
    from: Option<&ThrottleRow>,
    to: Option<&ThrottleRow>,
) -> bool {
    store.swap(key, from, to).await.expect("swap")
}

async fn load(store: &impl ThrottleStore, key: &ThrottleKey) -> Option<ThrottleRow> {
    store.load(key).await.expect("load").row
}

/// Returns a row with this number of failures.
pub(super) fn row(failures: u32, expires_at: Timestamp) -> ThrottleRow {
    let expiry = expires_at.as_millis();
    let text = format!("1:{failures}:0:0:0:0:{expiry}:{expiry}");
    ThrottleRow::from_text(&text).expect("the text of a row")
}

fn new_key() -> ThrottleKey {
    ThrottleKey::from_bytes(secret::random())
}

const CROWD: u32 = 40;
const NODES: u32 = 4;
const EACH: u32 = 15;
const HOUR: Duration = Duration::from_secs(3600);
