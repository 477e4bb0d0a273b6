//! Readiness and cancellation: the inner service is called by the instance that was polled ready,
//! with verified requests only, also where the request had to wait for its key.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower::{Layer, ServiceBuilder, service_fn};
use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier};

use crate::support::{
    http_client::get,
    http_server::{Server, connection},
    late_keys::LateKeys,
    tokens::{expecting, good},
    touchy::Touchy,
};

fn waiting_for(keys: &LateKeys) -> JwtAuthLayer {
    let verifier = expecting(Verifier::key_source(keys.clone()))
        .build()
        .unwrap();
    JwtAuthLayer::new(verifier)
}

#[tokio::test]
async fn a_service_that_panics_unready_is_called_ready() {
    let (keys, touchy) = (LateKeys::default(), Touchy::default());
    let guarded = RoleGuardLayer::authenticated().layer(touchy.clone());
    let server = Server::hyper(waiting_for(&keys).layer(guarded)).await;

    let token = good();
    let (waited, ()) = tokio::join!(get(server.addr, "/", Some(&token)), async {
        keys.asked().await;
        assert_eq!(touchy.calls.load(Ordering::SeqCst), 0);
        keys.arrive();
    });
    assert_eq!(waited.status, StatusCode::OK);
    let at_once = get(server.addr, "/", Some(&token)).await;
    assert_eq!(at_once.status, StatusCode::OK);
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_concurrency_limit_inside_is_kept() {
    const CALLS: usize = 8;

    let keys = LateKeys::default();
    let inside = Arc::new(AtomicUsize::new(0));
    let handler = {
        let inside = Arc::clone(&inside);
        move |_: Request<Incoming>| {
            let inside = Arc::clone(&inside);
            async move {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        }
    };
    let service = ServiceBuilder::new()
        .layer(waiting_for(&keys))
        .concurrency_limit(1)
        .service(service_fn(handler));
    let server = Server::hyper(service).await;

    // The first waits for its key with the only permit in hand; the others wait for the permit.
    let mut calls = JoinSet::new();
    let addr = server.addr;
    for _ in 0..CALLS {
        calls.spawn(async move { get(addr, "/", Some(&good())).await.status });
    }
    keys.asked().await;
    keys.arrive();
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    // The permit of a refused request comes back as well.
    for _ in 0..2 {
        assert_eq!(get(addr, "/", None).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_waiting_never_reaches_the_inner_service() {
    let (keys, touchy) = (LateKeys::default(), Touchy::default());
    let service = waiting_for(&keys).layer(touchy.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();

    let mut client = TcpStream::connect(addr).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(connection(stream, service.clone()));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}",
        good()
    );
    client
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    keys.asked().await;
    drop(client);
    serving.await.unwrap();

    keys.arrive();
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 0);
    // Who stays is served.
    let server = Server::hyper(service).await;
    assert_eq!(
        get(server.addr, "/", Some(&good())).await.status,
        StatusCode::OK
    );
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_source_that_stops_without_keys_is_unavailable() {
    let (keys, touchy) = (LateKeys::default(), Touchy::default());
    let server = Server::hyper(waiting_for(&keys).layer(touchy.clone())).await;
    let token = good();
    let (answer, ()) = tokio::join!(get(server.addr, "/", Some(&token)), async {
        keys.asked().await;
        keys.give_up();
    });
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.challenge(), None);
    assert_eq!(touchy.calls.load(Ordering::SeqCst), 0);
}
