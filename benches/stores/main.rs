//! Refreshes per second: this crate's sessions against what is written by hand, one row per refresh
//! token in a transaction, on the same database with the same connections.
//!
//! Both sides draw or compute a token, hash it, mint an access token with the same issuer, and make
//! every refresh a rotation; ours by the policy `strict`, because the others would answer some of
//! these calls without writing. The servers are the bench's own, in temporary folders.
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
    runtime.unwrap().block_on(async {
        let postgres = tokio::task::spawn_blocking(|| postgres::Server::with(&[]))
            .await
            .unwrap();
        let redis = redis_server::Server::start(&["--appendonly", "yes"]).await;
        let folder = std::env::temp_dir().join(format!("bench-stores-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let pairs = [
            memory(),
            sqlite(&folder.join("auth.db").display().to_string()).await,
            of_postgres(&postgres.url()).await,
            of_redis(&redis).await,
        ];
        println!(
            "| store | clients | ours / by hand | ours, per s | by hand, per s | durability |"
        );
        println!("|---|---|---|---|---|---|");
        let mut arguments = std::env::args().skip_while(|argument| argument != "--only");
        let only = arguments.nth(1).unwrap_or_default().to_lowercase();
        for pair in &pairs {
            if !pair.name.to_lowercase().contains(&only) {
                continue;
            }
            for (clients, users) in [(1, false), (16, false), (1, true), (16, true)] {
                measure(pair, clients, users, quick).await;
            }
        }
        drop(pairs);
        std::fs::remove_dir_all(&folder).unwrap();
        // Not on a thread of the runtime: it waits for the server's end.
        tokio::task::spawn_blocking(move || drop(postgres))
            .await
            .unwrap();
    });
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
        if let Some(store) = &pair.by_hand {
            let store = match users {
                false => store.clone(),
                true => store.reading_the_user(),
            };
            by_hand.push(Client::ByHand(
                store.clone(),
                issuer.clone(),
                store.start().await,
            ));
        }
    }
    // Interleaved, and compared within a round: a machine's speed drifts.
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let one = per_second(&mut ours, slice).await;
        let other = match by_hand.is_empty() {
            true => f64::NAN,
            false => per_second(&mut by_hand, slice).await,
        };
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
    let or_dash = |text: String| {
        if by_hand.is_empty() {
            "–".to_owned()
        } else {
            text
        }
    };
    let roles = if users { ", roles from its users" } else { "" };
    println!(
        "| {}{roles} | {clients} | {} | {ours:.0} | {} | {} |",
        pair.name,
        or_dash(format!("{ratio:.2}")),
        or_dash(format!("{other:.0}")),
        pair.durability,
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
        name: "memory",
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
        name: "SQLite",
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
        name: "PostgreSQL",
        durability: "`fsync`, `synchronous_commit`",
        ours: AnyStore::Postgres(ours),
        by_hand: Some(ByHand::postgres(pool).await),
    }
}

async fn of_redis(server: &redis_server::Server) -> Pair {
    Pair {
        name: "Redis",
        durability: "`appendonly`, `everysec`",
        ours: AnyStore::Redis(RedisStore::new(&server.url()).unwrap()),
        by_hand: Some(ByHand::redis(server.connection().await.unwrap()).await),
    }
}
