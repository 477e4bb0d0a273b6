//! In Redis.

use tower_jwt_auth::{
    server::login::PasswordHash,
    store::{
        RedisStore,
        contract::{Fixture, Handles},
        port::{
            NewUser, OneTimePurpose, OneTimeStore, ThrottleKey, ThrottleRow, ThrottleStore,
            UserStore,
        },
    },
};

#[cfg(feature = "aws-lc-rs")]
use super::mails;
use super::{contracts, nodes};
use crate::redis::server::Redis;
use crate::support::redis::{DURABLE, FORGETFUL, Server};

impl Handles for Redis {
    type Store = RedisStore;

    fn store(&self) -> RedisStore {
        Fixture::store(self)
    }
}

fn name_of(key: &ThrottleKey) -> String {
    let hex: String = key
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{{auth}}:t:{hex}")
}

contracts!(
    [#[ignore = "needs redis-server"]]
    crate::redis::server::Redis::start(crate::support::redis::FORGETFUL).await
);

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_lockout_holds_across_two_nodes() {
    let server = Server::start(FORGETFUL).await;
    nodes::lockout_holds_across_both([server.store(), server.store()]).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn u13_the_server_does_not_tell_which_names_were_tried() {
    let server = Server::start(FORGETFUL).await;
    nodes::lockout_holds_across_both([server.store(), server.store()]).await;
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await.unwrap();
    assert!(keys.iter().any(|key| key.starts_with("{auth}:t:")));
    for text in ["nobody", "192.0.2.1", "wrong"] {
        assert!(!keys.iter().any(|key| key.contains(text)), "{keys:?}");
    }
    for key in keys.iter().filter(|key| key.starts_with("{auth}:t:")) {
        let state: String = server.ask(&["GET", key]).await.unwrap();
        let plain = |c: char| c.is_ascii_digit() || c == ':';
        assert!(state.chars().all(plain), "{state}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn counters_expire_by_themselves() {
    let server = Server::start(FORGETFUL).await;
    let (store, key) = (server.store(), ThrottleKey::from_bytes([1; 16]));
    let now = store.load(&key).await.unwrap().now.as_millis();
    let row = |expiry: i64| ThrottleRow::from_text(&format!("1:1:0:0:0:0:0:{expiry}")).unwrap();
    let [first, second] = [900_000, 1_800_000].map(|lifetime| row(now + lifetime));
    let expiry = || async {
        server
            .ask::<i64>(&["PEXPIRETIME", &name_of(&key)])
            .await
            .unwrap()
    };
    assert!(store.swap(&key, None, Some(&first)).await.unwrap());
    assert_eq!(expiry().await, now + 900_000);
    assert!(store.swap(&key, Some(&first), Some(&second)).await.unwrap());
    assert_eq!(expiry().await, now + 1_800_000);
    assert!(
        store
            .swap(&key, Some(&second), Some(&row(now)))
            .await
            .unwrap()
    );
    assert_eq!(store.load(&key).await.unwrap().row, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn u3_u4_guesses_on_four_nodes_leave_room_for_the_owner() {
    let server = Server::start(FORGETFUL).await;
    nodes::guesses_leave_room_for_the_owner(std::array::from_fn(|_| server.store())).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn users_survive_a_crash_of_a_server_that_writes_all() {
    let mut server = Server::start(DURABLE).await;
    let identifier = tower_jwt_auth::server::login::Identifier::new("ada").unwrap();
    let user = NewUser::new(
        "user-1",
        identifier.clone(),
        PasswordHash::new("$hash".to_owned()),
    );
    assert!(UserStore::create(&server.store(), user).await.unwrap());
    server.kill();
    server.restart().await;
    let found = UserStore::find(&server.store(), &identifier).await.unwrap();
    assert_eq!(found.map(|user| user.subject).as_deref(), Some("user-1"));
    server
        .store()
        .forget("user-1", OneTimePurpose::Reset)
        .await
        .unwrap();
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn u27_a_link_works_once_on_both_nodes() {
    let server = Server::start(FORGETFUL).await;
    mails::a_link_works_once_on_both_nodes([server.store(), server.store()]).await;
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
#[ignore = "needs redis-server"]
async fn u29_mails_to_one_address_are_limited_on_both_nodes() {
    let server = Server::start(FORGETFUL).await;
    mails::mails_to_one_address_are_limited_on_both_nodes([server.store(), server.store()]).await;
}

#[cfg(feature = "totp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn u24_u33_second_factors_hold_on_two_nodes() {
    let server = Server::start(FORGETFUL).await;
    super::factors::second_factors_hold_on_both([server.store(), server.store()]).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn u34_nothing_of_another_person_outlives_the_take_over() {
    let server = Server::start(FORGETFUL).await;
    super::take_over::nothing_of_another_person_outlives_the_take_over(server.store()).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn u24_u25_u27_u32_u33_u39_u46_every_token_works_once_on_both_nodes() {
    let server = Server::start(FORGETFUL).await;
    let stores = [server.store(), server.store()];
    super::tokens::every_token_works_once_on_both_nodes(stores).await;
}

#[cfg(feature = "aws-lc-rs")]
super::credentials::credentials!([#[ignore = "needs redis-server"]] Server::start(FORGETFUL).await => |server: &Server| server.store());
