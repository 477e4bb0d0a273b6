//! Q16: a caller by API key where claims are asked for.

use std::convert::Infallible;

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tonic::Code;
use tower::Layer;
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Principal, Verified,
    layer::{
        api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey},
        extract::Bearer,
    },
    store::MemoryStore,
    warp::{recover, verified},
};
use warp::Filter;

use crate::{
    grpc,
    support::{
        http_client::get,
        http_server::Server,
        tokens::{good, layer},
    },
};

/// A key, and both layers, the token's inside.
async fn setup() -> (String, ApiKeyLayer, JwtAuthLayer) {
    let format = ApiKeyFormat::new("acme_live").unwrap();
    let keys = ApiKeys::builder(format, MemoryStore::new());
    let keys = keys.build().unwrap();
    let key = keys.issue(NewApiKey::new("alice")).await.unwrap();
    let tokens = layer().extractor(Bearer::new().except_prefix("acme_live_"));
    let key_layer = ApiKeyLayer::new(&keys).optional();
    (key.expose().to_owned(), key_layer, tokens.optional())
}

async fn claims(user: Verified<Claims>) -> String {
    user.subject().unwrap_or_default().to_owned()
}

async fn maybe_claims(user: Option<Verified<Claims>>) -> String {
    match user {
        Some(user) => claims(user).await,
        None => "no claims".to_owned(),
    }
}

async fn caller(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn q16_a_caller_by_api_key_is_403_or_none_where_claims_are_asked_for() {
    let (key, keys, tokens) = setup().await;
    let app = Router::new()
        .route("/claims", route(claims))
        .route("/maybe_claims", route(maybe_claims))
        .route("/caller", route(caller));
    let outside = app.clone().layer(tokens.clone()).layer(keys.clone());
    let inside = app.layer(keys).layer(tokens);
    for app in [outside, inside] {
        let server = Server::axum(app).await;
        let refused = get(server.addr, "/claims", Some(&key)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let challenge = refused.challenge().unwrap();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        for (path, expected) in [("/maybe_claims", "no claims"), ("/caller", "alice")] {
            let answer = get(server.addr, path, Some(&key)).await;
            assert_eq!((answer.status, answer.text()), (StatusCode::OK, expected));
        }
        // With a token there are claims, and without anything nobody.
        assert_eq!(
            get(server.addr, "/claims", Some(&good())).await.text(),
            "alice"
        );
        let nobody = get(server.addr, "/claims", None).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn q16_so_it_is_in_tonic() {
    let (key, keys, tokens) = setup().await;
    let server = grpc::keys_and_tokens(keys, tokens).await;
    let status = grpc::check(&server, Some(key.clone())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(grpc::watch(&server, Some(key)).await.unwrap(), b"alice");
    assert_eq!(grpc::check(&server, Some(good())).await.unwrap(), b'a');
}

#[tokio::test]
async fn q16_so_it_is_in_warp() {
    let (key, keys, tokens) = setup().await;
    let named = |user: Verified<Claims>| user.subject().unwrap_or_default().to_owned();
    let routes = warp::path!("claims").and(verified()).map(named);
    let service = keys.layer(tokens.layer(warp::service(routes.recover(recover))));
    let server = Server::hyper(service).await;
    for (token, expected) in [
        (Some(key), StatusCode::FORBIDDEN),
        (Some(good()), StatusCode::OK),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        let answer = get(server.addr, "/claims", token.as_deref()).await;
        assert_eq!(answer.status, expected);
    }
    // Without a layer nobody can tell.
    let routes = warp::path!("claims").and(verified()).map(named);
    let server = Server::hyper(warp::service(routes.recover(recover))).await;
    let answer = get(server.addr, "/claims", None).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// What every host is given: the handler of a plain service decides by itself.
#[tokio::test]
async fn q16_a_plain_service_finds_the_caller_and_no_claims() {
    let (key, keys, tokens) = setup().await;
    let inner = tower::service_fn(async |request: Request<hyper::body::Incoming>| {
        let extensions = request.extensions();
        let caller = extensions.get::<Principal>().is_some();
        let claims = extensions.get::<Verified<Claims>>().is_some();
        let text = format!("{caller} {claims}");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
    });
    let server = Server::hyper(keys.layer(tokens.layer(inner))).await;
    let answer = get(server.addr, "/", Some(&key)).await;
    assert_eq!(answer.text(), "true false");
}
