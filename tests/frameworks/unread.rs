//! Requests that are refused before their body was read. Over HTTP/1.1 the next request follows the body,
//! so a server reads the body or announces that it closes the connection.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{AuthServer, store::MemoryStore};

use crate::support::{
    http_client::{Http, request, send},
    http_server::Server,
    tokens::{good, layer},
};

#[tokio::test]
async fn q24_a_refusal_of_a_layer_leaves_the_connection_usable_or_announces_its_end() {
    for (host, server) in [
        ("axum", guarded_by_axum().await),
        ("hyper", guarded_by_hyper().await),
    ] {
        for sent in [Sent::AtOnce, Sent::Later, Sent::Never] {
            for length in [1, 20_000, 100_000] {
                for sender in Sender::both("POST /me", length, sent) {
                    let (status, fate) = sender.send(server.addr).await;
                    assert_eq!(status, 401, "{host}: {sender:?}");
                    assert_ne!(fate, Fate::Lost, "{host}: {sender:?}");
                }
            }
        }
        // A request without a body costs no connection.
        let empty = Sender {
            head: "GET /me HTTP/1.1".to_owned(),
            body: Vec::new(),
            sent: Sent::AtOnce,
        };
        assert_eq!(empty.send(server.addr).await, (401, Fate::Reused), "{host}");
    }
}

