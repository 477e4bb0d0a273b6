//! tonic: a whole server, one service, and the two framings.

use std::str::FromStr;

use axum::{Router, routing::any};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use tonic::{
    Code, Request, Response, Status,
    codegen::{BoxStream, async_trait, tokio_stream},
    metadata::MetadataValue,
    service::LayerExt,
    transport::{self, Channel, Endpoint, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::Layer;
use tower_jwt_auth::{
    AuthError, Claims, JwtAuthLayer, Principal, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    key::{KeyLookup, KeyQuery, KeySource},
    layer::{api_key::ApiKeyLayer, role_guard::Rule},
    tonic::RequestExt,
};

use crate::support::{
    http_client::{Answer, Http, request, send},
    http_server::Server,
    tokens::{admin, expecting, forged, good, issuer, layer},
};

/// Answers with the caller's name instead of anybody's health: in the unary call one byte of it as
/// the status, in the streaming call one message for each byte.
struct Service;

#[async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let user = request.verified::<Claims>()?;
        let first = user.subject().and_then(|name| name.bytes().next());
        Ok(Response::new(answer(first.unwrap_or_default())))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = request.principal()?;
        let name = caller.subject().unwrap_or_default().as_bytes().to_vec();
        let messages = name.into_iter().map(|byte| Ok(answer(byte)));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }
}

fn answer(byte: u8) -> HealthCheckResponse {
    HealthCheckResponse {
        status: i32::from(byte),
    }
}

