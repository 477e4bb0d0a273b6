//! The variables of a protected resource.

use std::convert::Infallible;

use http::{Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{JwtAuthLayer, key::Algorithm, test_util::TestIssuer};

use crate::support::vars::{AUDIENCE, ISSUER, SECRET, read, refusal};

const RESOURCE: &str = "https://api.example/v1";
const SERVER: (&str, &str) = ("JWT_AUTHORIZATION_SERVERS", "https://as.example");

fn layer(more: &[(&str, &str)]) -> JwtAuthLayer {
    let secret = [("JWT_SECRET_KEY", SECRET)];
    read(&[&secret, more].concat()).unwrap().layer().unwrap()
}

/// The status, the challenge and the body.
async fn ask(layer: &JwtAuthLayer, path: &str) -> (StatusCode, Option<String>, Value) {
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let response = service.oneshot(Request::get(path).body(()).unwrap());
    let Ok(response) = response.await;
    let status = response.status();
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let Ok(body) = response.into_body().collect().await;
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    (status, challenge, body)
}

#[tokio::test]
async fn j1_j5_j12_the_variables_announce_the_resource() {
    let layer = layer(&[
        ("JWT_RESOURCE", "HTTPS://API.example/v1"),
        (
            "JWT_AUTHORIZATION_SERVERS",
            "https://as.example, https://other.example",
        ),
        ("JWT_RESOURCE_SCOPES", "orders:read, orders:write"),
    ]);
    let (status, challenge, _) = ask(&layer, "/").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let url = "https://api.example/.well-known/oauth-protected-resource/v1";
    let expected = format!(
        r#"Bearer realm="api", scope="orders:read orders:write", resource_metadata="{url}""#
    );
    assert_eq!(challenge, Some(expected));
    let (status, _, document) = ask(&layer, "/.well-known/oauth-protected-resource/v1").await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "resource": RESOURCE,
        "authorization_servers": ["https://as.example", "https://other.example"],
        "scopes_supported": ["orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document, expected);
}

#[tokio::test]
async fn j12_without_an_authorization_server_nothing_is_announced() {
    let quiet = layer(&[("JWT_RESOURCE", RESOURCE)]);
    let (_, challenge, _) = ask(&quiet, "/").await;
    assert_eq!(challenge.as_deref(), Some(r#"Bearer realm="api""#));
    let (status, ..) = ask(&quiet, "/.well-known/oauth-protected-resource/v1").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(quiet.metadata().is_none());
    // The name is known, for the targets of proofs.
    let settings = read(&[("JWT_SECRET_KEY", SECRET), ("JWT_RESOURCE", RESOURCE)]).unwrap();
    assert_eq!(settings.resource().unwrap().origin(), "https://api.example");

    let without_scopes = layer(&[("JWT_RESOURCE", RESOURCE), SERVER]);
    let (_, challenge, _) = ask(&without_scopes, "/").await;
    assert!(!challenge.unwrap().contains("scope="));
}

#[test]
fn j25_the_audience_defaults_to_the_resource_and_is_compared_exactly() {
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let of = |audience: &str| issuer.clone().audience(audience).token(|_| ());
    let none = issuer.token(|claims| claims.remove("aud"));
    let verdicts = |more: &[(&str, &str)]| {
        let layer = layer(&[&[("JWT_RESOURCE", "HTTPS://API.example/v1")], more].concat());
        let tokens = [
            of(RESOURCE),
            of("https://API.example/v1"),
            of("https://api.example"),
            of(AUDIENCE),
            of("another"),
            none.clone(),
        ];
        tokens.map(|token| layer.verifier().verify_now(token).is_ok())
    };
    assert_eq!(verdicts(&[]), [true, false, false, false, false, false]);
    let client = ("JWT_CLIENT_ID", "client");
    assert_eq!(
        verdicts(&[client]),
        [true, false, false, false, false, false]
    );
    let named = ("JWT_AUDIENCE", "another");
    assert_eq!(
        verdicts(&[named]),
        [false, false, false, false, true, false]
    );
    let any = ("JWT_VERIFY_AUD", "false");
    assert_eq!(verdicts(&[any]), [true; 6]);
    // RFC 9068 needs an audience, which the resource is.
    let profile = [("JWT_REQUIRED_TYP", "at+jwt"), ("JWT_ISSUER", ISSUER)];
    let _ = layer(&[&[("JWT_RESOURCE", RESOURCE)], &profile[..]].concat());
}

#[test]
fn j3_j15_bad_values_are_named() {
    let resource = ("JWT_RESOURCE", RESOURCE);
    for (pairs, expected) in [
        (
            vec![("JWT_RESOURCE", "http://api.example")],
            "JWT_RESOURCE: ",
        ),
        (vec![("JWT_RESOURCE", "api")], "JWT_RESOURCE: "),
        (
            vec![("JWT_RESOURCE", "https://api.example/#x")],
            "JWT_RESOURCE: ",
        ),
        (
            vec![SERVER],
            "JWT_AUTHORIZATION_SERVERS: has no effect without JWT_RESOURCE",
        ),
        (
            vec![resource, ("JWT_AUTHORIZATION_SERVERS", "http://as.example")],
            "JWT_AUTHORIZATION_SERVERS: ",
        ),
        (
            vec![
                resource,
                ("JWT_AUTHORIZATION_SERVERS", "https://as.example,"),
            ],
            "JWT_AUTHORIZATION_SERVERS: an entry of the list is empty",
        ),
        (
            vec![resource, ("JWT_RESOURCE_SCOPES", "a")],
            "JWT_RESOURCE_SCOPES: has no effect without JWT_AUTHORIZATION_SERVERS",
        ),
        (
            vec![
                resource,
                SERVER,
                ("JWT_RESOURCE_SCOPES", "orders:read,offline_access"),
            ],
            "JWT_RESOURCE_SCOPES: `offline_access` ",
        ),
        (
            vec![
                resource,
                SERVER,
                ("JWT_RESOURCE_SCOPES", "orders:read orders:write"),
            ],
            "JWT_RESOURCE_SCOPES: ",
        ),
        (
            vec![resource, SERVER, ("JWT_ACCEPT_ID_TOKENS", "true")],
            "JWT_ACCEPT_ID_TOKENS: ",
        ),
    ] {
        let all = [&[("JWT_SECRET_KEY", SECRET)], &pairs[..]].concat();
        let refused = refusal(&all);
        assert!(refused.starts_with(expected), "{pairs:?}: {refused}");
    }
    for local in ["http://localhost:3000/mcp", "http://127.0.0.1:3000"] {
        let _ = layer(&[("JWT_RESOURCE", local), SERVER]);
    }
}
