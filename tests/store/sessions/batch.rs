//! Refreshes that queue share one statement. Each rule holds for the callers one by one, on both SQL
//! stores.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{task::JoinHandle, time};
use tower_jwt_auth::{
    error::{StoreError, StoreErrorKind},
    principal::SessionId,
    store::{
        AnyStore,
        port::{LoadedSession, SessionStore},
    },
};

use super::place::{Kind, Place};
use crate::rows::start;

type Advanced = Result<Option<LoadedSession>, StoreError>;

/// Advances a session from its first generation.
fn advance(store: &AnyStore, id: SessionId) -> JoinHandle<Advanced> {
    let store = store.clone();
    tokio::spawn(async move { store.advance_live(id, 0, Duration::ZERO, None).await })
}

async fn start_many(store: &AnyStore, number: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(start(store, "batched").await);
    }
    ids
}

async fn generation(store: &AnyStore, id: SessionId) -> u64 {
    let loaded = SessionStore::load(store, id).await.unwrap().unwrap();
    loaded.session.family.generation
}

/// Runs SQL on the database of the store.
async fn run(place: &Place, sql: &'static str) {
    match &place.kind {
        Kind::Sqlite { pool, .. } => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        Kind::Postgres { pool, .. } => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        _ => panic!("not an SQL store"),
    }
}

/// Blocks all writes of sessions until it is dropped.
enum Blocked {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Blocked {
    async fn in_place(place: &Place) -> Self {
        match &place.kind {
            Kind::Sqlite { pool, .. } => {
                Self::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.unwrap())
            }
            Kind::Postgres { pool, .. } => {
                let mut transaction = pool.begin().await.unwrap();
                let lock = sqlx::raw_sql("LOCK TABLE auth_session IN EXCLUSIVE MODE");
                lock.execute(&mut *transaction).await.unwrap();
                Self::Postgres(transaction)
            }
            _ => panic!("not an SQL store"),
        }
    }

    async fn end(self) {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await.unwrap(),
            Self::Postgres(transaction) => transaction.rollback().await.unwrap(),
        }
    }
}

const CALLERS: usize = 20;

/// Time for the tasks to reach the store.
const SETTLED: Duration = Duration::from_millis(200);

async fn t17_callers_with_one_session_advance_it_once(place: Place) {
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    let calls = (0..CALLERS).flat_map(|_| ids.iter().map(|id| (*id, advance(&store, *id))));
    let mut advanced = Vec::new();
    for (id, call) in calls.collect::<Vec<_>>() {
        if let Some(loaded) = call.await.unwrap().unwrap() {
            assert_eq!(
                (loaded.session.id, loaded.session.family.generation),
                (id, 1)
            );
            advanced.push(id);
        }
    }
    advanced.sort();
    let mut expected = ids;
    expected.sort();
    assert_eq!(advanced, expected);
}

async fn t17_a_failed_statement_fails_all_of_its_callers(place: Place) {
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    run(
        &place,
        "ALTER TABLE auth_session RENAME COLUMN reissues TO other",
    )
    .await;
    let calls = join_all(ids.iter().map(|id| advance(&store, *id))).await;
    for call in calls {
        assert_eq!(call.unwrap().unwrap_err().kind(), StoreErrorKind::Invalid);
    }
    run(
        &place,
        "ALTER TABLE auth_session RENAME COLUMN other TO reissues",
    )
    .await;
    let calls = join_all(ids.iter().map(|id| advance(&store, *id))).await;
    for call in calls {
        let loaded = call.unwrap().unwrap().unwrap();
        assert_eq!(loaded.session.family.generation, 1);
    }
}

/// The first caller runs its statement itself, and the others are one batch.
async fn t17_a_cancelled_caller_takes_no_other_with_it(place: Place) {
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    let blocked = Blocked::in_place(&place).await;
    let calls: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
    time::sleep(SETTLED).await;
    for call in calls.iter().step_by(5) {
        call.abort();
    }
    time::sleep(SETTLED).await;
    blocked.end().await;
    for (number, call) in calls.into_iter().enumerate() {
        let id = ids[number];
        match call.await {
            Err(cancelled) => assert!(cancelled.is_cancelled() && number.is_multiple_of(5)),
            Ok(advanced) => assert!(advanced.unwrap().is_some(), "caller {number}"),
        }
        assert!(generation(&store, id).await <= 1);
    }
    // The queue still has a runner.
    let fresh = start(&store, "batched").await;
    assert!(advance(&store, fresh).await.unwrap().unwrap().is_some());
}

