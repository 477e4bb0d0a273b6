//! Section P: gRPC.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, StatusCode};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer, Verifier, deny::OAuthJson, error::AuthErrorKind, extract::Cookie,
};

use crate::support::{Answer, Fixture, Unreachable, bearer, send};

const NATIVE: [&str; 5] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc;charset=utf-8",
    "Application/GRPC",
];

fn grpc(mut request: Request<String>, kind: &'static str) -> Request<String> {
    *request.method_mut() = http::Method::POST;
    let kind = HeaderValue::from_static(kind);
    request.headers_mut().insert("content-type", kind);
    request
}

fn nobody() -> Request<String> {
    Request::new(String::new())
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
        let layer = fixture.layer().respond(OAuthJson::new());
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
        RoleGuardLayer::scope(["admin"]),
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
    let answer = send(fixture.layer().extract(Cookie::new("at")), forged).await;
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
        let answer = send(fixture.layer().no_details(), request).await;
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
