//! What a client may send: U9 and its neighbours.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Full;
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::server::refresh::RefreshPolicy;

use crate::support::endpoints::{Answer, PASSWORD, Server, ada, form, json as post, request};

#[tokio::test]
async fn u9_long_passwords_and_bodies_are_refused_before_any_hashing() {
    let server = Server::start().await;
    let long = json!({ "email": "ada@example.org", "password": "x".repeat(1025) });
    server.post("login", &long).await.is(400, "invalid_request");
    let most = json!({ "email": "ada@example.org", "password": "x".repeat(1024) });
    server.post("login", &most).await.is(401, "invalid_grant");
    let huge = json!({ "email": "ada@example.org", "password": "x".repeat(20_000) });
    server.post("login", &huge).await.is(413, "invalid_request");
}

#[tokio::test]
async fn bodies_that_are_neither_json_nor_a_form_are_refused() {
    let server = Server::start().await;
    for (kind, body, status) in [
        ("application/json", "", 400),
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", r#"{"email":1,"password":"x"}"#, 400),
        (
            "application/json",
            r#"{"email":"a","email":"b","password":"x"}"#,
            400,
        ),
        (
            "application/json",
            r#"{"email":"a","username":"b","password":"x"}"#,
            400,
        ),
        ("application/json", r#"{"email":"ada@example.org"}"#, 400),
        ("application/json", r#"{"email":"","password":"x"}"#, 400),
        (
            "application/x-www-form-urlencoded",
            "email=a&email=b&password=x",
            400,
        ),
        (
            "application/x-www-form-urlencoded",
            "email=&password=x",
            400,
        ),
        ("text/plain", r#"{"email":"a","password":"x"}"#, 415),
        ("multipart/form-data", "x", 415),
    ] {
        let builder = request("POST", "login").header("content-type", kind);
        let request = builder.body(Full::from(body.to_owned())).unwrap();
        server.send(request).await.is(status, "invalid_request");
    }
    let untyped = request("POST", "login")
        .body(Full::from(ada().to_string()))
        .unwrap();
    server.send(untyped).await.is(415, "invalid_request");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_apart() {
    let server = Server::start().await;
    for path in [
        "",
        "logins",
        "login/x",
        "sessions/",
        "sessions/not-a-session",
    ] {
        let request = request("DELETE", path).body(Full::default()).unwrap();
        let answer = server.send(request).await;
        // A session's name is asked for only once it is known who asks.
        let expected = if path.starts_with("sessions/") {
            401
        } else {
            404
        };
        assert_eq!(answer.status, expected, "{path}");
    }
    for (method, path, allow) in [
        ("GET", "login", "POST"),
        ("PUT", "token", "POST"),
        ("POST", "sessions", "GET, HEAD"),
        ("GET", "sessions/x", "DELETE"),
    ] {
        let request = request(method, path).body(Full::default()).unwrap();
        let answer = server.send(request).await.is(405, "invalid_request");
        assert_eq!(answer.headers["allow"], allow);
    }
}

/// Who limits a path in front of the server has named all of it.
#[tokio::test]
async fn u20_an_endpoint_has_one_path() {
    let server = Server::start().await;
    for path in [
        "//login",
        "/login/",
        "/api/authlogin",
        "/api/auth//login",
        "/api/auth/login/",
        "/api//auth/login",
        "/api/auth/%6cogin",
        "/login",
        "/api/auth/api/auth/login",
    ] {
        let mut request = post("login", &ada());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(server.send(request).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn cookies_without_a_public_origin_are_not_offered() {
    let server = Server::with(false).await;
    for transport in ["cookie", "carrier-pigeon"] {
        let path = format!("login?transport={transport}");
        server
            .send(post(&path, &ada()))
            .await
            .is(400, "invalid_request");
    }
    let escaped = PASSWORD.replace(' ', "+");
    let body = format!("email=ada%40example.org&password={escaped}&transport=body");
    assert_eq!(server.send(form("login", &body)).await.status, 200);
}

#[tokio::test]
async fn u55_a_body_is_read_up_to_a_length_and_for_a_limited_time() {
    let server = impatient().await;
    for (left, ends, status) in [
        (LIMIT, true, 415),
        (LIMIT + 1, true, 413),
        (usize::MAX, true, 413),
        (10, false, 408),
        (0, false, 408),
    ] {
        let (answer, read) = streamed(&server, "login", left, ends).await;
        let answer = answer.is(status, "invalid_request");
        assert!(read <= LIMIT + 1024, "{read} bytes");
        assert_eq!(closes(&answer), status != 415, "{left}");
    }
}

#[tokio::test]
async fn u55_a_body_that_no_endpoint_needs_is_read_within_the_same_limits() {
    let server = impatient().await;
    for (left, ends, is_finished) in [
        (0, true, true),
        (LIMIT, true, true),
        (LIMIT + 1, true, false),
        (usize::MAX, true, false),
        (10, false, false),
        (0, false, false),
    ] {
        let (answer, read) = streamed(&server, "unknown", left, ends).await;
        let answer = answer.is(404, "not_found");
        assert!(read <= LIMIT + 1024, "{read} bytes");
        assert_eq!(closes(&answer), !is_finished, "{left}");
    }
}

/// A server that waits for bodies for a short time.
async fn impatient() -> Server {
    Server::with_parts(
        true,
        RefreshPolicy::browser(),
        |login, _| login,
        |endpoints, _| endpoints.body_timeout(Duration::from_millis(20)),
    )
    .await
}

/// Posts a body of this length, and returns the number of its bytes that were read.
async fn streamed(server: &Server, path: &str, left: usize, ends: bool) -> (Answer, usize) {
    let read = Arc::<AtomicUsize>::default();
    let body = Stream {
        left,
        ends,
        read: Arc::clone(&read),
    };
    let request = request("POST", path).body(body).unwrap();
    let Ok(response) = server.endpoints.clone().oneshot(request).await;
    (Answer::of(response).await, read.load(Ordering::Relaxed))
}

fn closes(answer: &Answer) -> bool {
    answer
        .headers
        .get("connection")
        .is_some_and(|value| value == "close")
}

/// A body that sends so many bytes, and then ends or waits.
struct Stream {
    left: usize,
    ends: bool,
    read: Arc<AtomicUsize>,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.min(1024);
        match length {
            0 if self.ends => Poll::Ready(None),
            0 => Poll::Pending,
            _ => {
                self.left -= length;
                self.read.fetch_add(length, Ordering::Relaxed);
                let bytes = Bytes::from_static(&[b'x'; 1024]).slice(..length);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }
}

/// The longest body that is read.
const LIMIT: usize = 16 * 1024;