pub(crate) async fn whole_server(auth: JwtAuthLayer) -> Server {
    Server::run(move |listener| {
        transport::Server::builder()
            .accept_http1(true)
            .layer(auth)
            .layer(watching_is_for_admins())
            .add_service(HealthServer::new(Service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await
}

pub(crate) async fn one_service(auth: JwtAuthLayer) -> Server {
    let service = watching_is_for_admins().named_layer(HealthServer::new(Service));
    Server::run(move |listener| {
        transport::Server::builder()
            .add_service(auth.named_layer(service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await
}

pub(crate) async fn one_service_without_extension(auth: JwtAuthLayer) -> Server {
    let service = watching_is_for_admins().layer(HealthServer::new(Service));
    Server::run(move |listener| {
        transport::Server::builder()
            .add_service(auth.layer(service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await
}

fn watching_is_for_admins() -> RoleGuardLayer {
    RoleGuardLayer::new(Rule::check(|caller, head| {
        !head.uri().path().ends_with("/Watch") || caller.has_role("admin")
    }))
}

/// What must hold wherever the layer stands.
pub(crate) async fn holds(host: &str, server: &Server) {
    let checked = check(server, Some(good())).await.unwrap();
    assert_eq!(checked, b'a', "{host}");
    for token in [None, Some(forged())] {
        // P1, and P3: the guard has not spoken.
        let status = check(server, token.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{host}");
        let status = watch(server, token).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{host}");
    }
    // P2.
    let status = watch(server, Some(good())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{host}");
    assert_eq!(
        watch(server, Some(admin())).await.unwrap(),
        b"alice",
        "{host}"
    );
}

/// The outcome of a call, unary or streaming.
pub(crate) async fn code(server: &Server, streaming: bool, token: Option<String>) -> Code {
    let outcome = if streaming {
        watch(server, token).await.map(drop)
    } else {
        check(server, token).await.map(drop)
    };
    outcome.map_or_else(|status| status.code(), |()| Code::Ok)
}

pub(crate) async fn check(server: &Server, token: Option<String>) -> Result<u8, Status> {
    let mut client = connect(server).await;
    let answer = client.check(call(token)).await?.into_inner();
    Ok(u8::try_from(answer.status).unwrap())
}

pub(crate) async fn watch(server: &Server, token: Option<String>) -> Result<Vec<u8>, Status> {
    let mut client = connect(server).await;
    let mut messages = client.watch(call(token)).await?.into_inner();
    let mut name = Vec::new();
    while let Some(message) = messages.message().await? {
        name.push(u8::try_from(message.status).unwrap());
    }
    Ok(name)
}

async fn connect(server: &Server) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

fn call(token: Option<String>) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        let value = MetadataValue::from_str(&format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// A call by hand, so that the framing can be seen.
async fn bare(server: &Server, http: Http, content_type: &str, token: Option<String>) -> Answer {
    const EMPTY_MESSAGE: Bytes = Bytes::from_static(&[0; 5]);

    let path = "/grpc.health.v1.Health/Check";
    let request = request(server.addr, path, token.as_deref())
        .method("POST")
        .header("content-type", content_type)
        .header("te", "trailers")
        .body(Full::new(EMPTY_MESSAGE))
        .unwrap();
    send(http, request).await
}

#[tokio::test]
async fn p1_a_refused_call_is_trailers_only() {
    let server = whole_server(layer()).await;
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let answer = bare(&server, Http::Two, content_type, None).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("grpc-status"), Some("16"));
        assert!(answer.body.is_empty());
        // Not gRPC's way of asking.
        assert_eq!(answer.challenge(), None);
    }
    // The other way round: the call that passes has its status in its trailers.
    let answer = bare(&server, Http::Two, "application/grpc", Some(good())).await;
    assert_eq!(answer.header("grpc-status"), None);
    assert!(!answer.body.is_empty());
}

#[tokio::test]
async fn p5_the_message_is_percent_encoded_ascii() {
    let server = whole_server(layer()).await;
    let answer = bare(&server, Http::Two, "application/grpc", Some(forged())).await;
    let message = answer.header("grpc-message").unwrap();
    assert!(!message.is_empty());
    assert!(
        message
            .bytes()
            .all(|byte| (0x20..=0x7E).contains(&byte) && byte != b'%')
    );
}

#[tokio::test]
async fn p6_grpc_web_is_answered_in_its_own_framing() {
    let server = whole_server(layer()).await;
    for http in [Http::One, Http::Two] {
        let answer = bare(&server, http, "application/grpc-web+proto", None).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/grpc-web"));
        assert_eq!(trailers(&answer.body)[0], "grpc-status:16");

        let answer = bare(&server, http, "application/grpc-web-text", None).await;
        assert_eq!(
            answer.header("content-type"),
            Some("application/grpc-web-text")
        );
        assert_eq!(
            trailers(&STANDARD.decode(&answer.body).unwrap())[0],
            "grpc-status:16"
        );
    }
}

/// The lines of a body that is nothing but a frame of trailers.
fn trailers(body: &[u8]) -> Vec<&str> {
    let (head, block) = body.split_at(5);
    assert_eq!(head[0], 0x80);
    assert_eq!(
        u32::from_be_bytes(head[1..].try_into().unwrap()) as usize,
        block.len()
    );
    std::str::from_utf8(block)
        .unwrap()
        .split_terminator("\r\n")
        .collect()
}

#[tokio::test]
async fn p7_only_calls_get_the_framing_of_grpc() {
    let tonic = whole_server(layer()).await;
    let router = Router::new().route("/me", any(async |caller: Principal| drop(caller)));
    let axum = Server::axum(router.layer(layer().optional())).await;
    for (host, server, path) in [
        ("tonic", &tonic, "/grpc.health.v1.Health/Check"),
        // It is the extractor that refuses.
        ("axum", &axum, "/me"),
    ] {
        for (http, method, kind, framed) in [
            (Http::Two, "POST", "application/grpc", true),
            (Http::Two, "POST", "application/grpc+proto", true),
            (Http::Two, "GET", "application/grpc", false),
            (Http::Two, "HEAD", "application/grpc", false),
            (Http::One, "POST", "application/grpc", false),
            (Http::One, "GET", "application/grpc", false),
            (Http::One, "POST", "application/grpc-web", true),
            (Http::Two, "POST", "application/grpc-web-text", true),
            (Http::One, "GET", "application/grpc-web", false),
            (Http::Two, "DELETE", "application/grpc-web-text", false),
        ] {
            let request = request(server.addr, path, None)
                .method(method)
                .header("content-type", kind)
                .body(Full::default())
                .unwrap();
            let answer = send(http, request).await;
            let name = format!("{host} {http:?} {method} {kind}");
            let status = if framed { 200 } else { 401 };
            assert_eq!(answer.status, status, "{name}");
            assert_eq!(answer.challenge().is_some(), !framed, "{name}");
            let native = framed && !kind.contains("web");
            assert_eq!(answer.header("grpc-status").is_some(), native, "{name}");
        }
    }
}

#[tokio::test]
async fn p4_keys_that_are_unavailable_are_status_14() {
    struct NoKeys;

    impl KeySource for NoKeys {
        fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
            KeyLookup::Unavailable { retry_after: 7 }
        }
    }

    let verifier = expecting(Verifier::key_source(NoKeys)).build().unwrap();
    let server = whole_server(JwtAuthLayer::new(verifier)).await;
    let status = check(&server, Some(good())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn p3_an_anonymous_call_is_never_status_7() {
    let server = whole_server(layer().optional()).await;
    // The guard asks who it is; without the guard it is the handler who does.
    for (auth, guarded) in [(layer().optional(), true), (layer().optional(), false)] {
        let status = if guarded {
            watch(&whole_server(auth).await, None).await.unwrap_err()
        } else {
            unguarded_check(auth).await.unwrap_err()
        };
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), "The request carries no credential");
    }
    // B16.
    let status = check(&server, Some(forged())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

/// A whole server without a guard, for keys and tokens.
pub(crate) async fn keys_and_tokens(keys: ApiKeyLayer, tokens: JwtAuthLayer) -> Server {
    Server::run(move |listener| {
        transport::Server::builder()
            .layer(keys)
            .layer(tokens)
            .add_service(HealthServer::new(Service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await
}

async fn unguarded_check(auth: JwtAuthLayer) -> Result<u8, Status> {
    let server = Server::run(move |listener| {
        transport::Server::builder()
            .layer(auth)
            .add_service(HealthServer::new(Service))
            .serve_with_incoming(TcpIncoming::from(listener))
    });
    check(&server.await, None).await
}

#[tokio::test]
async fn l13_a_handler_without_a_layer_is_an_internal_error() {
    let server = Server::run(|listener| {
        transport::Server::builder()
            .add_service(HealthServer::new(Service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await;
    for token in [None, Some(good())] {
        let status = check(&server, token).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        // It would only describe the server.
        assert_eq!(status.message(), "");
    }
}

#[tokio::test]
async fn claims_of_another_type_are_an_internal_error() {
    let verifier = crate::support::tokens::verifier()
        .claims::<Other>()
        .build()
        .unwrap();
    let server = Server::run(move |listener| {
        transport::Server::builder()
            .layer(JwtAuthLayer::new(verifier))
            .add_service(HealthServer::new(Service))
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await;
    let status = check(&server, Some(good())).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    // The caller is known all the same.
    assert_eq!(watch(&server, Some(good())).await.unwrap(), b"alice");
}

#[derive(serde::Deserialize)]
struct Other {}

#[tokio::test]
async fn a_layer_without_details_silences_the_handler_too() {
    let status = unguarded_check(layer().optional().terse())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "")
    );
}

#[test]
fn an_error_becomes_the_status_of_its_refusal() {
    for (kind, code) in [
        (AuthErrorKind::MissingCredential, Code::Unauthenticated),
        (AuthErrorKind::Expired, Code::Unauthenticated),
        (AuthErrorKind::CrossSite, Code::Unauthenticated),
        (AuthErrorKind::Forbidden, Code::PermissionDenied),
        (AuthErrorKind::MissingScope, Code::PermissionDenied),
        (AuthErrorKind::MultipleCredentials, Code::InvalidArgument),
        (AuthErrorKind::KeysUnavailable, Code::Unavailable),
        (AuthErrorKind::Misconfigured, Code::Internal),
    ] {
        let status = Status::from(AuthError::from(kind));
        assert_eq!(status.code(), code, "{kind:?}");
        let source = std::error::Error::source(&status).unwrap();
        assert_eq!(source.downcast_ref::<AuthError>().unwrap().kind(), kind);
    }
}

#[test]
fn b14_a_status_says_nothing_of_the_token() {
    let token = issuer().token(|claims| claims["exp"] = 1.into());
    let error = crate::support::tokens::verifier()
        .build()
        .unwrap()
        .verify_now(&token)
        .unwrap_err();
    let text = format!("{:?}", Status::from(error));
    assert!(text.contains("Expired"), "{text}");
    assert!(
        token.split('.').all(|segment| !text.contains(segment)),
        "{text}"
    );
}

/// One [`Principal`] for handlers' tests: no layer, no token.
#[test]
fn a_handlers_test_needs_no_server() {
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(Principal::builder().subject("bob").build());
    assert_eq!(request.principal().unwrap().subject(), Some("bob"));
}
