//! Section O: problem details, RFC 9457; and the other ways to answer.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::LOCATION};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    layer::{
        extract::Cookie,
        response::{ErrorResponder, OAuthJson, Problem, Refusal},
    },
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
    unreachable::Unreachable,
};

/// One refusal of every status.
async fn refusals(
    fixture: &Fixture,
    change: fn(JwtAuthLayer) -> JwtAuthLayer,
) -> Vec<(u16, Answer)> {
    let layer = || change(fixture.layer());
    let guarded = |guard| ServiceBuilder::new().layer(layer()).layer(guard);
    let forged = Request::post("/")
        .header("cookie", "at=x")
        .body(String::new())
        .unwrap();
    let away = fixture
        .expecting(Verifier::key_source(Unreachable))
        .build()
        .unwrap();
    vec![
        (401, send(layer(), Request::new(String::new())).await),
        (401, send(layer(), bearer("a.b.c")).await),
        (
            401,
            send(layer(), bearer(fixture.with("exp", json!(0)))).await,
        ),
        (400, send(layer(), bearer("a b")).await),
        (400, send(layer(), bearer("x".repeat(20_000))).await),
        (
            403,
            send(
                guarded(RoleGuardLayer::any_of(["admin"])),
                bearer(fixture.token()),
            )
            .await,
        ),
        (
            403,
            send(
                guarded(RoleGuardLayer::scope("b a")),
                bearer(fixture.token()),
            )
            .await,
        ),
        (
            403,
            send(layer().extractor(Cookie::new("at").unwrap()), forged).await,
        ),
        (
            503,
            send(change(JwtAuthLayer::new(away)), bearer(fixture.token())).await,
        ),
        (
            500,
            // The broken rule is what the guard complains of.
            send(
                guarded(RoleGuardLayer::any_of([""])),
                bearer(fixture.token()),
            )
            .await,
        ),
    ]
}

#[tokio::test]
async fn o1_the_body_is_problem_json() {
    let fixture = Fixture::new();
    for (status, answer) in refusals(&fixture, |layer| layer).await {
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{status}"
        );
        assert!(answer.json().is_object());
        let length = answer.body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(!answer.ran());
    }
}

#[tokio::test]
async fn o2_the_status_member_is_the_http_status() {
    let fixture = Fixture::new();
    for (status, answer) in refusals(&fixture, |layer| layer).await {
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.json()["status"], status);
    }
}

#[tokio::test]
async fn o3_type_and_title_are_stable() {
    let fixture = Fixture::new();
    for (status, answer) in refusals(&fixture, |layer| layer).await {
        let body = answer.json();
        assert_eq!(body["type"], "about:blank");
        let phrase = StatusCode::from_u16(status).unwrap().canonical_reason();
        assert_eq!(body["title"].as_str(), phrase);
    }
}

#[tokio::test]
async fn o4_the_detail_helps_and_shows_nothing_inside() {
    let fixture = Fixture::new();
    let mut details = Vec::new();
    for (status, answer) in refusals(&fixture, |layer| layer).await {
        let body = answer.json();
        let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        for member in members {
            assert!(["type", "title", "status", "detail", "error"].contains(&member.as_str()));
        }
        match body["detail"].as_str() {
            Some(detail) => details.push(detail.to_owned()),
            None => assert_eq!(status, 500),
        }
        let code = answer
            .error
            .as_ref()
            .unwrap()
            .code()
            .map(|code| code.as_str());
        assert_eq!(body["error"].as_str(), code);
    }
    let all = details.len();
    details.sort();
    details.dedup();
    assert_eq!(details.len(), all, "each cause has a text of its own");
}

#[tokio::test]
async fn o5_a_challenge_stands_beside_the_problem() {
    let fixture = Fixture::new();
    for (status, answer) in refusals(&fixture, |layer| layer).await {
        // A request of another site carries a good credential; no other would help.
        let expected = matches!(status, 400 | 401)
            || (status == 403 && answer.kind() != Some(AuthErrorKind::CrossSite));
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            expected,
            "{status}"
        );
        if expected {
            answer.challenge();
        }
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
    }
}

#[tokio::test]
async fn o_the_oauth_responder_answers_as_oauth_clients_expect() {
    let fixture = Fixture::new();
    for (status, answer) in refusals(&fixture, |layer| layer.responder(OAuthJson::new())).await {
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let kind = answer.kind().unwrap();
        let expected = match (status, kind) {
            (_, AuthErrorKind::MissingCredential) => None,
            (400, _) => Some("invalid_request"),
            (401, _) => Some("invalid_token"),
            (403, AuthErrorKind::CrossSite) => Some("access_denied"),
            (403, _) => Some("insufficient_scope"),
            (503, _) => Some("temporarily_unavailable"),
            _ => Some("server_error"),
        };
        assert_eq!(body["error"].as_str(), expected, "{kind:?}");
        let scope = (kind == AuthErrorKind::MissingScope).then_some("a b");
        assert_eq!(body["scope"].as_str(), scope);
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            matches!(
                kind,
                AuthErrorKind::MissingCredential
                    | AuthErrorKind::MalformedHeader
                    | AuthErrorKind::Expired
                    | AuthErrorKind::MalformedCredential
                    | AuthErrorKind::OversizedCredential
                    | AuthErrorKind::Forbidden
                    | AuthErrorKind::MissingScope
            ),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn o_a_responder_of_ones_own_sees_the_refusal_and_decides() {
    let fixture = Fixture::new();
    let login = |denial: &Refusal<'_>| {
        assert_eq!(denial.realm(), "shop");
        assert_eq!(denial.status(), denial.error().status());
        assert_eq!(denial.code(), denial.error().code());
        if denial.status() != StatusCode::UNAUTHORIZED || denial.head().method() != Method::GET {
            return Problem::new().respond(denial);
        }
        assert!(denial.challenge().is_some() && denial.detail().is_some());
        let mut response = Response::new(Bytes::from_static(b"login"));
        *response.status_mut() = StatusCode::SEE_OTHER;
        let target = http::HeaderValue::from_static("/login");
        response.headers_mut().insert(LOCATION, target);
        response
    };
    let layer = || fixture.layer().realm("shop").responder(login);
    let answer = send(layer(), Request::new(String::new())).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), Some("/login"));
    assert_eq!(answer.kind(), Some(AuthErrorKind::MissingCredential));
    assert!(!answer.ran());
    let mut post = Request::new(String::new());
    *post.method_mut() = Method::POST;
    send(layer(), post).await.bare("not a GET");
    send(layer(), bearer("a b"))
        .await
        .invalid_request("not a 401");
}
