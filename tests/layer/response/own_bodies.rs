//! A custom error body that is given as data.

use http::{HeaderValue, Method, Request, StatusCode, Version};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, layer::response::json_body};

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

fn layer(fixture: &Fixture) -> JwtAuthLayer {
    fixture.layer().responder(json_body(|refusal| {
        let body = json!({ "ok": false, "message": refusal.detail() });
        (refusal.status(), body)
    }))
}

#[tokio::test]
async fn b20_a_body_as_data_keeps_every_header_of_the_default() {
    let fixture = Fixture::new();
    let guard = RoleGuardLayer::scope("orders:write");
    for (request, expected) in [
        (Request::new(String::new()), StatusCode::UNAUTHORIZED),
        (bearer("bad"), StatusCode::UNAUTHORIZED),
        (bearer("b d"), StatusCode::BAD_REQUEST),
        (bearer(fixture.token()), StatusCode::FORBIDDEN),
    ] {
        let own = ServiceBuilder::new()
            .layer(layer(&fixture))
            .layer(guard.clone());
        let usual = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(guard.clone());
        let own = send(own.into_inner(), request.clone()).await;
        let usual = send(usual.into_inner(), request).await;
        assert_eq!(own.status, expected);
        let body: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
        let default: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
        assert_eq!(body, json!({ "ok": false, "message": default["detail"] }));
        for name in ["www-authenticate", "cache-control"] {
            assert_eq!(own.headers[name], usual.headers[name], "{expected} {name}");
        }
        assert_eq!(own.headers["content-type"], "application/json");
        let length = own.headers["content-length"].to_str().unwrap();
        assert_eq!(length, own.body.len().to_string());
    }
}

#[tokio::test]
async fn b20_head_has_the_headers_without_the_body() {
    let fixture = Fixture::new();
    let mut request = Request::new(String::new());
    let get = send(layer(&fixture), request.clone()).await;
    *request.method_mut() = Method::HEAD;
    let head = send(layer(&fixture), request).await;
    assert!(head.body.is_empty());
    assert_eq!(head.headers, get.headers);
}

#[tokio::test]
async fn p1_a_grpc_call_keeps_its_own_framing() {
    let fixture = Fixture::new();
    let mut request = Request::post("/a/B").body(String::new()).unwrap();
    *request.version_mut() = Version::HTTP_2;
    let kind = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", kind);
    let answer = send(layer(&fixture), request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["grpc-status"], "16");
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn b20_another_status_and_a_value_without_a_json_form() {
    use std::collections::BTreeMap;

    let fixture = Fixture::new();
    let hidden = fixture
        .layer()
        .responder(json_body(|_| (StatusCode::NOT_FOUND, "nothing here")));
    let answer = send(hidden, bearer("bad")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(&answer.body[..], br#""nothing here""#);
    // A key of a JSON object is a string.
    let unfit = fixture.layer().responder(json_body(|refusal| {
        (refusal.status(), BTreeMap::from([((1, 2), 3)]))
    }));
    let answer = send(unfit, bearer("bad")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.headers.contains_key("www-authenticate"));
}
