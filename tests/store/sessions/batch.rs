//! Refreshes that queue share one call of the store, with or without the users. Each rule holds for the
//! callers one by one, on every store that has a server or a file.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{task::JoinHandle, time};
use tower_jwt_auth::{
    error::{StoreError, StoreErrorKind},
    principal::SessionId,
    server::login::{Identifier, PasswordHash},
    store::{
        AnyStore,
        port::{LoadedSession, NewUser, SessionStore, UserStore},
    },
};

use super::place::{Kind, Place};
use crate::{
    rows::start,
    support::{redis::Server, until::until},
};

type Advanced = Result<Option<LoadedSession>, StoreError>;

/// A store, and how its sessions are advanced.
#[derive(Clone)]
struct Under {
    store: AnyStore,
    with_user: bool,
}

impl Under {
    async fn test(place: &Place, with_user: bool) -> Self {
        let store = place.store().await;
        let name = Identifier::new("batched@example.org").unwrap();
        let user = NewUser::new("batched", name, PasswordHash::new("$hash".to_owned()));
        let user = user.roles(["editor"]);
        assert!(UserStore::create(&store, user).await.unwrap());
        Self { store, with_user }
    }

    async fn advance_from(&self, id: SessionId, live: u64, key: Option<&str>) -> Advanced {
        let store = &self.store;
        if !self.with_user {
            return store.advance_live(id, live, Duration::ZERO, key).await;
        }
        let advanced = store.advance_live_with_user(id, live, Duration::ZERO, key);
        Ok(advanced.await?.map(|(session, user)| {
            let user = user.unwrap();
            assert_eq!(
                (user.roles, user.disabled),
                (vec!["editor".to_owned()], false)
            );
            session
        }))
    }
}

/// Advances a session from its first generation.
fn advance(under: &Under, id: SessionId) -> JoinHandle<Advanced> {
    let under = under.clone();
    tokio::spawn(async move { under.advance_from(id, 0, None).await })
}

async fn start_many(under: &Under, number: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(start(&under.store, "batched").await);
    }
    ids
}

async fn generation(under: &Under, id: SessionId) -> u64 {
    let loaded = SessionStore::load(&under.store, id).await.unwrap().unwrap();
    loaded.session.family.generation
}

/// Makes every statement and every script fail that advances sessions, or mends it.
async fn break_down(place: &Place, broken: bool) {
    let sql = match broken {
        true => "ALTER TABLE auth_session RENAME COLUMN reissues TO other",
        false => "ALTER TABLE auth_session RENAME COLUMN other TO reissues",
    };
    match &place.kind {
        Kind::Sqlite { pool, .. } => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        Kind::Postgres { pool, .. } => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        Kind::Redis(server) => {
            let words: &[&str] = match broken {
                true => &["SET", "{auth}:epochs", "not a hash"],
                false => &["DEL", "{auth}:epochs"],
            };
            let _: ::redis::Value = server.ask(words).await.unwrap();
        }
        Kind::Memory(_) => panic!("it cannot break down"),
    }
}

/// Blocks all writes of sessions until it ends.
enum Blocked<'a> {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Redis(&'a Server),
}

impl<'a> Blocked<'a> {
    async fn in_place(place: &'a Place) -> Self {
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
            Kind::Redis(server) => {
                let pause = ["CLIENT", "PAUSE", "60000", "WRITE"];
                let _: String = server.ask(&pause).await.unwrap();
                Self::Redis(server)
            }
            Kind::Memory(_) => panic!("it has no writers to wait for"),
        }
    }

    async fn end(self) {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await.unwrap(),
            Self::Postgres(transaction) => transaction.rollback().await.unwrap(),
            Self::Redis(server) => {
                let _: String = server.ask(&["CLIENT", "UNPAUSE"]).await.unwrap();
            }
        }
    }
}

const CALLERS: usize = 20;

/// Time for the tasks to reach the store.
const SETTLED: Duration = Duration::from_millis(200);

async fn t17_callers_with_one_session_advance_it_once(place: Place, with_user: bool) {
    let store = Under::test(&place, with_user).await;
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

async fn t17_a_failed_statement_fails_all_of_its_callers(place: Place, with_user: bool) {
    let store = Under::test(&place, with_user).await;
    let ids = start_many(&store, CALLERS).await;
    break_down(&place, true).await;
    let calls = join_all(ids.iter().map(|id| advance(&store, *id))).await;
    for call in calls {
        assert_eq!(call.unwrap().unwrap_err().kind(), StoreErrorKind::Invalid);
    }
    break_down(&place, false).await;
    let calls = join_all(ids.iter().map(|id| advance(&store, *id))).await;
    for call in calls {
        let loaded = call.unwrap().unwrap().unwrap();
        assert_eq!(loaded.session.family.generation, 1);
    }
}

/// Repeats a test whose calls are held up on purpose. A store turns those away whom it cannot serve within
/// seconds: on a machine that was too busy to let them go on before, that proves nothing.
async fn in_time(test: impl AsyncFn() -> Result<(), StoreError>) {
    for tries in 0.. {
        let begun = Instant::now();
        let Err(error) = test().await else {
            return;
        };
        let was_late = begun.elapsed() > Duration::from_secs(2);
        assert!(was_late && tries < 10, "{error:?}");
    }
}

/// The first caller runs its statement itself, and the others are one batch.
async fn t17_a_cancelled_caller_takes_no_other_with_it(place: Place, with_user: bool) {
    let store = Under::test(&place, with_user).await;
    in_time(async || {
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
                Ok(advanced) => assert!(advanced?.is_some(), "caller {number}"),
            }
            assert!(generation(&store, id).await <= 1);
        }
        // The queue still has a runner.
        let fresh = start(&store.store, "batched").await;
        assert!(advance(&store, fresh).await.unwrap()?.is_some());
        Ok(())
    })
    .await;
}

