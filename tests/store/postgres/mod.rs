//! PostgreSQL, a real one that the tests start.

mod crowd;
mod faults;
mod feed;
#[cfg(feature = "axum")]
mod users_table;

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sqlx::PgPool;
use tower_jwt_auth::{
    principal::SessionId,
    store::{
        contract::Fixture,
        postgres::{PostgresFeed, PostgresStore},
    },
};

use crate::{
    patient::Patient,
    rows::{SHIFT, append_ended},
    support::postgres::Server,
};

/// Two stores, as two nodes have.
pub(crate) struct Nodes {
    pub(crate) stores: [PostgresStore; 2],
    pub(crate) pool: PgPool,
    turn: std::sync::atomic::AtomicUsize,
    // The last one, so that connections are closed before it stops.
    server: Arc<Server>,
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let server = Server::shared();
        let url = server.url();
        Self::on(server, &url).await
    }

    /// In a schema of their own.
    pub(crate) async fn alone() -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let server = Server::shared();
        let (url, _) = feed::in_schema(&server, &format!("alone_{number}")).await;
        Self::on(server, &url).await
    }

    async fn on(server: Arc<Server>, url: &str) -> Self {
        // At once, so that they meet in the migration.
        let (one, two) = tokio::join!(PostgresStore::open(url), PostgresStore::open(url));
        Self {
            stores: [one.unwrap(), two.unwrap()],
            pool: PgPool::connect(url).await.unwrap(),
            turn: Default::default(),
            server,
        }
    }
}

#[cfg(feature = "server")]
impl Nodes {
    /// Two more stores on the database of [`start`](Self::start).
    pub(crate) async fn four(&self) -> [PostgresStore; 4] {
        let [one, two] = self.stores.clone();
        let url = self.server.url();
        let [three, four] = [
            PostgresStore::open(&url).await,
            PostgresStore::open(&url).await,
        ];
        [one, two, three.unwrap(), four.unwrap()]
    }
}

impl Server {
    /// The one that the tests share while one of them runs.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }
}

impl Fixture for Nodes {
    type Store = Patient<PostgresStore>;
    type Feed = PostgresFeed;

    fn store(&self) -> Patient<PostgresStore> {
        let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Patient(self.stores[turn % 2].clone())
    }

    fn feed(&self) -> PostgresFeed {
        self.store().0.feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        age(&self.pool, id, by).await;
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        shift(&self.pool, id, i64::try_from(by.as_millis()).unwrap()).await;
    }
}

pub(crate) async fn age(pool: &PgPool, id: SessionId, by: Duration) {
    shift(pool, id, -i64::try_from(by.as_millis()).unwrap()).await;
}

async fn shift(pool: &PgPool, id: SessionId, millis: i64) {
    sqlx::query(SHIFT)
        .bind(id.as_bytes().as_slice())
        .bind(millis)
        .execute(pool)
        .await
        .unwrap();
}

mod contract {
    tower_jwt_auth::session_store_contract!(
        #[ignore = "needs PostgreSQL"]
        super::Nodes::start().await
    );
    tower_jwt_auth::guest_store_contract!(
        #[ignore = "needs PostgreSQL"]
        super::Nodes::alone().await
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn an_append_removes_revocations_that_have_ended() {
    let nodes = Nodes::alone().await;
    append_ended(&nodes.stores[0]).await;
    let left = sqlx::query_scalar("SELECT key FROM auth_revocation");
    let left: Vec<String> = left.fetch_all(&nodes.pool).await.unwrap();
    assert_eq!(left, ["alive"]);
}
