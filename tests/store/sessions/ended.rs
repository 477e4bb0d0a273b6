//! What sessions that have ended cost those that are alive. It takes minutes, and prints what it
//! measured:
//!
//! `STORES_ENDED=1 cargo test --release --all-features --test store -- --ignored --nocapture ended_sessions_cost`

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    principal::SessionId,
    store::{
        AnyStore,
        port::{CreateOutcome, NewSessionRecord, RevokeReason, SessionStore},
    },
};

use super::place::{Kind, Place};

const ENDED: u128 = 130_000;
const LIVE: u128 = 50_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn session(subject: &str, number: u128, lifetime: Duration) -> NewSessionRecord {
    let id = SessionId::from_bytes(number.to_be_bytes());
    NewSessionRecord::new(id, subject, lifetime, lifetime)
}

/// Starts these sessions, 16 at a time, and ends those that `ends` picks.
async fn start(
    store: &AnyStore,
    subject: &'static str,
    numbers: std::ops::Range<u128>,
    kind: fn(u128) -> (Duration, bool),
) {
    let mut tasks = JoinSet::new();
    let step = (numbers.end - numbers.start).div_ceil(16);
    for from in numbers.clone().step_by(usize::try_from(step).unwrap()) {
        let (store, to) = (store.clone(), (from + step).min(numbers.end));
        tasks.spawn(async move {
            for number in from..to {
                let (lifetime, logout) = kind(number);
                let new = session(subject, number, lifetime);
                let id = new.id;
                let created = patient(|| store.create(new.clone())).await;
                assert!(matches!(created, CreateOutcome::Created(_)));
                if logout {
                    patient(|| store.revoke(id, RevokeReason::Logout)).await;
                }
            }
        });
    }
    tasks.join_all().await;
}

async fn patient<T, F: Future<Output = Result<T, tower_jwt_auth::error::StoreError>>>(
    work: impl Fn() -> F,
) -> T {
    loop {
        match work().await {
            Ok(done) => return done,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The medians of listing, and of ending five others, with one session that stays.
async fn measure(store: &AnyStore, subject: &'static str, first: u128) -> [Duration; 2] {
    let mut listed = Vec::new();
    let mut ended = Vec::new();
    let keep = SessionId::from_bytes([0xEE; 16]);
    for round in 0..21 {
        let from = first + round * 5;
        start(store, subject, from..from + 5, |_| (30 * DAY, false)).await;
        let begun = Instant::now();
        let list = store.list(subject, 100).await.unwrap();
        listed.push(begun.elapsed());
        assert_eq!(list.len(), 5);
        let begun = Instant::now();
        let others = store
            .revoke_others(subject, keep, RevokeReason::Logout)
            .await;
        ended.push(begun.elapsed());
        assert_eq!(others.unwrap().len(), 5);
    }
    [listed, ended].map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

async fn ended_sessions_cost(place: Place) {
    let name = place.name();
    let store = match &place.kind {
        Kind::Memory(store) => AnyStore::Memory(store.clone().max_sessions(1_000_000)),
        _ => place.store().await,
    };
    let slow = async |words: &[&str]| match &place.kind {
        Kind::Redis(server) => Some(server.ask::<redis::Value>(words).await.unwrap()),
        _ => None,
    };
    slow(&["CONFIG", "SET", "slowlog-log-slower-than", "5000"]).await;
    slow(&["CONFIG", "SET", "slowlog-max-len", "10000"]).await;
    let before = measure(&store, "alice", 1 << 64).await;
    // 40 % by logout, 60 % by time.
    start(&store, "alice", 0..ENDED, |number| match number % 5 {
        0 | 1 => (30 * DAY, true),
        _ => (Duration::from_millis(1), false),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    if let Kind::Postgres { pool, .. } = &place.kind {
        // As the server does by itself, soon or late. It then estimates many live sessions.
        sqlx::query("ANALYZE").execute(pool).await.unwrap();
    }
    let begun = Instant::now();
    store.list("alice", 100).await.unwrap();
    let first = begun.elapsed();
    let after = measure(&store, "alice", 1 << 65).await;
    println!(
        "{name}: list {:?} -> {:?} ({:.2}), others {:?} -> {:?} ({:.2}); the first list {first:?}",
        before[0],
        after[0],
        after[0].as_secs_f64() / before[0].as_secs_f64(),
        before[1],
        after[1],
        after[1].as_secs_f64() / before[1].as_secs_f64(),
    );

    let mut took = Vec::new();
    for (from, live) in [(1 << 70, LIVE / 5), (1 << 71, LIVE)] {
        start(&store, "bob", from..from + live, |_| (30 * DAY, false)).await;
        let begun = Instant::now();
        assert_eq!(store.list("bob", 100).await.unwrap().len(), 100);
        let listed = begun.elapsed();
        let begun = Instant::now();
        let keep = SessionId::from_bytes([0xEE; 16]);
        let others = store.revoke_others("bob", keep, RevokeReason::Logout).await;
        assert_eq!(others.unwrap().len() as u128, live);
        took.push((live, listed, begun.elapsed()));
    }
    println!("{name}: live, list, others: {took:?}");
    if let Some(redis::Value::Array(entries)) = slow(&["SLOWLOG", "GET", "-1"]).await {
        let micros = entries.iter().filter_map(|entry| match entry {
            redis::Value::Array(parts) => match parts.get(2) {
                Some(redis::Value::Int(micros)) => Some(*micros),
                _ => None,
            },
            _ => None,
        });
        let mut micros: Vec<_> = micros.collect();
        micros.sort_unstable_by(|one, other| other.cmp(one));
        // Time in which the machine ran something else counts as well.
        println!("{name}: the commands that took more than 5 ms, in µs: {micros:?}");
    }
}

macro_rules! on {
    ($($store:ident: $place:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "takes minutes"]
        async fn $store() {
            if std::env::var_os("STORES_ENDED").is_some() {
                ended_sessions_cost($place).await;
            }
        }
    )*};
}

mod ended_sessions_cost_nothing {
    use super::{Place, ended_sessions_cost};

    on! {
        memory: Place::memory();
        sqlite: Place::sqlite().await;
        postgres: Place::postgres().await;
        redis: Place::redis().await;
    }
}
