//! In PostgreSQL.

use std::time::Duration;

use sqlx::{Row, postgres::PgRow};
use tower_jwt_auth::{
    server::login::{ThrottleKey, ThrottleRow},
    store::{
        PostgresStore,
        contract::{Fixture, Handles, ThrottleFixture},
    },
    time::Timestamp,
};

use super::{contracts, nodes};
use crate::{patient::Patient, postgres::Nodes};

impl Handles for Nodes {
    type Store = Patient<PostgresStore>;

    fn store(&self) -> Patient<PostgresStore> {
        Fixture::store(self)
    }
}

impl ThrottleFixture for Nodes {
    type Store = Patient<PostgresStore>;

    fn store(&self) -> Patient<PostgresStore> {
        Fixture::store(self)
    }

    async fn now(&self) -> Timestamp {
        let now = "SELECT CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS bigint)";
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

fn counter(row: &PgRow) -> ThrottleRow {
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

contracts!([#[ignore = "needs PostgreSQL"]] crate::postgres::Nodes::start().await);

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_lockout_holds_across_two_nodes() {
    let nodes = Nodes::start().await;
    nodes::lockout_holds_across_both(nodes.stores.clone()).await;
}
