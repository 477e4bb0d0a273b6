//! In an SQLite file.

use std::time::Duration;

use sqlx::{Row, sqlite::SqliteRow};
use tower_jwt_auth::{
    server::login::{ThrottleKey, ThrottleRow, ThrottleRule},
    store::{
        SqliteStore,
        contract::{Fixture, Handles, ThrottleFixture},
        port::{
            AttemptOutcome, NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken, Reserve,
            SessionStore, ThrottleStore,
        },
    },
    time::Timestamp,
};

use super::{contracts, nodes};
use crate::{patient::Patient, sqlite::Nodes};

impl Handles for Nodes {
    type Store = Patient<SqliteStore>;

    fn store(&self) -> Patient<SqliteStore> {
        Fixture::store(self)
    }
}

impl ThrottleFixture for Nodes {
    type Store = Patient<SqliteStore>;

    fn store(&self) -> Patient<SqliteStore> {
        Fixture::store(self)
    }

    async fn now(&self) -> Timestamp {
        let now = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";
        let now = sqlx::query_scalar(now).fetch_one(&self.pool).await;
        Timestamp::from_millis(now.unwrap())
    }

    async fn row(&self, key: &ThrottleKey) -> ThrottleRow {
        let row = sqlx::query("SELECT * FROM auth_throttle WHERE key = $1")
            .bind(key.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await
            .unwrap();
        row.map_or_else(ThrottleRow::default, |row| counter(&row))
    }

    async fn age(&self, key: &ThrottleKey, by: Duration) {
        sqlx::query(
            "UPDATE auth_throttle SET batch = batch - $2, open_until = open_until - $2,
               blocked_until = blocked_until - $2, forgotten_at = forgotten_at - $2,
               kept_until = kept_until - $2 WHERE key = $1",
        )
        .bind(key.as_bytes().as_slice())
        .bind(i64::try_from(by.as_millis()).unwrap())
        .execute(&self.pool)
        .await
        .unwrap();
    }
}

fn counter(row: &SqliteRow) -> ThrottleRow {
    let time = |name: &str| Timestamp::from_millis(row.get(name));
    let mut counter = ThrottleRow::default();
    counter.failures = row.get::<i64, _>("failures").try_into().unwrap();
    counter.open = row.get::<i64, _>("open").try_into().unwrap();
    counter.batch = time("batch");
    counter.open_until = time("open_until");
    counter.blocked_until = time("blocked_until");
    counter.forgotten_at = time("forgotten_at");
    counter
}

contracts!([] crate::sqlite::Nodes::start().await);

#[tokio::test]
async fn the_lockout_holds_across_two_processes() {
    let nodes = Nodes::start().await;
    nodes::lockout_holds_across_both(nodes.stores.clone()).await;
}

#[tokio::test]
async fn counters_and_tokens_that_say_nothing_any_more_are_purged() {
    let nodes = Nodes::start().await;
    let store = &nodes.stores[0];
    let (minute, rule) = (Duration::from_secs(60), ThrottleRule::PAIR);
    let keys = [1, 2, 3].map(|number| ThrottleKey::from_bytes([number; 16]));
    let outcomes = [
        Some(AttemptOutcome::Succeeded),
        Some(AttemptOutcome::Failed),
        None,
    ];
    for (key, outcome) in keys.iter().zip(outcomes) {
        let Reserve::Granted(reservation) = store.reserve(key, &rule).await.unwrap() else {
            panic!("the first attempt is let through");
        };
        if let Some(outcome) = outcome {
            store.settle(reservation, outcome).await.unwrap();
        }
    }
    for lifetime in [Duration::ZERO, minute] {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, "ada", lifetime);
        store.issue(new).await.unwrap();
    }
    assert_eq!(store.purge(10).await.unwrap(), 2, "the success, one token");
    for (key, hold) in [(&keys[1], Duration::ZERO), (&keys[2], rule.hold)] {
        ThrottleFixture::age(&nodes, key, rule.memory + hold - minute).await;
        assert_eq!(store.purge(10).await.unwrap(), 0);
        ThrottleFixture::age(&nodes, key, minute).await;
        assert_eq!(store.purge(10).await.unwrap(), 1);
    }
}

/// What is kept of a name that somebody tried to sign in with.
#[tokio::test]
async fn u13_the_file_does_not_tell_which_names_were_tried() {
    let nodes = Nodes::start().await;
    nodes::lockout_holds_across_both(nodes.stores.clone()).await;
    let rows = sqlx::query("SELECT * FROM auth_throttle").fetch_all(&nodes.pool);
    let rows = rows.await.unwrap();
    assert!(rows.len() >= 4);
    for row in &rows {
        let key: Vec<u8> = row.get("key");
        assert_eq!(key.len(), 16);
    }
    // Nor does an index, or the journal: of the one who is nobody there is no trace at all.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&nodes.pool)
        .await
        .unwrap();
    let file: String = sqlx::query_scalar("SELECT file FROM pragma_database_list LIMIT 1")
        .fetch_one(&nodes.pool)
        .await
        .unwrap();
    let holds = |text: &str| {
        ["", "-wal"].iter().any(|end| {
            let bytes = std::fs::read(format!("{file}{end}")).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    };
    assert!(holds("ada@example.org"), "the table of users has her");
    assert!(!holds("nobody@example.org") && !holds("192.0.2.1") && !holds("wrong"));
    // A digest without the key would be found by whoever tries all names.
    use sha2::Digest;
    for name in ["ada@example.org", "nobody@example.org"] {
        let digest = sha2::Sha256::digest(name);
        for row in &rows {
            assert_ne!(row.get::<Vec<u8>, _>("key"), digest[..16]);
        }
    }
}
