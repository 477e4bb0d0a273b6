//! Section P: the authentication requests of gateways.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    layer::{
        response::{OAuthJson, Refusal},
        socket::ChatLayer,
    },
};

use crate::{
    response::grpc::{NATIVE, WEB, grpc, unlike_grpc},
    support::{
        answer::{Answer, send},
        fixture::{Fixture, bearer},
        request::nobody,
        unreachable::Unreachable,
    },
};

/// This request with every content type, method and version that a gateway may hand on.
fn handed_on(request: &Request<String>) -> Vec<(String, Request<String>)> {
    let mut found = unlike_grpc(request);
    for kind in NATIVE.into_iter().chain(WEB).chain(["text/plain"]) {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let mut request = grpc(request.clone(), kind);
            *request.version_mut() = version;
            found.push((format!("POST {version:?} {kind}"), request));
        }
    }
    found.push(("as it is".to_owned(), request.clone()));
    found
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status.as_u16(), status, "{name}");
    assert!(!answer.ran() && answer.error.is_some(), "{name}");
    assert_eq!(answer.header("grpc-status"), None, "{name}");
    let challenged = answer.header("www-authenticate").is_some();
    assert_eq!(challenged, status != 503, "{name}");
    assert_eq!(answer.header("retry-after").is_some(), status == 503);
    if !answer.body.is_empty() {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["status"], status, "{name}");
    }
}

#[tokio::test]
async fn p8_no_request_gets_the_framing_of_grpc() {
    let fixture = Fixture::new();
    let layer = || fixture.layer().gateway().build().unwrap();
    for (request, status, code) in [
        (nobody(), 401, None),
        (bearer("a.b.c"), 401, Some("invalid_token")),
        (
            bearer(fixture.with("exp", json!(0))),
            401,
            Some("invalid_token"),
        ),
        // 400 elsewhere.
        (bearer("a b"), 401, Some("invalid_request")),
        (bearer("x".repeat(20_000)), 401, Some("invalid_request")),
    ] {
        for (name, request) in handed_on(&request) {
            let answer = send(layer(), request).await;
            is_refused(&answer, status, &name);
            assert_eq!(answer.challenge().get("error"), code, "{name}");
        }
    }
    for (name, request) in handed_on(&bearer(fixture.token())) {
        send(layer(), request).await.passes(&name);
    }
    let verifier = fixture.expecting(Verifier::key_source(Unreachable));
    let without_keys = JwtAuthLayer::new(verifier.build().unwrap()).gateway();
    for (name, request) in handed_on(&bearer(fixture.token())) {
        is_refused(&send(without_keys.clone(), request).await, 503, &name);
    }
}

#[tokio::test]
async fn p8_guards_inside_take_the_mode_from_the_layer() {
    let fixture = Fixture::new();
    let guard = || RoleGuardLayer::any_of(["admin"]);
    let around = || fixture.layer().gateway();
    for (name, request) in handed_on(&bearer(fixture.token())) {
        let carried = ServiceBuilder::new().layer(around()).layer(guard());
        is_refused(&send(carried, request.clone()).await, 403, &name);
        for own in [
            guard().realm("own"),
            guard().terse(),
            guard().realm("own").grpc(true),
        ] {
            let own = ServiceBuilder::new().layer(around()).layer(own);
            is_refused(&send(own, request.clone()).await, 403, &name);
        }
        // The guard alone.
        let inside = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(guard().gateway());
        is_refused(&send(inside, request.clone()).await, 403, &name);
        // No authenticating layer ran: 500 elsewhere.
        is_refused(&send(guard().gateway(), request.clone()).await, 503, &name);
        let chat = ServiceBuilder::new()
            .layer(around())
            .layer(ChatLayer::new());
        send(chat, request).await.passes(&name);
    }
}

#[cfg(feature = "rate-limit")]
#[tokio::test]
async fn p8_too_many_requests_are_503() {
    use std::{num::NonZeroU32, time::Duration};
    use tower_jwt_auth::{
        layer::{extract::RequestHead, rate_limit::RateLimitLayer},
        test_util::TestClock,
    };

    let fixture = Fixture::new();
    let limit = || {
        let clock = TestClock::new();
        let key = |_: RequestHead<'_>| Some("one".to_owned());
        let limit = RateLimitLayer::per_hour(NonZeroU32::MIN, key).clock(clock.clone());
        (limit, clock)
    };
    let (outside, clock) = limit();
    let outside = outside.gateway();
    send(outside.clone(), nobody()).await.passes("the budget");
    clock.advance(Duration::from_secs(1));
    for (name, request) in handed_on(&nobody()) {
        let answer = send(outside.clone(), request).await;
        is_refused(&answer, 503, &name);
        // The client is told when to come again all the same.
        assert_eq!(answer.header("retry-after"), Some("3599"));
    }
    let (inside, _clock) = limit();
    let layers = ServiceBuilder::new()
        .layer(fixture.layer().gateway())
        .layer(inside);
    let request = bearer(fixture.token());
    send(layers.clone(), request.clone()).await.passes("budget");
    for (name, request) in handed_on(&request) {
        is_refused(&send(layers.clone(), request).await, 503, &name);
    }
}

