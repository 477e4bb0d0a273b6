//! In this process, as it is and through the store of a URL.

use std::time::Duration;

use tower_jwt_auth::{
    store::{AnyStore, MemoryStore, contract::Handles, port::SessionStore},
    test_util::TestClock,
};

#[cfg(feature = "aws-lc-rs")]
use super::mails;
use super::{contracts, nodes};

pub(crate) struct Memory(MemoryStore);

impl Handles for Memory {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }
}

pub(crate) struct Any(AnyStore);

impl Handles for Any {
    type Store = AnyStore;

    fn store(&self) -> AnyStore {
        self.0.clone()
    }
}

contracts!([] crate::login::memory::memory());

mod any {
    use super::contracts;

    contracts!([] crate::login::memory::any().await);
}

pub(crate) fn memory() -> Memory {
    Memory(MemoryStore::new())
}

pub(crate) async fn any() -> Any {
    Any(AnyStore::open("memory:").await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u3_u4_guesses_on_four_nodes_leave_room_for_the_owner() {
    let store = MemoryStore::new();
    nodes::guesses_leave_room_for_the_owner(std::array::from_fn(|_| store.clone())).await;
}

#[tokio::test]
async fn tokens_that_are_over_are_purged() {
    use tower_jwt_auth::store::port::{NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken};

    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let minute = Duration::from_secs(60);
    for lifetime in [minute, minute, 2 * minute] {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, "ada", lifetime);
        store.issue(new).await.unwrap();
    }
    clock.advance(minute - Duration::from_millis(1));
    assert_eq!(store.purge(10).await.unwrap(), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.purge(1).await.unwrap(), 1);
    assert_eq!(store.purge(10).await.unwrap(), 1);
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u27_a_link_works_once_on_both_nodes() {
    let store = MemoryStore::new();
    mails::a_link_works_once_on_both_nodes([store.clone(), store]).await;
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn u29_mails_to_one_address_are_limited_on_both_nodes() {
    let store = MemoryStore::new();
    mails::mails_to_one_address_are_limited_on_both_nodes([store.clone(), store]).await;
}

#[cfg(feature = "totp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u24_u33_second_factors_hold_on_two_nodes() {
    let store = AnyStore::open("memory:").await.unwrap();
    super::factors::second_factors_hold_on_both([store.clone(), store]).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u34_nothing_of_another_person_outlives_the_take_over() {
    super::take_over::nothing_of_another_person_outlives_the_take_over(MemoryStore::new()).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u24_u25_u27_u32_u33_u39_u46_every_token_works_once_on_both_nodes() {
    let store = MemoryStore::new();
    super::tokens::every_token_works_once_on_both_nodes([store.clone(), store]).await;
}

#[cfg(feature = "aws-lc-rs")]
super::credentials::credentials!([] MemoryStore::new() => MemoryStore::clone);