#[tokio::test]
async fn u55_an_endpoint_reads_a_short_body_that_it_does_not_need() {
    for (host, server) in [
        ("axum", endpoints_by_axum().await),
        ("hyper", endpoints_by_hyper().await),
    ] {
        for (head, expected) in [
            ("POST /api/auth/unknown", 404),
            ("PUT /api/auth/login", 405),
            ("DELETE /api/auth/sessions/x", 401),
            ("GET /api/auth/sessions", 401),
            ("POST /api/auth/login", 415),
        ] {
            for sent in [Sent::AtOnce, Sent::Later] {
                for sender in [1, LIMIT]
                    .into_iter()
                    .flat_map(|length| Sender::both(head, length, sent))
                {
                    let (status, fate) = sender.send_in_time(server.addr).await;
                    assert_eq!(
                        (status, fate),
                        (expected, Fate::Reused),
                        "{host}: {sender:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn u55_a_long_or_slow_body_is_not_read_and_the_response_announces_the_end() {
    for (host, server) in [
        ("axum", endpoints_by_axum().await),
        ("hyper", endpoints_by_hyper().await),
    ] {
        for (head, expected) in [
            ("POST /api/auth/unknown", 404),
            ("POST /api/auth/login", 413),
        ] {
            for sent in [Sent::AtOnce, Sent::Later] {
                for sender in Sender::both(head, LIMIT + 1, sent) {
                    let answered = sender.send(server.addr).await;
                    assert_eq!(answered, (expected, Fate::Announced), "{host}: {sender:?}");
                }
            }
            // The announced length is enough to refuse.
            let [sender, _] = Sender::both(head, LIMIT + 1, Sent::Never);
            let answered = sender.send(server.addr).await;
            assert_eq!(answered, (expected, Fate::Announced), "{host}: {sender:?}");
        }
        // A client that sends no body.
        for sender in Sender::both("POST /api/auth/unknown", 10, Sent::Never) {
            let answered = sender.send(server.addr).await;
            assert_eq!(answered, (404, Fate::Announced), "{host}: {sender:?}");
        }
        // A client that asks first is not told to send the body.
        let head = "POST /api/auth/unknown HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10";
        let sender = Sender {
            head: head.to_owned(),
            body: vec![b'x'; 10],
            sent: Sent::Never,
        };
        assert_eq!(
            sender.send(server.addr).await,
            (404, Fate::Announced),
            "{host}"
        );
    }
}

#[tokio::test]
async fn q24_a_client_that_keeps_its_connection_loses_no_request() {
    for (path, expected, server) in [
        ("/me", StatusCode::UNAUTHORIZED, guarded_by_axum().await),
        (
            "/api/auth/unknown",
            StatusCode::NOT_FOUND,
            endpoints_by_axum().await,
        ),
    ] {
        let client = Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build_http();
        for round in 0..100 {
            for length in [10, LIMIT, 20_000] {
                let body = Full::<Bytes>::from(vec![b'x'; length]);
                let post = request(server.addr, path, None)
                    .method(Method::POST)
                    .body(body)
                    .unwrap();
                let response = client.request(post).await.unwrap();
                assert_eq!(response.status(), expected);
                response.into_body().collect().await.unwrap();

                let get = request(server.addr, "/me", Some(&good()))
                    .body(Full::default())
                    .unwrap();
                let response = client.request(get).await;
                let response =
                    response.unwrap_or_else(|error| panic!("{path}, {round}, {length}: {error:?}"));
                assert_eq!(response.status(), StatusCode::OK);
                response.into_body().collect().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn q24_over_http_2_no_connection_ends() {
    let server = endpoints_by_hyper().await;
    for length in [10, 20_000] {
        let body = Full::<Bytes>::from(vec![b'x'; length]);
        let post = request(server.addr, "/api/auth/unknown", None)
            .method(Method::POST)
            .body(body);
        let answer = send(Http::Two, post.unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.header("connection"), None);
    }
}

/// The part of the body that is sent before the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The body follows the head immediately.
    AtOnce,
    /// The body follows in a segment of its own.
    Later,
    /// The client waits for the response.
    Never,
}

/// The fate of the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Reused,
    Announced,
    Lost,
}

/// A request, and the way in which it is sent.
struct Sender {
    head: String,
    body: Vec<u8>,
    sent: Sent,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, {} bytes, {:?}",
            self.head,
            self.body.len(),
            self.sent
        )
    }
}

impl Sender {
    /// A body of this length, with its length in the head and in chunks.
    fn both(line: &str, length: usize, sent: Sent) -> [Self; 2] {
        let data = vec![b'x'; length];
        let chunked = [
            format!("{length:x}\r\n").as_bytes(),
            &data,
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        [
            (format!("Content-Length: {length}"), data),
            ("Transfer-Encoding: chunked".to_owned(), chunked),
        ]
        .map(|(framing, body)| Self {
            head: format!("{line} HTTP/1.1\r\n{framing}"),
            body,
            sent,
        })
    }

    /// Sends the request again if the machine was so busy that the body was late.
    async fn send_in_time(&self, addr: SocketAddr) -> (u16, Fate) {
        loop {
            let begun = Instant::now();
            let answered = self.send(addr).await;
            if begun.elapsed() < Duration::from_millis(500) {
                return answered;
            }
        }
    }

    /// Sends the request, and another one over the same connection unless its end is announced.
    async fn send(&self, addr: SocketAddr) -> (u16, Fate) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut first = format!("{}\r\nHost: localhost\r\n\r\n", self.head).into_bytes();
        let mut next = format!(
            "GET /me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            good(),
        )
        .into_bytes();
        match self.sent {
            Sent::AtOnce => first.extend_from_slice(&self.body),
            Sent::Later => {}
            Sent::Never => next.splice(..0, self.body.iter().copied()).for_each(drop),
        }
        stream.write_all(&first).await.unwrap();
        if self.sent == Sent::Later {
            // Lets the server read the head alone. It may have closed the connection since.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let _ = stream.write_all(&self.body).await;
        }
        match response(&mut stream).await {
            None => (0, Fate::Lost),
            Some((status, true)) => (status, Fate::Announced),
            Some((status, false)) => {
                let _ = stream.write_all(&next).await;
                match response(&mut stream).await {
                    Some((200, false)) => (status, Fate::Reused),
                    _ => (status, Fate::Lost),
                }
            }
        }
    }
}

/// Returns the status of the next response, and `true` if it announces the end of the connection.
async fn response(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head.split(' ').nth(1)?.parse().unwrap();
    let length = head.split("content-length: ").nth(1)?;
    let length = length.split("\r\n").next()?.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((status, head.contains("\r\nconnection: close\r\n")))
}

async fn guarded_by_axum() -> Server {
    let app = Router::new().route("/me", get(async || "alice").post(async || "alice"));
    Server::axum(app.layer(layer())).await
}

async fn guarded_by_hyper() -> Server {
    Server::hyper(layer().layer(service_fn(alice))).await
}

async fn endpoints_by_axum() -> Server {
    let auth = login_server().await;
    let app = Router::new()
        .route("/me", get(async || "alice"))
        .nest_service(auth.path(), auth.endpoints().nested());
    Server::axum(app).await
}

async fn endpoints_by_hyper() -> Server {
    let endpoints = login_server().await.endpoints();
    let service = service_fn(move |request: Request<Incoming>| {
        let endpoints = endpoints.clone();
        async move {
            match request.uri().path() {
                "/me" => alice(request).await,
                _ => {
                    let Ok(response) = endpoints.oneshot(request).await;
                    Ok(response.map(Body::new))
                }
            }
        }
    });
    Server::hyper(service).await
}

async fn login_server() -> AuthServer {
    let auth = AuthServer::builder(MemoryStore::new()).public_origin("http://localhost:3000");
    auth.start().await.unwrap()
}

async fn alice(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("alice")))
}

/// The longest body that an endpoint reads.
const LIMIT: usize = 16 * 1024;
