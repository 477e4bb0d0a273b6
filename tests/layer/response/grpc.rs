//! Section P: gRPC.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    layer::{extract::Cookie, response::OAuthJson, socket::ChatLayer},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
    request::nobody,
    unreachable::Unreachable,
};

pub(crate) const NATIVE: [&str; 5] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc;charset=utf-8",
    "Application/GRPC",
];

pub(crate) fn grpc(mut request: Request<String>, kind: &'static str) -> Request<String> {
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let kind = HeaderValue::from_static(kind);
    request.headers_mut().insert("content-type", kind);
    request
}

#[track_caller]
fn is_trailers_only(answer: &Answer, status: &str) {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.header("grpc-status"),
        Some(status),
        "{:?}",
        answer.kind()
    );
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert!(answer.body.is_empty() && !answer.ran());
    assert!(answer.error.is_some());
}

#[tokio::test]
async fn p1_without_a_good_token_a_call_is_unauthenticated() {
    let fixture = Fixture::new();
    for kind in NATIVE {
        for request in [
            nobody(),
            bearer("a.b.c"),
            bearer(fixture.with("exp", json!(0))),
        ] {
            let answer = send(fixture.layer(), grpc(request, kind)).await;
            is_trailers_only(&answer, "16");
        }
        let request = grpc(bearer(fixture.token()), kind);
        send(fixture.layer(), request).await.passes("control");
        // Whatever the responder.
        let layer = fixture.layer().responder(OAuthJson::new());
        is_trailers_only(&send(layer, grpc(nobody(), kind)).await, "16");
    }
    // A malformed request is INVALID_ARGUMENT.
    let answer = send(fixture.layer(), grpc(bearer("a b"), NATIVE[0])).await;
    is_trailers_only(&answer, "3");
    // What only resembles gRPC is answered as HTTP.
    for kind in [
        "application/grpcx",
        "application/json",
        "text/application/grpc",
        "",
    ] {
        send(fixture.layer(), grpc(nobody(), kind)).await.bare(kind);
    }
}

#[tokio::test]
async fn p2_a_caller_without_the_role_is_denied() {
    let fixture = Fixture::new();
    for guard in [
        RoleGuardLayer::any_of(["admin"]),
        RoleGuardLayer::scope("admin"),
    ] {
        let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
        let request = grpc(bearer(fixture.token()), NATIVE[0]);
        is_trailers_only(&send(layers, request).await, "7");
    }
}

#[tokio::test]
async fn p3_permission_denied_is_never_said_to_a_stranger() {
    let fixture = Fixture::new();
    for request in [nobody(), bearer("a.b.c")] {
        for optional in [false, true] {
            let layer = if optional {
                fixture.layer().optional()
            } else {
                fixture.layer()
            };
            let guard = RoleGuardLayer::any_of(["admin"]);
            let layers = ServiceBuilder::new().layer(layer).layer(guard);
            let answer = send(layers, grpc(request.clone(), NATIVE[0])).await;
            is_trailers_only(&answer, "16");
        }
    }
    // Over HTTP this is a 403; its caller is not identified either.
    let mut forged = grpc(nobody(), NATIVE[0]);
    forged
        .headers_mut()
        .insert("cookie", HeaderValue::from_static("at=x"));
    let answer = send(
        fixture.layer().extractor(Cookie::new("at").unwrap()),
        forged,
    )
    .await;
    is_trailers_only(&answer, "16");
    assert_eq!(answer.kind(), Some(AuthErrorKind::CrossSite));
}

#[tokio::test]
async fn p4_without_keys_a_call_is_unavailable() {
    let fixture = Fixture::new();
    let verifier = fixture
        .expecting(Verifier::key_source(Unreachable))
        .build()
        .unwrap();
    let layer = JwtAuthLayer::new(verifier);
    let answer = send(layer, grpc(bearer(fixture.token()), NATIVE[0])).await;
    is_trailers_only(&answer, "14");
}

