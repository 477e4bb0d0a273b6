//! axum's extractors and what they answer.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get as route,
};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use tower_jwt_auth::{
    AuthError, Claims, JwtAuthLayer, Principal, RoleGuardLayer, Verified,
    axum::AuthRejection,
    error::AuthErrorKind,
    layer::{jwt::ForwardedClaim, response::Refusal},
    test_util::{anonymous, signed_in, signed_in_with},
};

use crate::support::{
    http_client::{get, raw},
    http_server::Server,
    tokens::{forged, good, issuer, layer, verifier},
};

#[derive(Deserialize)]
struct UserPrincipal {
    sub: String,
    tenant: u32,
}

async fn claims(user: Verified<UserPrincipal>) -> String {
    format!("{} of {}", user.sub, user.tenant)
}

async fn maybe_claims(user: Option<Verified<UserPrincipal>>) -> String {
    user.map_or_else(|| "nobody".to_owned(), |user| user.sub.clone())
}

async fn caller(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

async fn maybe_caller(caller: Option<Principal>) -> &'static str {
    if caller.is_some() {
        "somebody"
    } else {
        "nobody"
    }
}

fn routes() -> Router {
    Router::new()
        .route("/claims", route(claims))
        .route("/maybe_claims", route(maybe_claims))
        .route("/caller", route(caller))
        .route("/maybe_caller", route(maybe_caller))
}

fn users() -> JwtAuthLayer<UserPrincipal> {
    JwtAuthLayer::new(verifier().claims().build().unwrap())
}

fn user() -> String {
    issuer().token(|claims| claims.insert("tenant".into(), 7.into()))
}

