//! Bound tokens on real hosts: G1, G37, G38, G40.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::WebSocketUpgrade, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{Layer, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal,
    layer::dpop::{Dpop, DpopBuilder},
    test_util::DpopClient,
    verify::proof::Nonces,
};

use crate::{
    examples::proxy,
    grpc,
    support::{
        http_client::{Answer, Http, request, send},
        http_server::Server,
        tokens::{ALGORITHM, good, issuer, layer},
    },
};

/// The name by which clients know the servers of these tests, which no server can see.
const PUBLIC: &str = "https://api.example";

fn rules() -> DpopBuilder {
    Dpop::at(PUBLIC)
}

fn bound(rules: DpopBuilder) -> JwtAuthLayer {
    layer().dpop(rules.build().unwrap())
}

struct Client {
    key: DpopClient,
    token: String,
}

impl Client {
    fn new() -> Self {
        let key = DpopClient::new(ALGORITHM);
        let token = issuer().bound_token(&key, |_| ());
        Self { key, token }
    }

    /// Asks with a proof for this path of the public name.
    async fn ask(&self, http: Http, addr: SocketAddr, path: &str, proven: &str) -> Answer {
        let request = request(addr, path, None);
        let request = self
            .key
            .sign(request, &format!("{PUBLIC}{proven}"), &self.token);
        send(http, request.body(Full::default()).unwrap()).await
    }
}

async fn whoami(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn g1_a_bound_token_passes_on_every_host_and_a_copy_of_the_request_does_not() {
    let client = Client::new();
    let me = || Router::new().route("/me", get(whoami));
    let answer = async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("alice")))
    };
    for (host, server) in [
        ("axum", Server::axum(me().layer(bound(rules()))).await),
        (
            "axum, on a route",
            Server::axum(me().route_layer(bound(rules()))).await,
        ),
        (
            "hyper",
            Server::hyper(bound(rules()).layer(service_fn(answer))).await,
        ),
    ] {
        for http in [Http::One, Http::Two] {
            let answer = client.ask(http, server.addr, "/me?x=1", "/me").await;
            assert_eq!(
                (answer.status, answer.text()),
                (StatusCode::OK, "alice"),
                "{host}"
            );
            let proof = client
                .key
                .proof("GET", &format!("{PUBLIC}/me"), &client.token);
            let mut statuses = Vec::new();
            for _ in 0..2 {
                let copy = request(server.addr, "/me", None)
                    .header("authorization", format!("DPoP {}", client.token))
                    .header("dpop", &proof);
                statuses.push(send(http, copy.body(Full::default()).unwrap()).await.status);
            }
            assert_eq!(
                statuses,
                [StatusCode::OK, StatusCode::UNAUTHORIZED],
                "{host}"
            );
            let stolen = request(server.addr, "/me", Some(&client.token));
            let answer = send(http, stolen.body(Full::default()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{host}");
        }
    }
}

#[tokio::test]
async fn g38_a_nested_router_of_axum_is_asked_by_its_whole_path() {
    let client = Client::new();
    let inner = Router::new()
        .route("/me", get(whoami))
        .layer(bound(rules()));
    let nested = Router::new().nest("/v1", Router::new().nest("/{tenant}", inner));
    let server = Server::axum(nested).await;
    for http in [Http::One, Http::Two] {
        let answer = client
            .ask(http, server.addr, "/v1/acme/me", "/v1/acme/me")
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        for proven in ["/me", "/acme/me", "/v1/other/me"] {
            let answer = client.ask(http, server.addr, "/v1/acme/me", proven).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{proven}");
        }
    }
}

#[tokio::test]
async fn g37_a_grpc_call_is_proven_by_its_path_and_refused_in_its_framing() {
    const PATH: &str = "/grpc.health.v1.Health/Check";

    let client = Client::new();
    let nonces = Nonces::generate().unwrap();
    let server = grpc::whole_server(bound(rules().nonces(nonces))).await;
    let call = async |proven: &str| {
        let request = request(server.addr, PATH, None)
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = client
            .key
            .sign(request, &format!("{PUBLIC}{proven}"), &client.token);
        let message = Bytes::from_static(&[0; 5]);
        send(Http::Two, request.body(Full::new(message)).unwrap()).await
    };
    let refused = |answer: &Answer, error: &str| {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("grpc-status"), Some("16"));
        assert!(answer.body.is_empty());
        let challenges = answer.headers.get_all("www-authenticate").iter();
        let challenges: Vec<_> = challenges.map(|one| one.to_str().unwrap()).collect();
        assert!(challenges.join(", ").contains(error), "{challenges:?}");
    };
    let answer = call(PATH).await;
    refused(&answer, "use_dpop_nonce");
    assert!(client.key.take_nonce(&answer.headers));
    let answer = call(PATH).await;
    assert_eq!(answer.header("grpc-status"), None, "{answer:?}");
    assert!(!answer.body.is_empty());
    refused(
        &call("/grpc.health.v1.Health/Watch").await,
        "invalid_dpop_proof",
    );
    let answer = send(
        Http::Two,
        request(server.addr, PATH, Some(&client.token))
            .method("POST")
            .header("content-type", "application/grpc")
            .body(Full::default())
            .unwrap(),
    );
    refused(&answer.await, "invalid_token");
}

#[tokio::test]
async fn g40_a_proxy_forwards_the_caller_and_neither_token_nor_proof() {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let noted = Arc::clone(&seen);
    let upstream = service_fn(move |request: Request<Incoming>| {
        *noted.lock().unwrap() = request.headers().clone();
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let upstream = Server::hyper(upstream).await;
    let authority = upstream.addr.to_string().parse().unwrap();
    let server = Server::run(|listener| proxy::serve(listener, bound(rules()), authority)).await;
    let client = Client::new();
    for http in [Http::One, Http::Two] {
        let answer = client.ask(http, server.addr, "/a", "/a").await;
        assert_eq!(answer.status, StatusCode::OK);
        let seen = seen.lock().unwrap();
        assert_eq!(seen["x-user"], "alice");
        assert!(
            !seen.contains_key("authorization") && !seen.contains_key("dpop"),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn g1_a_websocket_is_proven_at_its_handshake() {
    let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| ());
    let app = Router::new()
        .route("/ws", get(upgrade))
        .layer(bound(rules()));
    let server = Server::axum(app).await;
    let client = Client::new();
    let status = async |authorization: String, proof: Option<String>| {
        let proof = proof
            .map(|proof| format!("dpop: {proof}\r\n"))
            .unwrap_or_default();
        let handshake = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: {authorization}\r\n{proof}\r\n"
        );
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    let token = &client.token;
    let proof = || client.key.proof("GET", &format!("{PUBLIC}/ws"), token);
    assert_eq!(
        status(format!("DPoP {token}"), Some(proof())).await,
        "HTTP/1.1 101"
    );
    assert_eq!(status(format!("DPoP {token}"), None).await, "HTTP/1.1 401");
    assert_eq!(
        status(format!("Bearer {token}"), None).await,
        "HTTP/1.1 401"
    );
    assert_eq!(
        status(format!("Bearer {}", good()), None).await,
        "HTTP/1.1 101"
    );
}