#[tokio::test]
async fn p5_the_message_is_percent_encoded_ascii() {
    let fixture = Fixture::new();
    let mut seen = 0;
    for request in [
        nobody(),
        bearer("a.b.c"),
        bearer("a b"),
        bearer("x".repeat(20_000)),
    ] {
        let request = grpc(request, NATIVE[0]);
        let answer = send(fixture.layer().realm("100 % ä"), request.clone()).await;
        let message = answer.header("grpc-message").expect("a message");
        // Percent signs and everything outside %x20-7E would stand encoded.
        assert!(
            message
                .bytes()
                .all(|byte| (0x20..0x7F).contains(&byte) && byte != b'%')
        );
        seen += 1;
        let answer = send(fixture.layer().terse(), request).await;
        assert_eq!(answer.header("grpc-message"), None);
    }
    assert_eq!(seen, 4);
}

#[tokio::test]
async fn p6_grpc_web_is_answered_in_its_own_framing() {
    let fixture = Fixture::new();
    for (kind, base) in [
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        (
            "application/grpc-web-text+proto",
            "application/grpc-web-text",
        ),
    ] {
        for (request, status) in [
            (nobody(), "16"),
            (bearer("a.b.c"), "16"),
            (bearer("a b"), "3"),
        ] {
            let answer = send(fixture.layer(), grpc(request, kind)).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header("content-type"), Some(base));
            assert!(!answer.ran());
            let frame = match base {
                "application/grpc-web-text" => STANDARD.decode(&answer.body).unwrap(),
                _ => answer.body.to_vec(),
            };
            // PROTOCOL-WEB: a flag byte, four bytes of length, then the trailers as an HTTP/1 block.
            assert_eq!(frame[0], 0x80);
            let length = u32::from_be_bytes(frame[1..5].try_into().unwrap());
            assert_eq!(length as usize, frame.len() - 5);
            let block = String::from_utf8(frame[5..].to_vec()).unwrap();
            let first = block.split("\r\n").next().unwrap();
            assert_eq!(first, format!("grpc-status:{status}"));
            assert!(block.ends_with("\r\n"));
        }
    }
}

pub(crate) const WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "Application/gRPC-Web-Text;charset=utf-8",
];

/// A request with this content type that no gRPC client sends, and a name for it.
pub(crate) fn unlike_grpc(request: &Request<String>) -> Vec<(String, Request<String>)> {
    let mut found = Vec::new();
    for kind in NATIVE.into_iter().chain(WEB) {
        for (method, version) in [
            (Method::GET, Version::HTTP_11),
            (Method::GET, Version::HTTP_2),
            (Method::HEAD, Version::HTTP_11),
            (Method::HEAD, Version::HTTP_2),
            (Method::PUT, Version::HTTP_2),
            (Method::OPTIONS, Version::HTTP_2),
            (Method::POST, Version::HTTP_10),
            (Method::POST, Version::HTTP_11),
            (Method::POST, Version::HTTP_3),
        ] {
            // gRPC-Web is a POST over any version.
            if method == Method::POST && WEB.contains(&kind) {
                continue;
            }
            let name = format!("{method} {version:?} {kind}");
            let mut request = grpc(request.clone(), kind);
            *request.method_mut() = method;
            *request.version_mut() = version;
            found.push((name, request));
        }
    }
    // Two content types, and what only begins like one.
    let mut twice = grpc(request.clone(), NATIVE[0]);
    let kind = HeaderValue::from_static("text/plain");
    twice.headers_mut().append("content-type", kind);
    found.push(("two content types".to_owned(), twice));
    for kind in [
        "application/grpc x",
        "application/grpc+",
        "application/grpc, text/plain",
    ] {
        found.push((kind.to_owned(), grpc(request.clone(), kind)));
    }
    found
}

#[track_caller]
fn is_http(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status.as_u16(), status, "{name}");
    assert_eq!(answer.header("grpc-status"), None, "{name}");
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"), "{name}");
    assert!(!answer.ran() && answer.error.is_some(), "{name}");
    let challenged = answer.header("www-authenticate").is_some();
    assert_eq!(challenged, [400, 401, 403].contains(&status), "{name}");
}

