//! The events of a session, and what the page of the example demonstrates with.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;

use super::client::{ADMIN, SEEDS, Tokens, USER};
use crate::support::process::Server;

struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    async fn open(server: &Server, tokens: &Tokens) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::get(format!("{}/api/events", server.address()))
            .header("authorization", format!("Bearer {}", tokens.access))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body();
        let text = String::new();
        Self { body, text }
    }

    /// The name and the data of the next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                let found = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                if !found.0.is_empty() {
                    return Some(found);
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await;
            let data = frame.expect("an event, or the end")?.unwrap().into_data();
            self.text
                .push_str(std::str::from_utf8(&data.unwrap()).unwrap());
        }
    }
}

fn event(name: &str, data: &str) -> Option<(String, String)> {
    Some((name.to_owned(), data.to_owned()))
}

#[tokio::test]
async fn w6_a_stream_of_events_shows_its_own_session_and_ends_with_it() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let refused = server.get("/api/events", None).await;
    assert_eq!(refused.status, 401);
    let [user, other] = [server.login(USER).await, server.login(USER).await];
    let admin = server.login(ADMIN).await;
    let mut stream = Stream::open(&server, &user).await;
    // Not those of another session or of another user.
    for others in [&other, &admin] {
        server.refresh(others).await.tokens();
        assert_eq!(server.logout(others, "device").await.status, 204);
    }
    server.refresh(&user).await.tokens();
    assert_eq!(stream.next().await, event("session.refreshed", "rotated"));
    assert_eq!(server.logout(&user, "device").await.status, 204);
    assert_eq!(stream.next().await, event("session.revoked", "device"));
    assert_eq!(stream.next().await, event("end", "token_revoked"));
    assert_eq!(stream.next().await, None);
    let refused = server.get("/api/events", Some(&user.access)).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn w6_a_reused_refresh_token_is_the_last_event_of_its_session() {
    let strict = ("AUTH_REFRESH_POLICY", "strict");
    let server = Server::start(&[SEEDS, strict, ("AUTH_STORE", "memory:")]);
    let user = server.login(USER).await;
    let mut stream = Stream::open(&server, &user).await;
    server.refresh(&user).await.tokens();
    assert_eq!(server.refresh(&user).await.status, 400);
    assert_eq!(stream.next().await, event("session.refreshed", "rotated"));
    let (name, _) = stream.next().await.unwrap();
    assert_eq!(name, "session.reuse_detected");
    let mut last = None;
    while let Some(next) = stream.next().await {
        last = Some(next);
    }
    assert_eq!(last, event("end", "token_revoked"));
}

#[tokio::test]
async fn an_open_stream_does_not_keep_the_server_from_ending() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let user = server.login(USER).await;
    let mut stream = Stream::open(&server, &user).await;
    server.refresh(&user).await.tokens();
    assert_eq!(stream.next().await, event("session.refreshed", "rotated"));
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    assert_eq!(stream.next().await, event("end", "server_stops"));
    assert_eq!(stream.next().await, None);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_token_for_another_audience_is_genuine_and_refused() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let user = server.login(USER).await;
    let path = "/demo/other-audience";
    assert_eq!(server.post(path, "").await.status, 401);
    let answer = server
        .with(Method::POST, path, Some(&user.access), "")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.text("access_token");
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(&token);
    assert_eq!(claims.unwrap().claims["aud"], "https://another-api.example");
    assert_eq!(server.get("/api/me", Some(&token)).await.status, 401);

    // What it is allowed to say of itself where nothing is open for a first try.
    let demo = server.get("/demo", None).await.json();
    // Browsers have no passkeys under an IP address.
    let expected = json!({
        "accounts": [],
        "registration": false,
        "grace_seconds": 30,
        "passkeys": null,
        "dpop": server.address(),
    });
    assert_eq!(demo, expected);
}

#[tokio::test]
async fn a_first_try_is_open_to_newcomers_and_shows_its_demo_users() {
    let server = Server::start(&[]);
    let demo = server.get("/demo", None).await.json();
    assert_eq!(demo["registration"], true);
    let local = server.address().replace("127.0.0.1", "localhost");
    assert_eq!(demo["passkeys"], local);
    for (account, role, status) in [(0, "user", 403), (1, "admin", 200)] {
        let account = &demo["accounts"][account];
        assert_eq!(account["roles"], json!([role]));
        let tokens = server.post("/api/auth/login", account.to_string()).await;
        let token = tokens.tokens().access;
        let users = server.get("/api/admin/users", Some(&token)).await;
        assert_eq!(users.status, status, "{role}");
        let me = server.get("/api/me", Some(&token)).await.json();
        let subject = me["sub"].as_str().unwrap();
        assert!(!subject.contains('@'), "a subject is no address: {subject}");
        assert_eq!(me["claims"]["sub"], me["sub"]);
        assert_eq!(me["claims"]["iss"], local);
    }
}
