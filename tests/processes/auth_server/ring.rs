//! Signing keys in the store: processes that share them, and rows that were planted or changed.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use sqlx::{PgPool, SqlitePool};
use tokio::{sync::RwLock, time::sleep};
use tower_jwt_auth::{
    Verifier, key::KeySet, secret::SecretKey, server::issue::SharedKeyRing, store::PostgresStore,
};

use super::client::{SEEDS, Tokens, USER, refused};
use crate::support::{
    postgres,
    process::{Folder, Server, command},
};

const OLD: &str = "YW4gb2xkIHNlY3JldCBvZiB0aGlydHktdHdvIGJ5dGU";
const NEW: &str = "YSBuZXcgc2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXM";
const ORIGIN: &str = "https://app.example";

fn vars<'v>(store: &'v str, secret: &'v str) -> Vec<(&'v str, &'v str)> {
    vec![
        SEEDS,
        ("AUTH_STORE", store),
        ("AUTH_SECRET_KEY", secret),
        ("AUTH_PUBLIC_URL", ORIGIN),
    ]
}

/// Fault 30: two nodes without a key file refused each other's tokens.
#[tokio::test]
async fn s8_two_processes_with_one_secret_sign_with_one_key_that_outlives_them() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let vars = vars(&store, OLD);
    let (a, b) = std::thread::scope(|scope| {
        let one = scope.spawn(|| Server::start(&vars));
        let two = scope.spawn(|| Server::start(&vars));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert!(!a.said().contains("ends with the process"), "{}", a.said());
    let (of_a, of_b) = (a.login(USER).await, b.login(USER).await);
    assert_eq!(kid(&of_a.access), kid(&of_b.access));
    for server in [&a, &b] {
        assert_eq!((server.me(&of_a).await, server.me(&of_b).await), (200, 200));
        assert_eq!(server.get("/ready", None).await.status, 200);
    }
    a.stop();
    let restarted = Server::start(&vars);
    assert_eq!(
        (restarted.me(&of_a).await, restarted.me(&of_b).await),
        (200, 200)
    );
}

#[tokio::test]
async fn s8_in_memory_the_ring_ends_with_the_process_and_the_log_says_so() {
    let server = Server::start(&vars("memory:", OLD));
    assert!(
        server
            .said()
            .contains("the signing key ends with the process")
    );
    let tokens = server.login(USER).await;
    assert_eq!(server.me(&tokens).await, 200);
}

#[tokio::test]
async fn s9_without_a_secret_no_key_is_stored() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let server = Server::start(&[SEEDS, ("AUTH_STORE", &store)]);
    assert_eq!(server.me(&server.login(USER).await).await, 200);
    assert!(
        server
            .stop()
            .contains("the signing key ends with the process")
    );
    let pool = SqlitePool::connect(&store).await.unwrap();
    let rings: i64 = sqlx::query_scalar("SELECT count(*) FROM auth_key_ring")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rings, 0);
}

/// What somebody does who may write to the store.
fn tampered(keys: &str) -> Vec<String> {
    let ring: Value = serde_json::from_str(keys).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut ring = ring.clone();
        change(ring["keys"].as_array_mut().unwrap());
        ring.to_string()
    };
    let planted = json!({
        "kid": "planted", "alg": "EdDSA", "state": "retired", "activates_at": 0,
        "sealed": URL_SAFE_NO_PAD.encode([0; 200]),
    });
    vec![
        changed(&|keys| keys.push(planted.clone())),
        changed(&|keys| keys[0] = planted.clone()),
        changed(&|keys| keys[0]["state"] = json!("retired")),
        changed(&|keys| keys[0]["activates_at"] = json!(0)),
        changed(&|keys| keys.clear()),
        "no ring".to_owned(),
    ]
}

fn stops_the_start(vars: &[(&str, &str)]) {
    let (status, said, complaint) = refused(vars);
    assert_eq!(status.code(), Some(2), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("AUTH_SECRET_KEY: "), "{complaint}");
    assert!(!said.contains(OLD) && !said.contains(NEW), "{said}");
}