#[tokio::test]
async fn claims_and_caller_are_arguments() {
    let server = Server::axum(routes().layer(users())).await;
    for (path, text) in [
        ("/claims", "alice of 7"),
        ("/maybe_claims", "alice"),
        ("/caller", "alice"),
        ("/maybe_caller", "somebody"),
    ] {
        let answer = get(server.addr, path, Some(&user())).await;
        assert_eq!(
            (answer.status, answer.text()),
            (StatusCode::OK, text),
            "{path}"
        );
    }
    // A token that does not fit the type is refused by the layer.
    let answer = get(server.addr, "/claims", Some(&good())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn b16_an_optional_route_serves_nobody_and_refuses_a_bad_token() {
    let server = Server::axum(routes().layer(users().optional())).await;
    for path in ["/maybe_claims", "/maybe_caller"] {
        let answer = get(server.addr, path, None).await;
        assert_eq!(
            (answer.status, answer.text()),
            (StatusCode::OK, "nobody"),
            "{path}"
        );
        let answer = get(server.addr, path, Some(&forged())).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let answer = get(server.addr, "/maybe_claims", Some(&user())).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
}

#[tokio::test]
async fn a1_an_extractor_that_needs_a_caller_answers_as_the_layer() {
    let auth = users()
        .optional()
        .realm("orders")
        .responder(teapot_for_nobody);
    let server = Server::axum(routes().layer(auth)).await;
    for path in ["/claims", "/caller"] {
        let answer = get(server.addr, path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.text(), "the layer's own words", "{path}");
        assert_eq!(
            answer.challenge(),
            Some(r#"Bearer realm="orders""#),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

fn teapot_for_nobody(denial: &Refusal<'_>) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from_static(b"the layer's own words"));
    *response.status_mut() = denial.status();
    response
}

#[tokio::test]
async fn b10_an_extractors_refusal_of_head_has_no_content() {
    let server = Server::axum(routes().layer(users().optional())).await;
    let head = "HEAD /claims HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(server.addr, head).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: "), "{answer}");
    assert!(!answer.contains("content-length: 0"), "{answer}");
}

#[tokio::test]
async fn l13_an_extractor_without_a_layer_is_a_server_error() {
    let server = Server::axum(routes()).await;
    for path in ["/claims", "/maybe_claims", "/caller", "/maybe_caller"] {
        for token in [None, Some(user())] {
            let answer = get(server.addr, path, token.as_deref()).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(answer.challenge(), None, "{path}");
        }
    }
}

#[tokio::test]
async fn claims_of_another_type_are_a_server_error() {
    let server = Server::axum(routes().layer(layer())).await;
    for path in ["/claims", "/maybe_claims"] {
        let answer = get(server.addr, path, Some(&user())).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    // The caller is known all the same.
    let answer = get(server.addr, "/caller", Some(&user())).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
}

#[tokio::test]
async fn q2_a_client_cannot_name_its_caller() {
    let auth = users()
        .optional()
        .forward_as("x-user".parse().unwrap(), ForwardedClaim::Subject);
    let headers = async |parts: Parts| format!("{:?}", parts.headers.get_all("x-user"));
    let app = routes().route("/x-user", route(headers)).layer(auth);
    let server = Server::axum(app).await;
    let head = "Host: localhost\r\nConnection: close\r\nX-User: root\r\nX_User: root";
    let answer = raw(
        server.addr,
        &format!("GET /maybe_caller HTTP/1.1\r\n{head}\r\n\r\n"),
    )
    .await;
    assert!(answer.ends_with("\r\n\r\nnobody"), "{answer}");
    let answer = raw(
        server.addr,
        &format!("GET /x-user HTTP/1.1\r\n{head}\r\n\r\n"),
    )
    .await;
    assert!(!answer.contains("root"), "{answer}");
}

#[tokio::test]
async fn l14_guards_around_a_group_and_on_a_route_must_agree() {
    let app = Router::new()
        .route(
            "/",
            route(caller).layer(RoleGuardLayer::any_of(["auditor"])),
        )
        .route_layer(RoleGuardLayer::any_of(["admin"]))
        .layer(layer());
    let server = Server::axum(app).await;
    for (roles, status) in [
        (&["admin"][..], StatusCode::FORBIDDEN),
        (&["auditor"], StatusCode::FORBIDDEN),
        (&["admin", "auditor"], StatusCode::OK),
    ] {
        let token = issuer().token(|claims| claims.insert("roles".into(), roles.into()));
        let answer = get(server.addr, "/", Some(&token)).await;
        assert_eq!(answer.status, status, "{roles:?}");
    }
}

#[tokio::test]
async fn a_handlers_test_needs_no_token() {
    let bob = || Principal::builder().subject("bob").build();
    let server = Server::axum(routes().layer(signed_in(bob()))).await;
    assert_eq!(get(server.addr, "/caller", None).await.text(), "bob");

    let user = UserPrincipal {
        sub: "bob".to_owned(),
        tenant: 9,
    };
    let server = Server::axum(routes().layer(signed_in_with(bob(), user))).await;
    assert_eq!(get(server.addr, "/claims", None).await.text(), "bob of 9");

    let server = Server::axum(routes().layer(anonymous())).await;
    assert_eq!(
        get(server.addr, "/maybe_claims", None).await.text(),
        "nobody"
    );
    let refused = get(server.addr, "/claims", None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.challenge(), Some(r#"Bearer realm="api""#));
}

/// A handler may look at the rejection and answer by itself.
#[tokio::test]
async fn a_rejection_tells_its_cause() {
    async fn handler(user: Result<Verified<Claims>, AuthRejection>) -> Response {
        let rejection = user.unwrap_err();
        assert_eq!(rejection.error().kind(), AuthErrorKind::MissingCredential);
        assert_eq!(rejection.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(rejection.to_string(), rejection.error().to_string());
        assert!(format!("{rejection:?}").contains("MissingCredential"));
        let response = rejection.into_response();
        let error = response.extensions().get::<AuthError>();
        assert_eq!(error.unwrap().kind(), AuthErrorKind::MissingCredential);
        response
    }

    let app = Router::new()
        .route("/", route(handler))
        .layer(layer().optional());
    let server = Server::axum(app).await;
    assert_eq!(
        get(server.addr, "/", None).await.status,
        StatusCode::UNAUTHORIZED
    );
}