/// A thief presents a spent token while the owner's refresh queues and is cancelled.
async fn t17_a_result_goes_to_no_caller_with_another_token(place: Place, with_user: bool) {
    let store = Under::test(&place, with_user).await;
    in_time(async || {
        let ids = start_many(&store, CALLERS).await;
        let stolen = start(&store.store, "batched").await;
        let blocked = Blocked::in_place(&place).await;
        let others: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
        time::sleep(SETTLED / 20).await;
        let owner = advance(&store, stolen);
        time::sleep(SETTLED / 20).await;
        let thief = {
            let store = store.clone();
            tokio::spawn(async move { store.advance_from(stolen, 7, None).await })
        };
        let key = {
            let store = store.clone();
            tokio::spawn(async move { store.advance_from(stolen, 0, Some("another key")).await })
        };
        time::sleep(SETTLED / 20).await;
        owner.abort();
        time::sleep(SETTLED).await;
        blocked.end().await;
        assert_eq!(thief.await.unwrap()?, None);
        assert_eq!(key.await.unwrap()?, None);
        for other in others {
            assert!(other.await.unwrap()?.is_some());
        }
        Ok(())
    })
    .await;
}

/// Ends the connections that wait for the lock. Returns their number.
async fn end_connections(place: &Place) -> usize {
    match &place.kind {
        Kind::Postgres { pool, .. } => {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted";
            sqlx::query(end).fetch_all(pool).await.unwrap().len()
        }
        Kind::Redis(server) => {
            // The connection that sends it is left out.
            let end = ["CLIENT", "KILL", "TYPE", "normal"];
            server.ask(&end).await.unwrap()
        }
        _ => panic!("it has no connections"),
    }
}

/// A lost connection leaves the result unknown for every member, and the next call is made.
async fn t17_a_lost_connection_interrupts_all_of_its_callers(place: Place, with_user: bool) {
    let store = Under::test(&place, with_user).await;
    let ids = start_many(&store, CALLERS).await;
    let blocked = Blocked::in_place(&place).await;
    let calls: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
    let mut ended = 0;
    while !calls.iter().all(JoinHandle::is_finished) {
        ended += end_connections(&place).await;
        time::sleep(SETTLED / 10).await;
    }
    blocked.end().await;
    assert!(ended < CALLERS, "one call for many: {ended}");
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
async fn t17_locked_rows_delay_no_other_session(place: Place, with_user: bool) {
    let Kind::Postgres { pool, .. } = &place.kind else {
        panic!("not PostgreSQL");
    };
    let store = Under::test(&place, with_user).await;
    in_time(async || {
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
            let loaded = call.unwrap()?.unwrap();
            assert_eq!(loaded.session.family.generation, 1);
        }
        until(|| waiting.iter().filter(|call| call.is_finished()).count() >= 2).await;
        transaction.rollback().await.unwrap();
        for (id, call) in locked.iter().zip(waiting) {
            let advanced = call.await.unwrap()?;
            assert_eq!(generation(&store, *id).await, u64::from(advanced.is_some()));
        }
        Ok(())
    })
    .await;
}

/// Sessions and users that a script cannot read are left out of the batch. The others are written.
async fn t17_a_session_that_cannot_be_read_fails_alone(place: Place, with_user: bool) {
    let Kind::Redis(server) = &place.kind else {
        panic!("not Redis");
    };
    let store = Under::test(&place, with_user).await;
    in_time(async || {
        let ids = start_many(&store, CALLERS).await;
        let broken = &ids[ids.len() - 3..];
        let key = |id: &SessionId| format!("{{auth}}:s:{id}");
        let _: u8 = server.ask(&["DEL", &key(&broken[0])]).await.unwrap();
        let _: u8 = server
            .ask(&["RPUSH", &key(&broken[0]), "a list"])
            .await
            .unwrap();
        for (id, text) in broken[1..]
            .iter()
            .zip(["\u{1}short", "\u{7f}another format"])
        {
            let _: String = server.ask(&["SET", &key(id), text]).await.unwrap();
        }
        let blocked = Blocked::in_place(&place).await;
        let calls: Vec<_> = ids.iter().map(|id| advance(&store, *id)).collect();
        time::sleep(SETTLED).await;
        blocked.end().await;
        for (id, call) in ids.iter().zip(calls) {
            let advanced = call.await.unwrap()?;
            assert_eq!(advanced.is_none(), broken.contains(id));
        }
        for id in broken {
            assert!(SessionStore::load(&store.store, *id).await.is_err());
        }
        Ok(())
    })
    .await;
}

macro_rules! on {
    ($($store:ident: $place:expr, #[$meta:meta], $($rule:ident)*;)*) => {$(
        mod $store {
            use super::Place;
            $(mod $rule {
                use super::Place;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[$meta]
                async fn of_sessions() {
                    super::super::$rule($place, false).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[$meta]
                async fn with_users() {
                    super::super::$rule($place, true).await;
                }
            })*
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
    redis: Place::redis().await, #[ignore = "needs redis-server"],
        t17_callers_with_one_session_advance_it_once
        t17_a_failed_statement_fails_all_of_its_callers
        t17_a_cancelled_caller_takes_no_other_with_it
        t17_a_result_goes_to_no_caller_with_another_token
        t17_a_lost_connection_interrupts_all_of_its_callers
        t17_a_session_that_cannot_be_read_fails_alone;
}