#[tokio::test]
async fn s9_a_planted_or_changed_row_stops_the_start_and_is_never_published() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let running = Server::start(&vars(&store, OLD));
    let tokens = running.login(USER).await;
    let set = running.get("/.well-known/jwks.json", None).await.body;
    let pool = SqlitePool::connect(&store).await.unwrap();
    let keys: String = sqlx::query_scalar("SELECT keys FROM auth_key_ring")
        .fetch_one(&pool)
        .await
        .unwrap();
    // Another secret is no reason for a second ring.
    stops_the_start(&vars(&store, NEW));
    for bad in tampered(&keys) {
        let change = "UPDATE auth_key_ring SET keys = $1, revision = revision + 1";
        sqlx::query(change).bind(&bad).execute(&pool).await.unwrap();
        stops_the_start(&vars(&store, OLD));
        let kept: String = sqlx::query_scalar("SELECT keys FROM auth_key_ring")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(kept, bad, "the start changed it");
        assert_eq!(running.get("/.well-known/jwks.json", None).await.body, set);
        assert_eq!(running.me(&tokens).await, 200);
    }
}

/// The keys that a command of the operator prints: states and kids.
fn keys(words: &[&str], vars: &[(&str, &str)]) -> Vec<(String, String)> {
    let words = [&["keys"], words].concat();
    let output = command("auth_server", &words, vars);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complaint}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let key = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [state, "EdDSA", kid] => (state.to_owned(), kid.to_owned()),
        _ => panic!("{printed}"),
    };
    printed.lines().map(key).collect()
}

