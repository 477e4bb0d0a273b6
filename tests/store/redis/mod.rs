//! Sessions in Redis: the contract, what a server's restarts and failures leave, a cluster.

mod cluster;
mod faults;
mod replay;
pub(crate) mod server;

use std::time::Duration;

use tower_jwt_auth::{
    ConfigError, Principal,
    principal::SessionId,
    revocation::{RevocationCheck, RevocationSet},
    server::refresh::machine::rotate,
    store::{
        RedisStore,
        port::{
            NewOneTime, NewSessionRecord, OneTimePurpose, OneTimeStore, OneTimeToken, RevokeReason,
            SessionStore,
        },
    },
};

use crate::support::redis::{FORGETFUL, Server};

mod contract {
    use crate::redis::server::Redis;
    use crate::support::redis::FORGETFUL;

    tower_jwt_auth::session_store_contract!(
        #[ignore = "needs redis-server"]
        Redis::start(FORGETFUL).await
    );
    tower_jwt_auth::guest_store_contract!(
        #[ignore = "needs redis-server"]
        Redis::start(FORGETFUL).await
    );
}

fn session(number: u8) -> NewSessionRecord {
    NewSessionRecord::new(SessionId::from_bytes([number; 16]), "alice", DAY, 30 * DAY)
}

fn caller(id: SessionId) -> Principal {
    let builder = Principal::builder().subject("alice");
    builder.session_id(&id.to_string()).epoch(0).build()
}

async fn loaded(store: &RedisStore) -> RevocationSet {
    let set = store.revocations().unwrap();
    assert!(set.loaded(MINUTE).await);
    assert!(set.is_ready());
    set
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Anonymous users begin flows, as many as they like, all with one name.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn u46_the_tokens_of_flows_are_in_no_list() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    let lists = async || {
        let keys: Vec<String> = server.ask(&["KEYS", "{auth}:y:*"]).await.unwrap();
        keys
    };
    let token = OneTimeToken::mint();
    let new = |purpose| NewOneTime::new(&token, purpose, "oidc", DAY);
    store.issue(new(OneTimePurpose::Flow)).await.unwrap();
    assert_eq!(lists().await, [""; 0]);
    let redeemed = store.redeem(token.digest(), OneTimePurpose::Flow).await;
    assert!(redeemed.unwrap().is_some());

    store.issue(new(OneTimePurpose::Reset)).await.unwrap();
    let [list] = &lists().await[..] else {
        panic!("a subject has a list of its tokens");
    };
    // One script does not remove any number of tokens that expired together.
    for token in 0..250 {
        let add = ["ZADD", list, "1", &token.to_string()];
        let _: u8 = server.ask(&add).await.unwrap();
    }
    let another = OneTimeToken::mint();
    let new = NewOneTime::new(&another, OneTimePurpose::Reset, "oidc", DAY);
    store.issue(new).await.unwrap();
    let left: usize = server.ask(&["ZCARD", list]).await.unwrap();
    assert_eq!(left, 250 - 100 + 2);
}

/// The trim of whole blocks leaves up to 100 entries.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn t11_old_news_are_deleted() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    let news = "{auth}:news";
    for entry in 1..=250 {
        let add = ["XADD", news, &format!("1-{entry}"), "target", "s"];
        let _: String = server.ask(&add).await.unwrap();
    }
    store
        .revoke_all("alice", RevokeReason::Logout)
        .await
        .unwrap();
    while store.purge(100).await.unwrap() > 0 {}
    let left: usize = server.ask(&["XLEN", news]).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn keys_go_by_themselves() {
    let server = Server::start(FORGETFUL).await;
    let store = server.store();
    let id = session(1).id;
    let key = format!("{{auth}}:s:{id}");
    let left = || async {
        let left: u64 = server.ask(&["PTTL", &key]).await.unwrap();
        Duration::from_millis(left).as_secs_f64() / DAY.as_secs_f64()
    };
    store.create(session(1)).await.unwrap();
    assert!(
        (1.99..=2.0).contains(&left().await),
        "a day unused, and a day"
    );
    server.age(id, DAY / 2).await.unwrap();
    assert!((1.49..=1.5).contains(&left().await));
    let policy = tower_jwt_auth::server::refresh::RefreshPolicy::browser();
    rotate(&store, id, 0, policy).await.unwrap();
    let used = left().await;
    assert!(
        (2.03..=2.05).contains(&used),
        "an hour is for the refreshes that follow"
    );
    server.age(id, Duration::from_secs(1800)).await.unwrap();
    rotate(&store, id, 1, policy).await.unwrap();
    let again = left().await;
    assert!(again < used, "within the hour it is not moved");
    assert!(again >= 2.0, "and not before a day after the end");

    let mut long = session(2);
    long.idle = 30 * DAY;
    let key = format!("{{auth}}:s:{}", long.id);
    store.create(long).await.unwrap();
    let id = session(2).id;
    store.revoke(id, RevokeReason::Logout).await.unwrap();
    let left: u64 = server.ask(&["PTTL", &key]).await.unwrap();
    assert!(left <= 7 * 24 * 3600 * 1000, "a week after it was revoked");
    let index: u64 = server.ask(&["PTTL", "{auth}:i:alice"]).await.unwrap();
    assert!(
        index > 29 * 24 * 3600 * 1000,
        "as long as the longest session"
    );
    let live: Vec<String> = server
        .ask(&["ZRANGE", "{auth}:i:alice", "0", "-1"])
        .await
        .unwrap();
    assert_eq!(
        live,
        [session(1).id.to_string()],
        "an ended session leaves it"
    );
}

#[test]
fn no_password_is_printed() {
    let store = RedisStore::new("redis://user:hunter2@127.0.0.1:1/0").unwrap();
    assert!(!format!("{store:?} {:?}", store.feed()).contains("hunter2"));
    for url in [
        "redis://:hunter2@host:notaport/",
        "redis//:hunter2@host",
        "http://:hunter2@host",
        "rediss://:hunter2@host",
    ] {
        let error = RedisStore::new(url).unwrap_err();
        assert!(matches!(error, ConfigError::Invalid { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
    for prefix in ["", "a{b", "}"] {
        assert!(RedisStore::with_prefix("redis://127.0.0.1", prefix).is_err());
    }
}
