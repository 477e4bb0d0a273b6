//! Refreshes per second: this crate's sessions against what is written by hand, one row per refresh
//! token in a transaction, on the same database with the same connections.
//!
//! Both sides draw or compute a token, hash it, mint an access token with the same issuer, and make
//! every refresh a rotation; ours by the policy `strict`, because the others would answer some of
//! these calls without writing. The servers are the bench's own, in temporary folders.
//!
//! In memory, the other side mints the access token and stores nothing: what is above it is the cost of the
//! session.
//!
//! `cargo bench --all-features --bench stores`, `-- --quick` for a moment of each, `-- --only sqlite` for
//! one store.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

mod by_hand;
#[path = "../../tests/support/port.rs"]
mod port;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/support/redis.rs"]
mod redis_server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{postgres::PgPoolOptions, sqlite::SqlitePoolOptions};
use tokio::task::JoinSet;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        issue::{AccessTokenClaims, KeyRing, TokenIssuer},
        login::{Identifier, PasswordHash, UserClaims},
        refresh::RefreshPolicy,
        session::{Sessions, StartSession},
    },
    store::{
        AnyStore, MemoryStore, PostgresStore, RedisStore, SqliteStore,
        port::{NewUser, UserStore},
    },
};

use self::by_hand::ByHand;

/// One client of either side, with the token that it holds.
#[derive(Clone)]
enum Client {
    Ours(Sessions, String),
    ByHand(ByHand, TokenIssuer, String),
    /// Only the access token, for the store in memory.
    Minting(TokenIssuer),
}

impl Client {
    async fn refresh(&mut self) {
        match self {
            Self::Ours(sessions, held) => {
                let pair = sessions.refresh(held).await.unwrap();
                *held = pair.refresh_token().expose().clone();
            }
            Self::ByHand(store, issuer, held) => {
                let roles;
                (*held, roles) = store.refresh(held).await;
                let mut claims = AccessTokenClaims::for_subject("alice");
                if let Some(roles) = roles {
                    let roles: Vec<String> = serde_json::from_str(&roles).unwrap();
                    claims = claims.roles(roles);
                }
                issuer.issue_access_token(claims).unwrap();
            }
            Self::Minting(issuer) => {
                let claims = AccessTokenClaims::for_subject("alice");
                issuer.issue_access_token(claims).unwrap();
            }
        }
    }
}

/// A database, by us and by hand.
struct Pair {
    name: &'static str,
    durability: &'static str,
    ours: AnyStore,
    by_hand: Option<ByHand>,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let mut arguments = std::env::args().skip_while(|argument| argument != "--only");
    let only = arguments.nth(1).unwrap_or_default().to_lowercase();
    let wanted = |name: &str| name.to_lowercase().contains(&only);
    println!("| store | clients | ours / by hand | ours, per s | by hand, per s | durability |");
    println!("|---|---|---|---|---|---|");
    runtime.unwrap().block_on(async {
        if wanted(MEMORY) {
            measure_all(memory(), quick).await;
        }
        if wanted(SQLITE) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("auth.db").display().to_string();
            measure_all(sqlite(&file).await, quick).await;
        }
        if wanted(POSTGRES) {
            // Not on a thread of the runtime: both wait for the server.
            let start = || postgres::Server::with(&[]);
            let server = tokio::task::spawn_blocking(start).await.unwrap();
            measure_all(of_postgres(&server.url()).await, quick).await;
            let stop = || drop(server);
            tokio::task::spawn_blocking(stop).await.unwrap();
        }
        if wanted(REDIS) {
            let server = redis_server::Server::start(&["--appendonly", "yes"]).await;
            measure_all(of_redis(&server).await, quick).await;
        }
    });
}

async fn measure_all(pair: Pair, quick: bool) {
    for (clients, users) in [(1, false), (16, false), (1, true), (16, true)] {
        measure(&pair, clients, users, quick).await;
    }
}