#[tokio::test]
async fn p7_what_is_not_grpc_is_answered_with_its_http_status() {
    let fixture = Fixture::new();
    let expired = fixture.with("exp", json!(0));
    for (request, status) in [
        (nobody(), 401),
        (bearer("a.b.c"), 401),
        (bearer(expired), 401),
        (bearer("a b"), 400),
    ] {
        for (name, request) in unlike_grpc(&request) {
            is_http(&send(fixture.layer(), request).await, status, &name);
        }
    }
    let verifier = fixture.expecting(Verifier::key_source(Unreachable));
    let without_keys = JwtAuthLayer::new(verifier.build().unwrap());
    for (name, request) in unlike_grpc(&bearer(fixture.token())) {
        is_http(&send(without_keys.clone(), request).await, 503, &name);
    }
}

#[tokio::test]
async fn p7_layers_inside_answer_with_the_http_status_too() {
    let fixture = Fixture::new();
    let guard = || RoleGuardLayer::any_of(["admin"]);
    for (name, request) in unlike_grpc(&bearer(fixture.token())) {
        let guarded = ServiceBuilder::new().layer(fixture.layer()).layer(guard());
        is_http(&send(guarded, request.clone()).await, 403, &name);
        // Its own answers.
        let own = guard().realm("own");
        let guarded = ServiceBuilder::new().layer(fixture.layer()).layer(own);
        is_http(&send(guarded, request.clone()).await, 403, &name);
        // No layer ran.
        is_http(&send(guard(), request.clone()).await, 500, &name);
        is_http(&send(ChatLayer::new(), request).await, 500, &name);
    }
    for (name, request) in unlike_grpc(&nobody()) {
        let anonymous = fixture.layer().optional();
        let chat = ServiceBuilder::new()
            .layer(anonymous)
            .layer(ChatLayer::new().anonymous(false));
        is_http(&send(chat, request).await, 401, &name);
    }
}

#[cfg(feature = "rate-limit")]
#[tokio::test]
async fn p7_a_rate_limit_answers_with_the_http_status_too() {
    use std::{num::NonZeroU32, time::Duration};
    use tower_jwt_auth::{
        layer::{
            extract::RequestHead, rate_limit::RateLimitLayer, require_https::RequireHttpsLayer,
        },
        test_util::TestClock,
    };

    let one = NonZeroU32::MIN;
    let clock = TestClock::new();
    let limit = RateLimitLayer::per_hour(one, |_: RequestHead<'_>| Some("one".to_owned()))
        .clock(clock.clone());
    send(limit.clone(), nobody()).await.passes("the budget");
    clock.advance(Duration::from_secs(1));
    for (name, request) in unlike_grpc(&nobody()) {
        is_http(&send(limit.clone(), request).await, 429, &name);
    }
    is_trailers_only(&send(limit, grpc(nobody(), NATIVE[0])).await, "8");
    // It never speaks gRPC: whoever came in the clear is not to learn that there is a service.
    for kind in NATIVE.into_iter().chain(WEB) {
        let https = RequireHttpsLayer::by(|_| false);
        let answer = send(https, grpc(nobody(), kind)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.header("grpc-status"), None);
    }
}

#[tokio::test]
async fn p7_grpc_web_is_a_post_over_any_version() {
    let fixture = Fixture::new();
    for kind in WEB {
        for version in [
            Version::HTTP_10,
            Version::HTTP_11,
            Version::HTTP_2,
            Version::HTTP_3,
        ] {
            let mut request = grpc(nobody(), kind);
            *request.version_mut() = version;
            let answer = send(fixture.layer(), request).await;
            assert_eq!(answer.status, StatusCode::OK, "{version:?} {kind}");
            let framed = answer.header("content-type").unwrap();
            assert!(framed.starts_with("application/grpc-web"), "{framed}");
            assert!(!answer.ran());
        }
    }
}
