//! Used proofs of several nodes: G14, G18, G34.

use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    layer::dpop::Dpop,
    test_util::{DpopClient, TestIssuer, TestKeys},
    verify::proof::RedisReplayStore,
};

use crate::support::redis::{FORGETFUL, Server};

const TARGET: &str = "https://api.example/notes";

/// A node with its own memory, connection and cache.
fn node(url: &str) -> JwtAuthLayer {
    let key = TestKeys::new().verifying_key(Algorithm::Es256);
    let verifier = Verifier::key(key)
        .audience("https://api.example")
        .build()
        .unwrap();
    let store = RedisReplayStore::new(url).unwrap();
    let rules = Dpop::at("https://api.example").replay_store(store).build();
    JwtAuthLayer::new(verifier).dpop(rules.unwrap())
}

async fn ask(node: &JwtAuthLayer, request: Request<()>) -> StatusCode {
    let inner =
        async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(String::new()));
    let answer = node.layer(service_fn(inner)).oneshot(request).await;
    answer.unwrap().status()
}

struct Client {
    key: DpopClient,
    token: String,
}

impl Client {
    fn new() -> Self {
        let key = DpopClient::new(Algorithm::Es256);
        let token = TestIssuer::new(Algorithm::Es256).bound_token(&key, |_| ());
        Self { key, token }
    }

    fn request(&self) -> Request<()> {
        let request = Request::get("/notes");
        self.key
            .sign(request, TARGET, &self.token)
            .body(())
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn g34_of_a_hundred_equal_proofs_on_two_nodes_with_redis_one_passes() {
    let server = Server::start(FORGETFUL).await;
    let nodes = [node(&server.url()), node(&server.url())];
    let client = Client::new();
    for _ in 0..10 {
        let request = client.request();
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (node, request) = (nodes[number % 2].clone(), request.clone());
                tokio::spawn(async move { ask(&node, request).await })
            })
            .collect();
        let mut passed = 0;
        for task in tasks {
            let status = task.await.unwrap();
            passed += usize::from(status == StatusCode::OK);
            assert!(
                matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED),
                "{status}"
            );
        }
        assert_eq!(passed, 1);
    }
    // One short key for each proof, which goes by itself.
    let names: Vec<String> = server.ask(&["KEYS", "*"]).await.unwrap();
    assert_eq!(names.len(), 10);
    for name in &names {
        assert!(name.starts_with("{dpop}:") && name.len() == 50, "{name}");
        let life: i64 = server.ask(&["PTTL", name]).await.unwrap();
        assert!((60_000..=151_000).contains(&life), "{life}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn g18_a_redis_that_is_gone_is_503_and_serves_again_when_it_is_back() {
    let mut server = Server::start(FORGETFUL).await;
    let node = node(&server.url());
    let client = Client::new();
    assert_eq!(ask(&node, client.request()).await, StatusCode::OK);
    server.kill();
    for _ in 0..3 {
        assert_eq!(
            ask(&node, client.request()).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    server.restart().await;
    let back = Instant::now();
    while ask(&node, client.request()).await != StatusCode::OK {
        assert!(back.elapsed() < Duration::from_secs(60), "never again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn g18_an_unusable_url_or_prefix_is_refused_at_start() {
    assert!(RedisReplayStore::new("http://localhost").is_err());
    for prefix in ["", "{x}"] {
        assert!(RedisReplayStore::with_prefix("redis://localhost", prefix).is_err());
    }
}
