//! How nodes learn of what was revoked.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tower_jwt_auth::{
    revocation::{Feed, RevocationSet},
    store::{
        port::{RevokeReason, SessionStore},
        postgres::PostgresStore,
    },
};

use crate::rows::{holder, start};
use crate::support::postgres::Server;

/// In a schema of its own, which the URL names.
pub(super) async fn in_schema(server: &Server, name: &str) -> (String, PgConnection) {
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let create = format!("CREATE SCHEMA {name}");
    let create = sqlx::raw_sql(sqlx::AssertSqlSafe(create));
    create.execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let url = format!("{}?options=-csearch_path%3D{name}", server.url());
    let connection = PgConnection::connect(&url).await.unwrap();
    (url, connection)
}

async fn silence(connection: &mut PgConnection) {
    sqlx::raw_sql("ALTER TABLE auth_revocation DISABLE TRIGGER auth_revocation_notify")
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn t11_another_node_refuses_soon() {
    let server = Server::shared();
    let (url, mut connection) = in_schema(&server, "t11").await;
    let [one, two] = [
        PostgresStore::open(&url).await.unwrap(),
        PostgresStore::open(&url).await.unwrap(),
    ];
    for (how, rounds) in [("by push", 20), ("by poll alone", 5)] {
        let set = two.revocations().unwrap();
        assert!(set.loaded(Duration::from_secs(60)).await);
        let mut longest = Duration::ZERO;
        for _ in 0..rounds {
            let id = start(&one, "t11").await;
            assert!(one.revoke(id, RevokeReason::Logout).await.unwrap());
            let revoked = Instant::now();
            while !set.contains(&holder(id)) {
                assert!(revoked.elapsed() < Duration::from_secs(60), "{how}: never");
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            longest = longest.max(revoked.elapsed());
        }
        println!("{how}: refused on another node after {longest:?} at most of {rounds}");
        silence(&mut connection).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn t11_a_revocation_that_commits_late_is_not_missed() {
    let server = Server::shared();
    let (url, mut late) = in_schema(&server, "late").await;
    let store = PostgresStore::open(&url).await.unwrap();
    silence(&mut late).await;
    let [first, second] = [start(&store, "late").await, start(&store, "late").await];

    let set = RevocationSet::local();
    let mut feed = store.feed();
    // Written before the feed loads, and before a later one is seen; committed after both.
    let mut transaction = late.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO auth_revocation (kind, key, \"until\", at)
         VALUES (1, $1, (extract(epoch FROM now()) * 1000)::bigint + 2100000, 0)",
    )
    .bind(first.to_string())
    .execute(&mut *transaction)
    .await
    .unwrap();
    feed.load(&set).await.unwrap();
    store.revoke(second, RevokeReason::Logout).await.unwrap();
    feed.next(&set).await.unwrap();
    assert!(set.contains(&holder(second)));
    feed.next(&set).await.unwrap();
    assert!(!set.contains(&holder(first)));
    transaction.commit().await.unwrap();
    feed.next(&set).await.unwrap();
    assert!(set.contains(&holder(first)));
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn t11_more_than_a_page_is_loaded() {
    let server = Server::shared();
    let (url, mut connection) = in_schema(&server, "pages").await;
    let store = PostgresStore::open(&url).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO auth_revocation (kind, key, \"until\", at)
         SELECT 1, 's' || n, (extract(epoch FROM now()) * 1000)::bigint + 2100000, 0
         FROM generate_series(1, 12345) n",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let set = RevocationSet::local();
    store.feed().load(&set).await.unwrap();
    assert_eq!(set.len(), 12_345);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn who_serves_needs_no_more_than_the_rows() {
    let server = Server::shared();
    let (url, mut owner) = in_schema(&server, "rights").await;
    PostgresStore::open(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE ROLE server LOGIN; GRANT USAGE ON SCHEMA rights TO server;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rights TO server",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let url = url.replace("postgres@", "server@");
    let store = PostgresStore::open(&url).await.unwrap();
    let id = start(&store, "rights").await;
    assert!(store.revoke(id, RevokeReason::Logout).await.unwrap());
    store
        .revoke_all("rights", RevokeReason::Logout)
        .await
        .unwrap();
    store.purge(10).await.unwrap();
    let set = RevocationSet::local();
    store.feed().load(&set).await.unwrap();
    assert!(set.contains(&holder(id)));

    // Newer tables are nothing that an older server may touch.
    sqlx::raw_sql("INSERT INTO auth_schema VALUES (9999)")
        .execute(&mut owner)
        .await
        .unwrap();
    let refused = PostgresStore::open(&url).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        tower_jwt_auth::error::StoreErrorKind::Invalid
    );
}
