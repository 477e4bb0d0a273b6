//! Logout that the provider sends to one of several nodes.

use std::{
    io::{BufRead, BufReader, Read},
    time::{Duration, Instant},
};

use http::Method;
use tokio::time::sleep;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{JwksFixture, LogoutSender, TestIssuer},
};

use super::{network::decided, refused, start};
use crate::{
    mcp::node,
    support::{
        port::free_port,
        postgres,
        process::{Answer, Folder, Server},
        redis,
    },
};

const API: &str = "https://api.example";
const CLIENT: &str = "shop-web";
/// A subject that no separator and no quotation of a store may change.
const SUBJECT: &str = "n1:o'dd \"$1\" 用户\u{200b}\n";

fn vars<'v>(issuer: &'v str, store: &'v str) -> Vec<(&'static str, &'v str)> {
    vec![
        ("JWT_ISSUER", issuer),
        ("JWT_AUDIENCE", API),
        ("JWT_BACKCHANNEL_LOGOUT", "true"),
        ("JWT_LOGOUT_CLIENT_ID", CLIENT),
        ("JWT_LOGOUT_STORE", store),
    ]
}

/// Two nodes on one store, and their identity provider.
struct Nodes {
    provider: JwksFixture,
    store: String,
    both: [Server; 2],
}

impl Nodes {
    fn on(store: &str) -> Self {
        let provider = JwksFixture::start();
        let issuer = provider.issuer();
        // Together, so that they meet in the migration.
        let both = std::thread::scope(|scope| {
            let one = scope.spawn(|| start(&vars(&issuer, store)));
            let two = scope.spawn(|| start(&vars(&issuer, store)));
            [one.join().unwrap(), two.join().unwrap()]
        });
        Self {
            provider,
            store: store.to_owned(),
            both,
        }
    }

    fn issuer(&self) -> TestIssuer {
        self.provider.issuer_for(Algorithm::Es256)
    }

    /// An access token of a subject, which names this session.
    fn access(&self, subject: &str, session: Option<&str>) -> String {
        self.issuer().token(|claims| {
            claims.insert("sub".into(), subject.into());
            session.map(|session| claims.insert("sid".into(), session.into()))
        })
    }

    fn sender(&self) -> LogoutSender {
        LogoutSender::new(&self.issuer(), CLIENT).subject(SUBJECT)
    }

    async fn statuses(&self, token: &str) -> [u16; 2] {
        let [one, two] = &self.both;
        [
            decided(one, "/protected", Some(token)).await.status,
            decided(two, "/protected", Some(token)).await.status,
        ]
    }