#[tokio::test]
async fn s8_an_operator_rotates_and_withdraws_keys_by_hand() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let vars = vars(&store, OLD);
    let server = Server::start(&vars);
    let tokens = server.login(USER).await;
    let first = kid(&tokens.access);
    let of = |state: &str, kid: &str| (state.to_owned(), kid.to_owned());
    assert_eq!(keys(&[], &vars), [of("active", &first)]);

    let rotated = keys(&["rotate"], &vars);
    let next = rotated[1].1.clone();
    assert_eq!(rotated, [of("active", &first), of("next", &next)]);
    // A second call changes nothing.
    assert_eq!(keys(&["rotate"], &vars), rotated);
    let publishes = async || {
        let set = server.get("/.well-known/jwks.json", None).await.body;
        set.contains(&next)
    };
    until(publishes).await;
    assert_eq!(kid(&server.login(USER).await.access), first, "too early");
    assert_eq!(server.me(&tokens).await, 200);

    assert_eq!(keys(&["withdraw", &first], &vars), [of("active", &next)]);
    until(async || server.me(&tokens).await == 401).await;
    let fresh = server.refresh(&tokens).await.tokens();
    assert_eq!(kid(&fresh.access), next);
    assert_eq!(server.me(&fresh).await, 200);

    let refuse = |words: &[&str], vars: &[(&str, &str)], begin: &str| {
        let output = command("auth_server", words, vars);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {complaint}");
        assert!(complaint.starts_with(begin), "{words:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    };
    let unknown = format!("keys withdraw {first:?}: the ring does not contain this key");
    refuse(&["keys", "withdraw", &first], &vars, &unknown);
    refuse(&["keys", "withdraw"], &vars, "usage: ");
    refuse(&["keys", "rotate", "now"], &vars, "usage: ");
    refuse(&["serve"], &vars, "usage: ");
    refuse(&["--help", "keys"], &[], "usage: ");
    // Neither needs settings.
    refuse(&["keys", "withdraw"], &[], "usage: ");
    let help = command::<&str>("auth_server", &["--help"], &[]);
    assert_eq!((help.status.code(), &*help.stderr), (Some(0), &b""[..]));
    let help = String::from_utf8(help.stdout).unwrap();
    for part in [
        "usage: auth_server",
        "keys rotate",
        "keys withdraw KID",
        "AUTH_SECRET_KEY",
        "AUTH_STORE",
    ] {
        assert!(help.contains(part), "{help}");
    }
    // A wrong command creates no ring in an empty store.
    let empty = Folder::new();
    let empty_store = empty.sqlite();
    let variables = self::vars(&empty_store, OLD);
    refuse(&["keys", "show"], &variables, "usage: ");
    assert!(empty.path().read_dir().unwrap().next().is_none());
    refuse(&["keys"], &self::vars("memory:", OLD), "AUTH_SECRET_KEY, ");
    refuse(&["keys"], &[("AUTH_SECRET_KEY", OLD)], "AUTH_STORE: ");
    refuse(&["keys"], &self::vars(&store, NEW), "AUTH_SECRET_KEY: ");
    assert_eq!(keys(&[], &vars), [of("active", &next)]);
}

async fn until(holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "never");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The two nodes behind a balancer, which takes a node out before it is restarted.
struct Balancer {
    nodes: [RwLock<Server>; 2],
    refreshes: AtomicUsize,
    over: AtomicBool,
}

impl Balancer {
    async fn restart(&self, vars: &[(&str, &str)]) {
        for node in &self.nodes {
            // In-flight requests end first, and the other node answers in the meantime.
            let mut node = node.write().await;
            let next = Server::start(vars);
            std::mem::replace(&mut *node, next).stop();
            let ready = node.get("/ready", None).await;
            assert_eq!(ready.status, 200, "a node that has started is ready");
        }
    }

    /// Waits until every client was given a few tokens more.
    async fn rounds(&self) {
        let enough = self.refreshes.load(Ordering::Relaxed) + 10 * CLIENTS;
        while self.refreshes.load(Ordering::Relaxed) < enough {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    kids: HashSet<String>,
    by_nodes: usize,
    by_reader: usize,
    fetched: usize,
}

/// A client that refreshes all the time, and presents all of its tokens to both nodes and to a
/// verifier that reads the set when its `max-age` has run out.
async fn client(balancer: Arc<Balancer>, number: usize) -> Seen {
    let mut seen = Seen::default();
    let mut session = balancer.nodes[number % 2].read().await.login(USER).await;
    let mut tokens: Vec<Tokens> = vec![session.clone()];
    let mut reader: Option<(Instant, Verifier)> = None;
    for round in number.. {
        if balancer.over.load(Ordering::Relaxed) {
            break;
        }
        let answer = balancer.nodes[round % 2]
            .read()
            .await
            .refresh(&session)
            .await;
        session = answer.tokens();
        seen.kids.insert(kid(&session.access));
        tokens.push(session.clone());
        balancer.refreshes.fetch_add(1, Ordering::Relaxed);
        // A token is left out that may expire while it is sent.
        tokens.retain(|tokens| expiry(&tokens.access) > now() + 2);

        if reader
            .as_ref()
            .is_none_or(|(until, _)| Instant::now() >= *until)
        {
            let asked = Instant::now();
            let node = balancer.nodes[(round + 1) % 2].read().await;
            let answer = node.get("/.well-known/jwks.json", None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let age = answer.header(CACHE_CONTROL.as_str()).unwrap();
            let age: u64 = age
                .strip_prefix("public, max-age=")
                .unwrap()
                .parse()
                .unwrap();
            let verifier = Verifier::key_set(KeySet::from_jwks(answer.body).unwrap())
                .rfc9068()
                .issuer(ORIGIN)
                .audience(ORIGIN);
            reader = Some((asked + Duration::from_secs(age), verifier.build().unwrap()));
            seen.fetched += 1;
        }
        let (_, verifier) = reader.as_ref().unwrap();
        for tokens in &tokens {
            let verified = verifier.verify_now(&tokens.access);
            assert!(
                verified.is_ok() || expiry(&tokens.access) <= now(),
                "{verified:?}"
            );
            seen.by_reader += 1;
        }
        // The oldest, the newest, and one in between, on both nodes.
        let chosen = [0, tokens.len() - 1, round % tokens.len()];
        for (node, index) in chosen
            .into_iter()
            .flat_map(|index| [(0, index), (1, index)])
        {
            let tokens = &tokens[index];
            let status = balancer.nodes[node].read().await.me(tokens).await;
            assert!(status == 200 || expiry(&tokens.access) <= now(), "{status}");
            seen.by_nodes += 1;
        }
        sleep(Duration::from_millis(100)).await;
    }
    seen
}

/// Two processes on one PostgreSQL: a forced rotation under load, and a rolling restart with every
/// step of a change of `AUTH_SECRET_KEY`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL, and takes two minutes"]
async fn s8_no_valid_token_is_refused_while_keys_secrets_and_processes_change() {
    let server = postgres::Server::start();
    let url = server.url();
    let with = |secret: &str| -> Vec<(&'static str, String)> {
        vec![
            (SEEDS.0, SEEDS.1.to_owned()),
            ("AUTH_STORE", url.clone()),
            ("AUTH_SECRET_KEY", secret.to_owned()),
            ("AUTH_PUBLIC_URL", ORIGIN.to_owned()),
            // The shortest times: `max-age` 30 s, and the lead.
            ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1".to_owned()),
            ("AUTH_KEY_ROTATION_DAYS", DAYS.to_string()),
        ]
    };
    fn borrowed<'v>(vars: &'v [(&'static str, String)]) -> Vec<(&'v str, &'v str)> {
        vars.iter().map(|(name, value)| (*name, &**value)).collect()
    }
    let first = with(OLD);
    let nodes = [
        Server::start(&borrowed(&first)),
        Server::start(&borrowed(&first)),
    ];
    let balancer = Arc::new(Balancer {
        nodes: nodes.map(RwLock::new),
        refreshes: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(Arc::clone(&balancer), number)))
        .collect();
    balancer.rounds().await;

    // By hand, as a program of the operator does.
    let store = PostgresStore::open(&url).await.unwrap();
    let secret: SecretKey = OLD.parse().unwrap();
    let ring = SharedKeyRing::builder(store, secret)
        .rotate_every(Duration::from_secs_f64(DAYS * 24.0 * 3600.0))
        .open()
        .await
        .unwrap();
    let before = ring.statuses()[0].kid().unwrap().to_owned();
    let rotated = Instant::now();
    ring.rotate().await.unwrap();
    let next = ring.statuses()[1].kid().unwrap().to_owned();
    drop(ring);

    for secrets in [format!("{OLD},{NEW}"), format!("{NEW},{OLD}")] {
        balancer.restart(&borrowed(&with(&secrets))).await;
        balancer.rounds().await;
    }
    let signs = async || {
        let node = balancer.nodes[0].read().await;
        kid(&node.login(USER).await.access)
    };
    // Unless this machine took longer over the restarts.
    let signed = signs().await;
    let is_early = rotated.elapsed() < LEAD;
    assert!(signed == before || !is_early, "the lead is not over");
    while signs().await != next {
        assert!(
            !clients.iter().any(|client| client.is_finished()),
            "a client failed"
        );
        sleep(Duration::from_secs(1)).await;
    }
    balancer.rounds().await;
    balancer.restart(&borrowed(&with(NEW))).await;
    balancer.rounds().await;
    balancer.over.store(true, Ordering::Relaxed);
    for client in clients {
        let seen = client.await.unwrap();
        println!("{seen:?}");
        assert!(
            seen.kids.contains(&before) && seen.kids.contains(&next),
            "{seen:?}"
        );
        assert!(seen.fetched > 2, "{seen:?}");
    }

    // The old secret opens nothing any more.
    stops_the_start(&borrowed(&with(OLD)));
    let pool = PgPool::connect(&url).await.unwrap();
    let keys: String = sqlx::query_scalar("SELECT keys FROM auth_key_ring")
        .fetch_one(&pool)
        .await
        .unwrap();
    let set = balancer.nodes[0]
        .read()
        .await
        .get("/.well-known/jwks.json", None)
        .await
        .body;
    for bad in tampered(&keys) {
        let change = "UPDATE auth_key_ring SET keys = $1, revision = revision + 1";
        sqlx::query(change).bind(&bad).execute(&pool).await.unwrap();
        stops_the_start(&borrowed(&with(NEW)));
    }
    let after = balancer.nodes[0]
        .read()
        .await
        .get("/.well-known/jwks.json", None)
        .await
        .body;
    assert!(after == set && !after.contains("planted"));
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn expiry(token: &str) -> u64 {
    part(token, 1)["exp"].as_u64().unwrap()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

const CLIENTS: usize = 4;
/// From the publication of a key to its use.
const LEAD: Duration = Duration::from_secs(90);
/// Two lifetimes of an access token, and a second.
const DAYS: f64 = 0.0014;
