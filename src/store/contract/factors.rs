//! Second factors.

use tokio::task::JoinSet;

use super::{Handles, new_name};
use crate::store::port::FactorStore;

/// Creates a `#[tokio::test]` for every rule of a [`FactorStore`](crate::store::port::FactorStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! factor_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::factor_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            factors_are_compared_and_set
            one_of_many_swaps_of_factors_succeeds
        }
    };
    ($fixture:expr) => {
        $crate::factor_store_contract!([] $fixture);
    };
}

/// A swap depends on the revision of one subject only. The text is returned unchanged.
pub async fn factors_are_compared_and_set<F>(fixture: &F)
where
    F: Handles<Store: FactorStore>,
{
    let subject = new_name("O'Reilly {auth}:*");
    let other = new_name("other");
    let load = async |subject: &str| fixture.store().load_factors(subject).await.expect("load");
    let swap = async |from, to, factors: &str| {
        let store = fixture.store();
        let swapped = store.swap_factors(&subject, from, to, factors).await;
        swapped.expect("swap")
    };
    let first = load(&subject).await;
    assert_eq!((first.revision, &*first.factors), (0, ""));
    assert!(!swap(1, 2, "of another revision").await);
    assert_eq!(load(&subject).await.revision, 0);
    let long = format!("'\"\\ {{auth}} \u{e4}\u{1f511} {}", "x".repeat(10_000));
    assert!(swap(0, 1, &long).await);
    assert!(!swap(0, 1, "a second row").await);
    let second = load(&subject).await;
    assert_eq!((second.revision, second.factors), (1, long));
    assert!(second.now >= first.now, "the store's time");
    for (from, to) in [(1, 2), (2, 9), (9, u64::from(u32::MAX) * 8)] {
        assert!(!swap(from + 1, to, "of another revision").await);
        assert!(swap(from, to, "next").await, "{from} to {to}");
        let now = load(&subject).await;
        assert_eq!((now.revision, &*now.factors), (to, "next"));
    }
    assert_eq!(load(&other).await.revision, 0);
}

/// Of several nodes that replace one revision concurrently, exactly one succeeds, and its row stays.
pub async fn one_of_many_swaps_of_factors_succeeds<F>(fixture: &F)
where
    F: Handles<Store: FactorStore>,
{
    let subject = new_name("subject");
    for revision in 0..3 {
        let mut swaps = JoinSet::new();
        for node in 0..20 {
            let (store, subject) = (fixture.store(), subject.clone());
            swaps.spawn(async move {
                let factors = format!("of node {node}");
                let swap = store.swap_factors(&subject, revision, revision + 1, &factors);
                swap.await.expect("swap").then_some(factors)
            });
        }
        let mut winners = swaps.join_all().await;
        winners.retain(Option::is_some);
        let row = fixture.store().load_factors(&subject).await.expect("load");
        assert_eq!(winners, [Some(row.factors)]);
        assert_eq!(row.revision, revision + 1);
    }
}
