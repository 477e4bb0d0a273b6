//! Which client it is, behind a proxy and without one.

use http::Method;
use serde_json::json;

use super::client::{SEEDS, USER};
use crate::support::process::Server;

const PUBLIC: (&str, &str) = ("AUTH_PUBLIC_URL", "https://app.example");

/// A wrong guess at the one name, through a proxy that says it comes from there.
async fn guess(server: &Server, from: &str) -> u16 {
    let body = json!({ "email": USER, "password": "a wrong guess" }).to_string();
    let headers = [("x-forwarded-for", from)];
    let answer = server.send(Method::POST, "/api/auth/login", &headers, body);
    answer.await.status
}

#[tokio::test]
async fn a_trusted_proxys_clients_count_apart() {
    let server = Server::start(&[SEEDS, PUBLIC, ("AUTH_TRUSTED_PROXIES", "127.0.0.1, ::1")]);
    let said = server.said();
    assert!(!said.contains("AUTH_TRUSTED_PROXIES"), "{said}");
    // Waits begin after five, and double: it is one of the next, however slow the machine is.
    let mut guesses = 0;
    while guess(&server, "203.0.113.1").await != 429 {
        guesses += 1;
        assert!(guesses < 20, "nobody was told to wait");
    }
    for _ in 0..5 {
        assert_eq!(guess(&server, "203.0.113.2").await, 401);
    }
    // What a client wrote itself stands left of what the proxy adds.
    let mut guesses = 0;
    while guess(&server, &format!("192.0.2.{guesses}, 203.0.113.3")).await != 429 {
        guesses += 1;
        assert!(guesses < 20, "a client chose its own address");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    for proxies in [None, Some(("AUTH_TRUSTED_PROXIES", "10.0.0.0/8"))] {
        let mut vars = vec![SEEDS, PUBLIC];
        vars.extend(proxies);
        let server = Server::start(&vars);
        let warned = server.said().contains("AUTH_TRUSTED_PROXIES is not set");
        assert_eq!(warned, proxies.is_none(), "{}", server.said());
        let mut guesses = 0;
        while guess(&server, &format!("203.0.113.{guesses}")).await != 429 {
            guesses += 1;
            assert!(guesses < 20, "{proxies:?}: a client chose its own address");
        }
    }
}
