//! The reverse proxy of the examples in front of a real upstream.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, channel::Channel};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::sync::mpsc;
use tower::{Layer, service_fn};
use tower_jwt_auth::layer::jwt::ForwardedClaim;

use crate::{
    examples::proxy,
    support::{
        http_client::{Http, get, raw, request, send},
        http_server::Server,
        tokens::{admin, forged, good, layer},
    },
};

/// Answers with the header fields that it got.
async fn headers(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut fields: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    let target = request.uri().to_string();
    Ok(Response::new(Full::from(
        [vec![target], fields].concat().join("\n"),
    )))
}

async fn before(upstream: &Server) -> Server {
    let authority = upstream.addr.to_string().parse().unwrap();
    Server::run(|listener| proxy::serve(listener, layer(), authority)).await
}

#[tokio::test]
async fn a_proxy_tells_the_caller_and_keeps_the_credential() {
    let upstream = Server::hyper(service_fn(headers)).await;
    let server = before(&upstream).await;
    for http in [Http::One, Http::Two] {
        let token = admin();
        let request = request(server.addr, "/a?b=c", Some(&token));
        let answer = send(http, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let lines: Vec<_> = answer.text().lines().collect();
        let host = format!("host: {}", upstream.addr);
        assert_eq!(lines, ["/a?b=c", &host, "x-roles: admin", "x-user: alice"]);
    }
}

#[tokio::test]
async fn q1_a_forged_identity_header_never_arrives() {
    let upstream = Server::hyper(service_fn(headers)).await;
    let server = before(&upstream).await;
    let forged = "X-User: root\r\nx-user: root\r\nX_User: root\r\nX-Roles: root\r\nX_ROLES: root";
    let head = "Host: localhost\r\nConnection: close";
    let token = good();
    let request =
        format!("GET / HTTP/1.1\r\n{head}\r\n{forged}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = raw(server.addr, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("x-user: alice"), "{answer}");
    assert!(!answer.contains("root"), "{answer}");
    assert!(!answer.contains(&token), "{answer}");
}

/// RFC 9110 §7.6.1: a proxy drops the fields that `Connection` names.
#[tokio::test]
async fn q1_a_client_cannot_have_the_identity_dropped() {
    let upstream = Server::hyper(service_fn(headers)).await;
    let server = before(&upstream).await;
    for connection in ["close, X-User", "close,x-junk , x_USER"] {
        let head = format!("Host: localhost\r\nConnection: {connection}\r\nX-Junk: junk");
        let token = format!("Authorization: Bearer {}", good());
        let request = format!("GET / HTTP/1.1\r\n{head}\r\n{token}\r\n\r\n");
        let answer = raw(server.addr, &request).await;
        assert!(answer.contains("x-user: alice"), "{answer}");
        assert_eq!(
            answer.contains("junk"),
            !connection.contains("junk"),
            "{answer}"
        );
    }
}

/// Answers with the names of the trailers that it got.
async fn trailers<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes, Error = hyper::Error>,
{
    let body = request.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let names: Vec<_> = trailers.keys().map(ToString::to_string).collect();
    Ok(Response::new(Full::from(names.join("\n"))))
}

#[tokio::test]
async fn q15_a_forged_trailer_never_arrives() {
    let forwarding = layer().forward_as("x-user".parse().unwrap(), ForwardedClaim::Subject);
    let forwarding = forwarding.forward_as("x-roles".parse().unwrap(), ForwardedClaim::Roles);
    let server = Server::hyper(forwarding.layer(service_fn(trailers))).await;
    let head = "Host: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked";
    let token = format!("Authorization: Bearer {}", good());
    let names = "Trailer: X-User, x.user, X-Roles, X-Checksum";
    let forged = "X-User: root\r\nx.user: root\r\nX-Roles: root\r\nX-Checksum: 1";
    let body = format!("2\r\nhi\r\n0\r\n{forged}\r\n\r\n");
    let request = format!("POST / HTTP/1.1\r\n{head}\r\n{names}\r\n{token}\r\n\r\n{body}");
    let answer = raw(server.addr, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, arrived) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(arrived, "x-checksum");
}

#[tokio::test]
async fn l1_what_is_refused_never_reaches_the_upstream() {
    let reached = Arc::new(AtomicBool::new(false));
    let upstream = {
        let reached = Arc::clone(&reached);
        Server::hyper(service_fn(move |request| {
            reached.store(true, Ordering::SeqCst);
            headers(request)
        }))
    };
    let upstream = upstream.await;
    let server = before(&upstream).await;
    for token in [None, Some(forged())] {
        let answer = get(server.addr, "/", token.as_deref()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(!reached.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_bad_gateway() {
    let upstream = Server::hyper(service_fn(headers)).await;
    let server = before(&upstream).await;
    drop(upstream);
    assert_eq!(
        get(server.addr, "/", Some(&good())).await.status,
        StatusCode::BAD_GATEWAY
    );
}

/// The next chunk is sent when the other end has read the one before.
#[tokio::test]
async fn bodies_stream_through_in_both_directions() {
    let (seen, mut arrived) = mpsc::unbounded_channel();
    let (mut send_answer, answer) = Channel::<Bytes>::new(1);
    let answer = Arc::new(Mutex::new(Some(answer)));
    let upstream = Server::hyper(service_fn(move |request: Request<Incoming>| {
        let (seen, answer) = (seen.clone(), answer.lock().unwrap().take().unwrap());
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                seen.send(frame.unwrap().into_data().unwrap()).unwrap();
            }
            Ok::<_, Infallible>(Response::new(answer))
        }
    }))
    .await;
    let server = before(&upstream).await;

    let (mut send_request, body) = Channel::<Bytes>::new(1);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request(server.addr, "/", Some(&good())).method("POST");
    let answer = tokio::spawn(client.request(request.body(body).unwrap()));
    for chunk in ["one", "two"] {
        send_request.send_data(chunk.into()).await.unwrap();
        assert_eq!(arrived.recv().await.unwrap(), chunk);
    }
    drop(send_request);

    let mut body = answer.await.unwrap().unwrap().into_body();
    for chunk in ["three", "four"] {
        send_answer.send_data(chunk.into()).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), chunk);
    }
    drop(send_answer);
    assert!(body.frame().await.is_none());
}