/// A thief presents a spent token while the owner's refresh queues and is cancelled.
async fn t17_a_result_goes_to_no_caller_with_another_token(place: Place) {
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    let stolen = start(&store, "batched").await;
    let blocked = Blocked::in_place(&place).await;
    let others: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
    time::sleep(SETTLED / 20).await;
    let owner = advance(&store, stolen);
    time::sleep(SETTLED / 20).await;
    let thief = {
        let store = store.clone();
        tokio::spawn(async move { store.advance_live(stolen, 7, Duration::ZERO, None).await })
    };
    let key = {
        let store = store.clone();
        tokio::spawn(async move {
            let key = Some("another key");
            store.advance_live(stolen, 0, Duration::ZERO, key).await
        })
    };
    time::sleep(SETTLED / 20).await;
    owner.abort();
    time::sleep(SETTLED).await;
    blocked.end().await;
    assert_eq!(thief.await.unwrap().unwrap(), None);
    assert_eq!(key.await.unwrap().unwrap(), None);
    for other in others {
        assert!(other.await.unwrap().unwrap().is_some());
    }
}

/// A lost connection leaves the result unknown for every member, and the next statement runs.
async fn t17_a_lost_connection_interrupts_all_of_its_callers(place: Place) {
    let Kind::Postgres { pool, .. } = &place.kind else {
        panic!("not PostgreSQL");
    };
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    let blocked = Blocked::in_place(&place).await;
    let calls: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
    let mut ended = 0;
    while !calls.iter().all(JoinHandle::is_finished) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted";
        ended += sqlx::query(end).fetch_all(pool).await.unwrap().len();
        time::sleep(SETTLED / 10).await;
    }
    blocked.end().await;
    assert!(ended < CALLERS, "one statement for many: {ended}");
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Interrupted, "{error:?}");
    }
    for id in ids {
        let advanced = advance(&store, id).await.unwrap().unwrap();
        assert_eq!(advanced.unwrap().session.family.generation, 1);
    }
}

/// More locked rows than there are turns. Their callers wait alone, or leave the batch without a result.
async fn t17_locked_rows_delay_no_other_session(place: Place) {
    let Kind::Postgres { pool, .. } = &place.kind else {
        panic!("not PostgreSQL");
    };
    let store = place.store().await;
    let ids = start_many(&store, CALLERS).await;
    let (locked, free) = ids.split_at(6);
    let mut transaction = pool.begin().await.unwrap();
    for id in locked {
        let lock = sqlx::query("SELECT 1 FROM auth_session WHERE sid = $1 FOR UPDATE");
        let lock = lock.bind(id.as_bytes().as_slice());
        lock.execute(&mut *transaction).await.unwrap();
    }
    let waiting: Vec<_> = locked.iter().map(|id| advance(&store, *id)).collect();
    time::sleep(SETTLED / 10).await;
    let calls = join_all(free.iter().map(|id| advance(&store, *id))).await;
    for call in calls {
        let loaded = call.unwrap().unwrap().unwrap();
        assert_eq!(loaded.session.family.generation, 1);
    }
    time::sleep(SETTLED).await;
    let left_out = waiting.iter().filter(|call| call.is_finished()).count();
    assert!(left_out >= 2, "{left_out} of six");
    transaction.rollback().await.unwrap();
    for (id, call) in locked.iter().zip(waiting) {
        let advanced = call.await.unwrap().unwrap();
        assert_eq!(generation(&store, *id).await, u64::from(advanced.is_some()));
    }
}

macro_rules! on {
    ($($store:ident: $place:expr, #[$meta:meta], $($rule:ident)*;)*) => {$(
        mod $store {
            use super::Place;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[$meta]
                async fn $rule() {
                    super::$rule($place).await;
                }
            )*
        }
    )*};
}

on! {
    sqlite: Place::sqlite().await, #[cfg(all())],
        t17_callers_with_one_session_advance_it_once
        t17_a_failed_statement_fails_all_of_its_callers
        t17_a_cancelled_caller_takes_no_other_with_it
        t17_a_result_goes_to_no_caller_with_another_token;
    postgres: Place::postgres().await, #[ignore = "needs PostgreSQL"],
        t17_callers_with_one_session_advance_it_once
        t17_a_failed_statement_fails_all_of_its_callers
        t17_a_cancelled_caller_takes_no_other_with_it
        t17_a_result_goes_to_no_caller_with_another_token
        t17_a_lost_connection_interrupts_all_of_its_callers
        t17_locked_rows_delay_no_other_session;
}
