//! The layer that the variables describe.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, JwtSettings, Verified,
    event::sink_fn,
    key::Algorithm,
    test_util::{JwksFixture, TestIssuer},
};

use crate::support::vars::{AUDIENCE, File, ISSUER, SECRET, read};

/// The status and the body of the answer to a request with this token.
async fn call<C>(layer: &JwtAuthLayer<C>, token: Option<&str>) -> (StatusCode, String)
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let service = layer.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("handled")))
    }));
    let mut request = Request::post("/").header("content-type", "application/grpc-web");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = service.oneshot(request.body(Full::default()).unwrap());
    let response = response.await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn settings(pairs: &[(&str, &str)]) -> JwtSettings {
    read(pairs).unwrap()
}

#[tokio::test]
async fn every_source_of_keys_becomes_a_layer_in_one_expression() {
    let (jwks, pem) = (File::jwks(), File::pem(Algorithm::Es256));
    let server = JwksFixture::start();
    let (url, of_server) = (server.url(), server.issuer());
    for (variable, value, issuer, algorithm) in [
        ("JWT_SECRET_KEY", SECRET, ISSUER, Algorithm::Hs256),
        ("JWT_PUBLIC_KEY_FILE", pem.path(), ISSUER, Algorithm::Es256),
        ("JWT_JWKS_FILE", jwks.path(), ISSUER, Algorithm::EdDsa),
        ("JWT_JWKS_URL", &url, ISSUER, Algorithm::Rs256),
        ("JWT_LEEWAY_SECONDS", "60", &of_server, Algorithm::Es256),
    ] {
        let layer = settings(&[
            (variable, value),
            ("JWT_ISSUER", issuer),
            ("JWT_AUDIENCE", AUDIENCE),
        ])
        .layer()
        .unwrap();
        layer.verifier().ready().await.unwrap();
        assert!(layer.is_ready(), "{variable}");
        let minted = TestIssuer::new(algorithm).issuer(issuer);
        let (status, body) = call(&layer, Some(&minted.token(|_| ()))).await;
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::OK, "handled"),
            "{variable}"
        );
        let other = minted.audience("https://other.example").token(|_| ());
        let verdict = layer.verifier().verify_now(other).unwrap_err();
        assert_eq!(verdict.as_str(), "wrong_audience", "{variable}");
    }
}

#[tokio::test]
async fn p8_the_layer_is_in_gateway_mode_if_the_variable_says_so() {
    let secret = ("JWT_SECRET_KEY", SECRET);
    let plain = settings(&[secret]).layer().unwrap();
    // The framing of gRPC-Web: HTTP 200.
    assert_eq!(call(&plain, None).await.0, StatusCode::OK);
    let gateway = settings(&[secret, ("JWT_GATEWAY", "true")])
        .layer()
        .unwrap();
    assert_eq!(call(&gateway, None).await.0, StatusCode::UNAUTHORIZED);
    assert!(gateway.optional().build().is_err());
}

#[tokio::test]
async fn q8_one_sink_receives_the_events_of_keys_and_of_requests() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let server = JwksFixture::start();
    let layer = settings(&[
        ("JWT_JWKS_URL", &server.url()),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ])
    .events(sink_fn(move |event| {
        sink.lock().unwrap().push(event.name())
    }))
    .layer()
    .unwrap();
    layer.verifier().ready().await.unwrap();
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    call(&layer, Some(&token)).await;
    call(&layer, None).await;
    // A request that waited for a fetch is answered before the fetch is reported.
    while !events.lock().unwrap().contains(&"keys.fetched") {
        tokio::task::yield_now().await;
    }
    let mut events = events.lock().unwrap().clone();
    events.sort_unstable();
    assert_eq!(
        events,
        ["keys.fetched", "request.allowed", "request.denied"]
    );
}

#[tokio::test]
async fn a_layer_for_custom_claims_refuses_tokens_that_do_not_match() {
    #[derive(Deserialize)]
    struct Tenant {
        tenant: u32,
    }

    let vars = [("JWT_SECRET_KEY", SECRET), ("JWT_AUDIENCE", AUDIENCE)];
    let layer = settings(&vars).layer_for::<Tenant>().unwrap();
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let with = issuer.token(|claims| claims.insert("tenant".into(), json!(7)));
    let claims: Verified<Tenant> = layer.verifier().verify_now(&with).unwrap();
    assert_eq!(claims.tenant, 7);
    assert_eq!(call(&layer, Some(&with)).await.1, "handled");
    let without = issuer.token(|_| ());
    let error = layer.verifier().verify_now(without).unwrap_err();
    assert_eq!(error.as_str(), "malformed_claims");
}