    /// Waits until both nodes refuse a token, and returns the time that it took.
    async fn refuse(&self, token: &str) -> Duration {
        let begun = Instant::now();
        while self.statuses(token).await != [401, 401] {
            assert!(begun.elapsed() < PATIENCE, "a node accepts the token");
            sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }

    /// A logout at the first node ends the tokens on both, also after a restart.
    async fn x1_a_logout_at_one_is_refused_at_both(&mut self) {
        let of_session = self.access(SUBJECT, Some("s1"));
        let other_session = self.access(SUBJECT, Some("s2"));
        let sessionless = self.access(SUBJECT, None);
        let other_subject = self.access("n1:o'dd", None);
        for token in [&of_session, &other_session, &sessionless, &other_subject] {
            assert_eq!(self.statuses(token).await, [200, 200]);
        }
        let form = self.sender().session("s1").form();
        assert_eq!(send(&self.both[0], &form).await.status, 200);
        let here = self.both[0].get("/protected", Some(&of_session)).await;
        assert_eq!(here.status, 401);
        let there = self.refuse(&of_session).await;
        let scheme = self.store.split(':').next().unwrap();
        println!("{scheme}: the other node refused after {there:?}");
        self.refuse(&sessionless).await;
        for token in [&other_session, &other_subject] {
            assert_eq!(self.statuses(token).await, [200, 200]);
        }

        let issuer = self.provider.issuer();
        for node in &mut self.both {
            // The old process ends when its place is taken.
            *node = start(&vars(&issuer, &self.store));
        }
        assert_eq!(self.statuses(&of_session).await, [401, 401]);
        assert_eq!(self.statuses(&sessionless).await, [401, 401]);
        assert_eq!(self.statuses(&other_session).await, [200, 200]);
        let form = self.sender().form();
        assert_eq!(send(&self.both[1], &form).await.status, 200);
        self.refuse(&other_session).await;
        assert_eq!(self.statuses(&other_subject).await, [200, 200]);
    }

    /// Without its store no logout is acknowledged, and none is made.
    async fn x5_is_503_and_ends_nothing(&self, form: &str, token: &str) {
        let answer = send(&self.both[0], form).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert_eq!(self.statuses(token).await, [200, 200]);
    }

    /// The provider tries again until the store is there.
    async fn x5_the_next_try_ends_the_session(&self, form: &str, token: &str) {
        let begun = Instant::now();
        loop {
            let answer = send(&self.both[0], form).await;
            match answer.status {
                200 => break,
                503 if begun.elapsed() < PATIENCE => sleep(Duration::from_millis(100)).await,
                _ => panic!("{answer:?}"),
            }
        }
        self.refuse(token).await;
    }
}

async fn send(node: &Server, form: &str) -> Answer {
    node.send(Method::POST, "/backchannel-logout", &[], form)
        .await
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn x1_two_nodes_on_one_redis() {
    let store = redis::Server::start(redis::FORGETFUL).await;
    let mut nodes = Nodes::on(&store.url());
    nodes.x1_a_logout_at_one_is_refused_at_both().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn x1_two_nodes_on_one_postgres() {
    let store = postgres::Server::start();
    let mut nodes = Nodes::on(&store.url());
    nodes.x1_a_logout_at_one_is_refused_at_both().await;
}

#[tokio::test]
async fn x1_two_nodes_on_one_sqlite_file() {
    let folder = Folder::new();
    let file = folder.path().join("logouts.db");
    let mut nodes = Nodes::on(&format!("sqlite:{}", file.display()));
    nodes.x1_a_logout_at_one_is_refused_at_both().await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn x5_redis_away_acknowledges_no_logout() {
    let mut store = redis::Server::start(redis::DURABLE).await;
    let nodes = Nodes::on(&store.url());
    let token = nodes.access(SUBJECT, Some("s1"));
    let form = nodes.sender().session("s1").form();
    assert_eq!(nodes.statuses(&token).await, [200, 200]);
    store.kill();
    nodes.x5_is_503_and_ends_nothing(&form, &token).await;
    store.restart().await;
    nodes.x5_the_next_try_ends_the_session(&form, &token).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn x5_postgres_away_acknowledges_no_logout() {
    let store = postgres::Server::start();
    let nodes = Nodes::on(&store.url());
    let token = nodes.access(SUBJECT, Some("s1"));
    let form = nodes.sender().session("s1").form();
    assert_eq!(nodes.statuses(&token).await, [200, 200]);
    store.kill();
    nodes.x5_is_503_and_ends_nothing(&form, &token).await;
    store.resume();
    nodes.x5_the_next_try_ends_the_session(&form, &token).await;
}

#[test]
fn x5_a_store_that_cannot_be_opened_stops_the_start() {
    let provider = JwksFixture::start();
    let issuer = provider.issuer();
    let refuse = |store: &str| {
        let (status, said, complaint) = refused(&vars(&issuer, store));
        assert_eq!(status.code(), Some(2), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.starts_with("JWT_LOGOUT_STORE: "), "{complaint}");
        assert!(!said.contains("hunter2"), "{said}");
    };
    refuse("mysql://user:hunter2@127.0.0.1/logouts");
    refuse("postgres://user:hunter2@127.0.0.1:1/logouts");
}

#[tokio::test]
#[ignore = "needs Node 22 with oidc-provider, and redis-server"]
async fn x1_x9_oidc_provider_ends_its_tokens_on_two_nodes() {
    let store = redis::Server::start(redis::FORGETFUL).await;
    let ports = [free_port().to_string(), free_port().to_string()];
    let urls = ports
        .each_ref()
        .map(|port| format!("http://127.0.0.1:{port}"));
    let mut provider = node()
        .arg("tests/processes/resource_server/sign_out.mjs")
        .args(&urls)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(provider.stdout.take().unwrap());
    let mut issuer = String::new();
    said.read_line(&mut issuer).unwrap();
    let url = store.url();
    let nodes = ports.each_ref().map(|port| {
        let mut vars = vars(issuer.trim(), &url);
        vars.push(("PORT", port.as_str()));
        start(&vars)
    });
    let mut transcript = String::new();
    said.read_to_string(&mut transcript).unwrap();
    let output = provider.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{transcript}");
    assert!(output.status.success(), "{transcript}\n{complaint}");
    assert!(transcript.ends_with("done\n"), "{transcript}");
    drop(nodes);
}

const PATIENCE: Duration = Duration::from_secs(30);
