//! In an SQLite file.

use std::time::Duration;

use sqlx::Row;
use tower_jwt_auth::store::{
    SqliteStore,
    contract::{Fixture, Handles},
    port::{
        NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken, SessionStore, ThrottleKey,
        ThrottleRow, ThrottleStore,
    },
};

#[cfg(feature = "aws-lc-rs")]
use super::mails;
use super::{contracts, nodes};
use crate::{patient::Patient, sqlite::Nodes};

impl Handles for Nodes {
    type Store = Patient<SqliteStore>;

    fn store(&self) -> Patient<SqliteStore> {
        Fixture::store(self)
    }
}

contracts!([] crate::sqlite::Nodes::start().await);

#[tokio::test]
async fn the_lockout_holds_across_two_processes() {
    let nodes = Nodes::start().await;
    nodes::lockout_holds_across_both(nodes.stores.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u3_u4_guesses_on_four_nodes_leave_room_for_the_owner() {
    let nodes = Nodes::start().await;
    nodes::guesses_leave_room_for_the_owner(nodes.four().await).await;
}

#[tokio::test]
async fn counters_and_tokens_that_have_expired_are_purged() {
    let nodes = Nodes::start().await;
    let store = &nodes.stores[0];
    let minute = Duration::from_secs(60);
    for (number, lifetime) in [(1, Duration::ZERO), (2, minute)] {
        let key = ThrottleKey::from_bytes([number; 16]);
        let expiry = ThrottleStore::load(store, &key)
            .await
            .unwrap()
            .now
            .plus(lifetime)
            .as_millis();
        let row = ThrottleRow::from_text(&format!("1:1:0:0:0:0:0:{expiry}")).unwrap();
        assert!(store.swap(&key, None, Some(&row)).await.unwrap());
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, OneTimePurpose::Reset, "ada", lifetime);
        store.issue(new).await.unwrap();
    }
    assert_eq!(store.purge(10).await.unwrap(), 2, "a counter and a token");
    assert_eq!(store.purge(10).await.unwrap(), 0);
    sqlx::query("UPDATE auth_throttle SET kept_until = kept_until - 60000")
        .execute(&nodes.pool)
        .await
        .unwrap();
    assert_eq!(store.purge(10).await.unwrap(), 1);
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
        let state: String = row.get("state");
        let plain = |c: char| c.is_ascii_digit() || c == ':';
        assert!(state.chars().all(plain), "{state}");
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

#[cfg(feature = "aws-lc-rs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u27_a_link_works_once_on_both_nodes() {
    let nodes = Nodes::start().await;
    mails::a_link_works_once_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn u29_mails_to_one_address_are_limited_on_both_nodes() {
    let nodes = Nodes::start().await;
    mails::mails_to_one_address_are_limited_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "totp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u24_u33_second_factors_hold_on_two_nodes() {
    let nodes = Nodes::start().await;
    super::factors::second_factors_hold_on_both(nodes.stores.clone()).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u34_nothing_of_another_person_outlives_the_take_over() {
    let nodes = Nodes::start().await;
    super::take_over::nothing_of_another_person_outlives_the_take_over(nodes.stores[0].clone())
        .await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u24_u25_u27_u32_u33_u39_u46_every_token_works_once_on_both_nodes() {
    let nodes = Nodes::start().await;
    super::tokens::every_token_works_once_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "aws-lc-rs")]
super::credentials::credentials!([] Nodes::start().await => |nodes: &Nodes| nodes.stores[0].clone());
