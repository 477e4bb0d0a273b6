//! Decisions by the AuthZEN API: of a small server on loopback, and of Cerbos.

#[path = "../../../../tests/support/port.rs"]
mod port;
mod support;

use std::{
    env, fs,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, http::StatusCode, routing::post};
use integration_policy::authzen::AuthZen;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_jwt_auth::{Principal, principal::PrincipalKind};

use self::{
    port::free_port,
    support::{PATIENCE, ask, caller},
};

/// Serves a decision point on loopback for the rest of the test, and returns its URL.
async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

/// A decision point that lets owners edit, and everyone read.
async fn evaluate(Json(request): Json<Value>) -> Json<Value> {
    assert_eq!(request["subject"]["type"], "user");
    assert_eq!(request["resource"]["type"], "document");
    assert_eq!(
        request["subject"]["properties"]["scopes"],
        json!(["documents"])
    );
    assert_eq!(request["context"]["method"], "GET");
    let is_owner = request["subject"]["id"] == "alice" && request["resource"]["id"] == "1";
    Json(match request["action"]["name"] == "read" || is_owner {
        true => json!({ "decision": true }),
        false => json!({ "decision": false, "context": { "reason": "not the owner" } }),
    })
}

#[tokio::test]
async fn authzen_allows_and_denies() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = post(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        evaluate(request)
    });
    let url = serve(Router::new().route("/access/v1/evaluation", handler)).await;
    let engine = Arc::new(AuthZen::new(&url, PATIENCE).unwrap());
    let (alice, bob) = (caller("alice", "user"), caller("bob", "user"));
    for (caller, action, path, status) in [
        (&alice, "edit", "/documents/1", StatusCode::OK),
        (&alice, "edit", "/documents/2", StatusCode::FORBIDDEN),
        (&bob, "edit", "/documents/1", StatusCode::FORBIDDEN),
        (&bob, "read", "/documents/1", StatusCode::OK),
    ] {
        let (answer, reason) = ask(&engine, caller, action, path).await;
        assert_eq!(answer, status, "{action} {path}");
        let expected = (status != StatusCode::OK).then_some(r#"{\"reason\":\"not the owner\"}"#);
        assert_eq!(reason.as_deref(), expected);
    }
    // Every request is one query.
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_decision_point_that_does_not_decide_is_unavailable() {
    for body in [
        json!({ "decision": "true" }),
        json!({ "decision": 1 }),
        json!({ "decision": null }),
        json!({}),
        json!([true]),
    ] {
        let answer = body.clone();
        let handler = post(async || Json(answer));
        let url = serve(Router::new().route("/access/v1/evaluation", handler)).await;
        let engine = Arc::new(AuthZen::new(&url, PATIENCE).unwrap());
        let (status, reason) = ask(&engine, &caller("alice", "user"), "read", "/documents/1").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(reason.is_some(), "{body}");
    }
    for status in [
        StatusCode::CREATED,
        StatusCode::UNAUTHORIZED,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        let handler = post(async move || (status, Json(json!({ "decision": true }))));
        let url = serve(Router::new().route("/access/v1/evaluation", handler)).await;
        let engine = Arc::new(AuthZen::new(&url, PATIENCE).unwrap());
        let answer = ask(&engine, &caller("alice", "user"), "read", "/documents/1").await;
        assert_eq!(
            answer,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Some(format!("status {status}"))
            )
        );
    }
}

#[tokio::test]
async fn a_decision_point_that_is_slow_or_gone_is_unavailable() {
    let handler = post(async || {
        std::future::pending::<()>().await;
        StatusCode::OK
    });
    let url = serve(Router::new().route("/access/v1/evaluation", handler)).await;
    let engine = Arc::new(AuthZen::new(&url, Duration::from_millis(50)).unwrap());
    let answer = ask(&engine, &caller("alice", "user"), "read", "/documents/1").await;
    let late = Some("no response in time".to_owned());
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, late));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let engine = Arc::new(AuthZen::new(&url, PATIENCE).unwrap());
    let (status, reason) = ask(&engine, &caller("alice", "user"), "read", "/documents/1").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reason.is_some());
}

/// A server that ends with the test.
struct Cerbos(Child);

impl Drop for Cerbos {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cerbos {
    /// Starts it with the policies in this folder. Returns its URL too.
    fn start(program: &str, folder: &Path) -> (Self, String) {
        let (http, grpc) = (free_port(), free_port());
        let config = format!(
            "server: {{ httpListenAddr: \"127.0.0.1:{http}\", grpcListenAddr: \"127.0.0.1:{grpc}\" }}\n\
             storage: {{ driver: disk, disk: {{ directory: {} }} }}\n\
             telemetry: {{ disabled: true }}\n",
            folder.join("policies").display()
        );
        let file = folder.join("config.yaml");
        fs::write(&file, config).unwrap();
        let server = Command::new(program)
            .args(["server", "--config"])
            .arg(&file)
            .env("CERBOS_NO_TELEMETRY", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Self(server), format!("http://127.0.0.1:{http}"))
    }
}

#[tokio::test]
#[ignore = "needs the Cerbos server, whose path is in the variable CERBOS"]
async fn cerbos_decides_by_its_policies() {
    let program = env::var("CERBOS").expect("the path of the server");
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::copy("tests/cerbos/document.yaml", policies.join("document.yaml")).unwrap();
    let (mut server, mut url) = Cerbos::start(&program, folder.path());
    let alice = caller("alice", "user");
    let guest = Principal::builder().subject("eve").scope("documents");
    let guest = guest.kind(PrincipalKind::Guest).build();
    let begun = Instant::now();
    let engine = loop {
        let engine = Arc::new(AuthZen::new(&url, PATIENCE).unwrap());
        let (status, reason) = ask(&engine, &alice, "read", "/documents/alice").await;
        if status == StatusCode::OK {
            break engine;
        }
        assert!(begun.elapsed() < PATIENCE, "{status} {reason:?}");
        if server.0.try_wait().unwrap().is_some() {
            // Another process has taken a port.
            (server, url) = Cerbos::start(&program, folder.path());
        }
        sleep(Duration::from_millis(50)).await;
    };
    for (caller, action, path, status) in [
        (&alice, "read", "/documents/alice", StatusCode::OK),
        (&alice, "read", "/documents/bob", StatusCode::OK),
        (&alice, "edit", "/documents/alice", StatusCode::OK),
        (&alice, "edit", "/documents/bob", StatusCode::FORBIDDEN),
        (&guest, "read", "/documents/bob", StatusCode::FORBIDDEN),
    ] {
        let (answer, reason) = ask(&engine, caller, action, path).await;
        assert_eq!(answer, status, "{action} {path}: {reason:?}");
    }
}
