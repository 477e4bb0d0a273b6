//! Two processes on one store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::client::{ADMIN, PASSWORD, SEEDS, USER};
use crate::support::{
    postgres,
    process::{Folder, Server},
    redis,
};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

/// As two nodes behind one address are set up: one secret, one signing key, one public URL.
pub(crate) fn two(folder: &Folder, store: &str) -> [Server; 2] {
    let der = std::fs::read("src/test_util/keys/first/ed25519.test-only.pkcs8.der").unwrap();
    let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der));
    let key = folder.file("key.pem", &pem);
    let vars = [
        SEEDS,
        ("AUTH_STORE", store),
        ("AUTH_SECRET_KEY", KEY),
        ("JWT_PRIVATE_KEY_FILE", &*key),
        ("AUTH_PUBLIC_URL", "https://app.example"),
        // A crowd on a busy machine takes longer than the default.
        ("AUTH_REFRESH_GRACE_SECONDS", "300"),
    ];
    // At once, so that they meet in the migration and in the making of the users.
    std::thread::scope(|scope| {
        let one = scope.spawn(|| Server::start(&vars));
        let two = scope.spawn(|| Server::start(&vars));
        [one.join().unwrap(), two.join().unwrap()]
    })
}

/// Signed in on one, refreshed on the other, signed out on the first: over on both.
pub(crate) async fn one_session_on_both(folder: &Folder, store: &str) {
    let [a, b] = two(folder, store);
    let tokens = a.login(USER).await;
    assert_eq!(b.me(&tokens).await, 200);
    let fresh = b.refresh(&tokens).await.tokens();
    assert_eq!((a.me(&fresh).await, b.me(&fresh).await), (200, 200));
    // A second tab, which has not heard of it: the same tokens' worth, on the other process.
    let again = a.refresh(&tokens).await.tokens();
    assert_eq!(a.me(&again).await, 200);

    assert_eq!(a.logout(&fresh, "device").await.status, 204);
    let begun = Instant::now();
    let here = a.refuses(&fresh).await;
    b.refuses(&fresh).await;
    let there = begun.elapsed();
    let scheme = store.split(':').next().unwrap();
    println!("{scheme}: a logout took {here:?} where it was, {there:?} elsewhere");
    let over = b.refresh(&fresh).await;
    assert_eq!((over.status, &*over.text("code")), (400, "session_revoked"));

    // All of the subject's, and nobody else's.
    let (one, two, stranger) = (
        a.login(USER).await,
        b.login(USER).await,
        b.login(ADMIN).await,
    );
    assert_eq!(b.logout(&one, "all").await.status, 204);
    a.refuses(&two).await;
    assert_eq!(a.refresh(&two).await.status, 400);
    assert_eq!((a.me(&stranger).await, b.me(&stranger).await), (200, 200));
}

/// Guesses that are spread over both count together, and the wait holds on both.
pub(crate) async fn one_lock_for_both(folder: &Folder, store: &str) {
    let both = two(folder, store);
    tokio::join!(
        guess_until_locked(&both, USER),
        guess_until_locked(&both, "nobody@example.org")
    );
    let other = both[0].try_login(ADMIN, PASSWORD).await;
    assert_eq!(other.status, 200, "another name");
}