/// `users`: the roles come from a user table in the same store, as in the default wiring.
async fn measure(pair: &Pair, clients: usize, users: bool, quick: bool) {
    let (rounds, slice) = match quick {
        true => (1, Duration::from_millis(100)),
        false => (7, Duration::from_millis(1500)),
    };
    let issuer = issuer();
    let secret = SecretKey::generate();
    let builder = || {
        Sessions::builder(issuer.clone(), pair.ours.clone())
            .secret(secret.clone())
            .policy(RefreshPolicy::strict())
    };
    let sessions = match users {
        false => builder(),
        true => builder().claims_source(UserClaims::new(pair.ours.clone())),
    };
    let sessions = sessions.build().unwrap();
    if users {
        let name = Identifier::new("alice@example.org").unwrap();
        let user = NewUser::new("alice", name, PasswordHash::new("$argon2id$".to_owned()));
        // The first measurement creates the user.
        let _ = UserStore::create(&pair.ours, user.roles(["editor"])).await;
    }
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for _ in 0..clients {
        let started = sessions.start(StartSession::new("alice")).await.unwrap();
        let token = started.refresh_token().expose().clone();
        ours.push(Client::Ours(sessions.clone(), token));
        by_hand.push(match &pair.by_hand {
            None => Client::Minting(issuer.clone()),
            Some(store) => {
                let store = match users {
                    false => store.clone(),
                    true => store.reading_the_user(),
                };
                Client::ByHand(store.clone(), issuer.clone(), store.start().await)
            }
        });
    }
    // Interleaved, and compared within a round: a machine's speed drifts.
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let one = per_second(&mut ours, slice).await;
        let other = per_second(&mut by_hand, slice).await;
        // The first one warms up.
        if round > 0 {
            rates.push((one / other, one, other));
        }
    }
    rates.sort_by(|one, other| one.1.total_cmp(&other.1));
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let ratio = median(rates.iter().map(|rate| rate.0).collect());
    let ours = median(rates.iter().map(|rate| rate.1).collect());
    let other = median(rates.iter().map(|rate| rate.2).collect());
    let roles = if users { ", roles from its users" } else { "" };
    println!(
        "| {}{roles} | {clients} | {ratio:.2} | {ours:.0} | {other:.0} | {} |",
        pair.name, pair.durability,
    );
}

/// All of them at once, each one request at a time.
async fn per_second(clients: &mut Vec<Client>, slice: Duration) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients.drain(..) {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.refresh().await;
                done.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            client
        });
    }
    tokio::time::sleep(slice).await;
    stop.store(true, Ordering::Relaxed);
    *clients = tasks.join_all().await;
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

fn issuer() -> TokenIssuer {
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa).unwrap()).unwrap();
    let issuer = TokenIssuer::builder(keys).issuer("https://auth.example");
    issuer.audience("api").build().unwrap()
}

fn memory() -> Pair {
    Pair {
        name: MEMORY,
        durability: "none",
        ours: AnyStore::Memory(MemoryStore::new()),
        by_hand: None,
    }
}

async fn sqlite(file: &str) -> Pair {
    let ours = SqliteStore::open(file).await.unwrap();
    // One connection, as ours writes with one: SQLite lets one write at a time.
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options);
    Pair {
        name: SQLITE,
        durability: "WAL, `synchronous` FULL",
        ours: AnyStore::Sqlite(ours),
        by_hand: Some(ByHand::sqlite(pool.await.unwrap()).await),
    }
}

async fn of_postgres(url: &str) -> Pair {
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .test_before_acquire(false)
        .connect(url)
        .await
        .unwrap();
    let ours = PostgresStore::new(pool.clone());
    ours.migrate().await.unwrap();
    Pair {
        name: POSTGRES,
        durability: "`fsync`, `synchronous_commit`",
        ours: AnyStore::Postgres(ours),
        by_hand: Some(ByHand::postgres(pool).await),
    }
}

async fn of_redis(server: &redis_server::Server) -> Pair {
    Pair {
        name: REDIS,
        durability: "`appendonly`, `everysec`",
        ours: AnyStore::Redis(RedisStore::new(&server.url()).unwrap()),
        by_hand: Some(ByHand::redis(server.connection().await.unwrap()).await),
    }
}

const MEMORY: &str = "memory";
const SQLITE: &str = "SQLite";
const POSTGRES: &str = "PostgreSQL";
const REDIS: &str = "Redis";
