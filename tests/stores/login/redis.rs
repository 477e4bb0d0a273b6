//! In Redis.

use std::time::Duration;

use tower_jwt_auth::{
    server::login::{PasswordHash, ThrottleKey, ThrottleRow, ThrottleRule},
    store::{
        RedisStore,
        contract::{Fixture, Handles, ThrottleFixture},
        port::{
            AttemptOutcome, NewUser, OneTimePurpose, OneTimeStore, Reserve, ThrottleStore,
            UserStore,
        },
    },
    time::Timestamp,
};

use super::{contracts, nodes};
use crate::redis::server::{DURABLE, FORGETFUL, Redis, Server};

impl Handles for Redis {
    type Store = RedisStore;

    fn store(&self) -> RedisStore {
        Fixture::store(self)
    }
}

const TIMES: [&str; 4] = ["batch", "open_until", "blocked_until", "forgotten_at"];

fn name_of(key: &ThrottleKey) -> String {
    let hex: String = key
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{{auth}}:t:{hex}")
}

impl ThrottleFixture for Redis {
    type Store = RedisStore;

    fn store(&self) -> RedisStore {
        Fixture::store(self)
    }

    async fn now(&self) -> Timestamp {
        let (seconds, micros): (i64, i64) = self.server.ask(&["TIME"]).await.unwrap();
        Timestamp::from_millis(seconds * 1000 + micros / 1000)
    }

    async fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        let name = name_of(key);
        let mut words = vec!["HMGET", &name, "failures", "open"];
        words.extend(TIMES);
        let fields: Vec<Option<i64>> = self.server.ask(&words).await.unwrap();
        let field = |at: usize| fields[at].unwrap_or_default();
        let mut counter = ThrottleRow::default();
        counter.failures = field(0).try_into().unwrap();
        counter.open = field(1).try_into().unwrap();
        counter.batch = Timestamp::from_millis(field(2));
        counter.open_until = Timestamp::from_millis(field(3));
        counter.blocked_until = Timestamp::from_millis(field(4));
        counter.forgotten_at = Timestamp::from_millis(field(5));
        counter
    }

    async fn age(&self, key: &ThrottleKey, by: Duration) {
        let name = name_of(key);
        // -0 is no number to Redis.
        if by.is_zero() {
            return;
        }
        if self.server.ask::<u8>(&["EXISTS", &name]).await.unwrap() == 0 {
            return;
        }
        let less = format!("-{}", by.as_millis());
        for time in TIMES {
            let _: i64 = self
                .server
                .ask(&["HINCRBY", &name, time, &less])
                .await
                .unwrap();
        }
        let end: i64 = self.server.ask(&["PEXPIRETIME", &name]).await.unwrap();
        let end = end - i64::try_from(by.as_millis()).unwrap();
        let _: u8 = self
            .server
            .ask(&["PEXPIREAT", &name, &end.to_string()])
            .await
            .unwrap();
    }
}

contracts!(
    [#[ignore = "needs redis-server"]]
    crate::redis::server::Redis::start(crate::redis::server::FORGETFUL).await
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
        let fields: Vec<String> = server.ask(&["HKEYS", key]).await.unwrap();
        assert_eq!(fields.len(), 6, "{fields:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn counters_go_by_themselves() {
    let server = Server::start(FORGETFUL).await;
    let (store, rule) = (server.store(), ThrottleRule::PAIR);
    let key = ThrottleKey::from_bytes([1; 16]);
    let left = || async { server.ask::<i64>(&["PTTL", &name_of(&key)]).await.unwrap() / 1000 };
    let Reserve::Granted(reservation) = store.reserve(&key, &rule).await.unwrap() else {
        panic!("the first attempt is let through");
    };
    assert!(
        (900..=910).contains(&left().await),
        "ten seconds, and a memory"
    );
    store
        .settle(reservation, AttemptOutcome::Failed)
        .await
        .unwrap();
    assert!((890..=900).contains(&left().await));
    let Reserve::Granted(reservation) = store.reserve(&key, &rule).await.unwrap() else {
        panic!("the second attempt is let through");
    };
    store
        .settle(reservation, AttemptOutcome::Succeeded)
        .await
        .unwrap();
    let there: u8 = server.ask(&["EXISTS", &name_of(&key)]).await.unwrap();
    assert_eq!(there, 0, "a success leaves nothing");
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