#[tokio::test]
async fn p8_what_lets_strangers_pass_is_a_contradiction() {
    let fixture = Fixture::new();
    let preflight = || {
        let mut request = nobody();
        *request.method_mut() = Method::OPTIONS;
        for name in ["origin", "access-control-request-method"] {
            let value = HeaderValue::from_static("GET");
            request.headers_mut().insert(name, value);
        }
        request
    };
    for (setting, opened) in [
        ("optional", fixture.layer().optional().gateway()),
        ("optional", fixture.layer().gateway().optional()),
        ("skip", fixture.layer().skip_if(|_| true).gateway()),
        ("skip", fixture.layer().gateway().skip_if(|_| true)),
        (
            "allow_preflight",
            fixture.layer().allow_preflight().gateway(),
        ),
        (
            "allow_preflight",
            fixture.layer().gateway().allow_preflight(),
        ),
    ] {
        let error = opened.clone().build().unwrap_err();
        let ConfigError::Invalid { name, problem } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(name, "gateway");
        assert!(problem.starts_with(&format!("`{setting}` ")), "{problem}");
        // Not built, nothing passes.
        for request in [
            nobody(),
            preflight(),
            bearer("a.b.c"),
            bearer(fixture.token()),
        ] {
            let answer = send(opened.clone(), request).await;
            is_refused(&answer, 503, setting);
            assert_eq!(answer.kind(), Some(AuthErrorKind::Misconfigured));
        }
    }
    // Without gateway mode there is no contradiction.
    let open = fixture
        .layer()
        .optional()
        .skip_if(|_| true)
        .allow_preflight();
    assert!(open.build().is_ok());
}

#[tokio::test]
async fn p8_a_responder_cannot_answer_with_an_allowance() {
    let fixture = Fixture::new();
    let answering = |status: u16| {
        fixture.layer().gateway().responder(move |_: &Refusal<'_>| {
            let mut response = Response::new(Bytes::from_static(b"{}"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        })
    };
    for (answered, expected) in [
        (200, 401),
        (204, 401),
        (299, 401),
        (102, 401),
        (400, 401),
        (429, 503),
        (500, 503),
        // A redirect to the login page is one that Caddy and Traefik hand on.
        (303, 303),
        (403, 403),
        (404, 404),
    ] {
        let answer = send(answering(answered), nobody()).await;
        assert_eq!(answer.status, expected, "{answered}");
        assert!(!answer.ran());
        let challenged = answer.header("www-authenticate").is_some();
        assert_eq!(challenged, expected == 401, "{answered}");
    }
    let answer = send(answering(200), bearer("a b")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let oauth = fixture.layer().gateway().responder(OAuthJson::new());
    let answer = send(oauth, grpc(bearer("a b"), NATIVE[0])).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"], "invalid_request");
}

#[tokio::test]
async fn p8_without_the_framing_calls_keep_their_http_status() {
    let fixture = Fixture::new();
    let guard = RoleGuardLayer::any_of(["admin"]).realm("own");
    let layers = ServiceBuilder::new()
        .layer(fixture.layer().grpc(false))
        .layer(guard);
    for kind in NATIVE.into_iter().chain(WEB) {
        for (request, status) in [
            (nobody(), 401),
            // No mapping.
            (bearer("a b"), 400),
            (bearer(fixture.token()), 403),
        ] {
            let answer = send(layers.clone(), grpc(request, kind)).await;
            is_refused(&answer, status, kind);
        }
    }
    let inside = RoleGuardLayer::any_of(["admin"]).grpc(false);
    let layers = ServiceBuilder::new().layer(fixture.layer()).layer(inside);
    let request = grpc(bearer(fixture.token()), NATIVE[0]);
    is_refused(&send(layers, request).await, 403, "the guard");
    // On again.
    let layer = fixture.layer().grpc(false).grpc(true);
    let answer = send(layer.clone(), grpc(nobody(), NATIVE[0])).await;
    assert_eq!(answer.header("grpc-status"), Some("16"));
    // Gateway mode has the last word.
    let answer = send(layer.gateway().grpc(true), grpc(nobody(), NATIVE[0])).await;
    is_refused(&answer, 401, "gateway");
}