/// Five are free, then waits double from one second on; nor does the right password get in during
/// one, on either.
async fn guess_until_locked(both: &[Server; 2], name: &str) {
    let (mut begun, mut refused) = (Instant::now(), 0);
    for guess in 0.. {
        assert!(guess < 1000, "{name}: {refused} guesses");
        let asked = Instant::now();
        let answer = both[guess % 2].try_login(name, "a wrong guess").await;
        let mut seen = vec![answer.status];
        if answer.status == 429 {
            let text = answer.header("retry-after").unwrap();
            assert_eq!(answer.json()["retry_after"].to_string(), text);
            let seconds = text.parse::<u64>().unwrap();
            if seconds < 5 {
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            for server in both {
                seen.push(server.try_login(name, PASSWORD).await.status);
            }
            // Rounded up.
            if asked.elapsed() < Duration::from_secs(seconds - 1) {
                assert_eq!(seen, [429, 429, 429], "{name}");
                println!("{name}: locked after {refused} guesses");
                return;
            }
            // This machine took longer than the wait, so it proves nothing. The next one is longer.
        }
        for status in seen {
            match status {
                // However many there were, they waited for each other.
                401 => {
                    refused += 1;
                    let waited = Duration::from_secs((1 << (refused.max(5) - 5)) - 1);
                    let took = begun.elapsed() + Duration::from_millis(100);
                    assert!(took >= waited, "{name}: {refused} guesses in {took:?}");
                }
                // A success forgets.
                200 => (begun, refused) = (Instant::now(), 0),
                _ => assert_eq!(status, 429, "{name}"),
            }
        }
    }
}

/// A hundred clients with the same token, half of them at each process, at once.
async fn one_rotation_on_both(folder: &Folder, store: &str) {
    let both = Arc::new(two(folder, store));
    let tokens = both[0].login(USER).await;
    let mut asked = JoinSet::new();
    for n in 0..100 {
        let (both, tokens) = (Arc::clone(&both), tokens.clone());
        asked.spawn(async move {
            loop {
                // A busy server has them come again.
                let answer = both[n % 2].refresh(&tokens).await;
                if answer.status != 503 {
                    return answer.tokens().refresh;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let mut given = asked.join_all().await;
    given.dedup();
    assert_eq!(given.len(), 1, "all were given the one new token");
}

/// While the store is away: try again, and keep what you have.
async fn t9_keeps_its_cookies(server: &Server, cookies: &str, proof: &str) {
    let headers = [("cookie", cookies), ("x-csrf-token", proof)];
    let answer = server
        .send(http::Method::POST, "/api/auth/refresh", &headers, "")
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.cookies(), [""; 0]);
    let login = server.try_login(USER, PASSWORD).await;
    assert_eq!(login.status, 503, "{login:?}");
    assert_eq!(server.get("/health", None).await.status, 200);
}

/// The cookies of somebody who signed in, as they are sent, and their proof.
async fn signed_in(server: &Server) -> (String, String) {
    let body = serde_json::json!({ "email": USER, "password": PASSWORD, "transport": "cookie" });
    let answer = server.post("/api/auth/login", body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let pairs = answer.cookies().into_iter();
    let pairs = pairs.map(|line| line.split(';').next().unwrap().to_owned());
    let proof: Value = answer.json();
    let proof = proof["csrf_token"].as_str().unwrap().to_owned();
    (pairs.collect::<Vec<_>>().join("; "), proof)
}

async fn refreshes(server: &Server, cookies: &str, proof: &str) {
    let headers = [("cookie", cookies), ("x-csrf-token", proof)];
    let begun = Instant::now();
    loop {
        let path = "/api/auth/refresh";
        let answer = server.send(http::Method::POST, path, &headers, "").await;
        match answer.status {
            200 => return,
            503 if begun.elapsed() < Duration::from_secs(60) => {}
            _ => panic!("{answer:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn two_processes_on_one_postgres() {
    let server = postgres::Server::start();
    let (folder, url) = (Folder::new(), server.url());
    one_session_on_both(&folder, &url).await;
    one_rotation_on_both(&folder, &url).await;
    one_lock_for_both(&folder, &url).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_processes_on_one_redis() {
    let server = redis::Server::start(redis::FORGETFUL).await;
    let (folder, url) = (Folder::new(), server.url());
    one_session_on_both(&folder, &url).await;
    one_rotation_on_both(&folder, &url).await;
    one_lock_for_both(&folder, &url).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn t9_postgres_away_is_503_and_nobody_is_signed_out() {
    let store = postgres::Server::start();
    let (folder, url) = (Folder::new(), store.url());
    let [server, _] = two(&folder, &url);
    let (cookies, proof) = signed_in(&server).await;
    store.kill();
    t9_keeps_its_cookies(&server, &cookies, &proof).await;
    store.resume();
    refreshes(&server, &cookies, &proof).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn t9_redis_away_is_503_and_nobody_is_signed_out() {
    let mut store = redis::Server::start(redis::DURABLE).await;
    let (folder, url) = (Folder::new(), store.url());
    let [server, _] = two(&folder, &url);
    let (cookies, proof) = signed_in(&server).await;
    store.kill();
    t9_keeps_its_cookies(&server, &cookies, &proof).await;
    store.restart().await;
    refreshes(&server, &cookies, &proof).await;
}
