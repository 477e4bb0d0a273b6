//! The examples, as they are.

#[allow(dead_code, reason = "`main` is not called here")]
#[path = "../../examples/axum.rs"]
pub(crate) mod axum;
#[allow(dead_code, reason = "`main` is not called here")]
#[path = "../../examples/hyper.rs"]
pub(crate) mod hyper;
#[allow(dead_code, reason = "`main` is not called here")]
#[path = "../../examples/proxy.rs"]
pub(crate) mod proxy;
#[allow(dead_code, reason = "`main` is not called here")]
#[path = "../../examples/tonic.rs"]
pub(crate) mod tonic;
#[allow(dead_code, reason = "`main` is not called here")]
#[path = "../../examples/warp.rs"]
pub(crate) mod warp;

use http::StatusCode;
use tower_jwt_auth::JwtAuthLayer;

use crate::{
    grpc,
    support::{
        http_client::get,
        http_server::Server,
        tokens::{admin, forged, good, issuer, layer, verifier},
    },
};

#[tokio::test]
async fn the_axum_example_does_what_it_says() {
    let verifier = verifier().claims().build().unwrap();
    let server = Server::axum(axum::app(JwtAuthLayer::new(verifier))).await;
    let alice = |roles: &[&str]| {
        issuer().token(|claims| {
            claims.insert("name".into(), "Alice".into());
            claims.insert("roles".into(), roles.into())
        })
    };
    let (user, admin) = (alice(&[]), alice(&["admin"]));
    for (path, token, status, text) in [
        ("/", None, StatusCode::OK, "hello stranger"),
        ("/", Some(&user), StatusCode::OK, "hello Alice"),
        ("/", Some(&forged()), StatusCode::UNAUTHORIZED, ""),
        ("/me", None, StatusCode::UNAUTHORIZED, ""),
        ("/me", Some(&user), StatusCode::OK, "you are Alice"),
        ("/admin", None, StatusCode::UNAUTHORIZED, ""),
        ("/admin", Some(&user), StatusCode::FORBIDDEN, ""),
        (
            "/admin",
            Some(&admin),
            StatusCode::OK,
            "at your service, alice",
        ),
        ("/nowhere", None, StatusCode::NOT_FOUND, ""),
    ] {
        let answer = get(server.addr, path, token.map(String::as_str)).await;
        assert_eq!(answer.status, status, "{path}");
        if status == StatusCode::OK {
            assert_eq!(answer.text(), text, "{path}");
        }
    }
}

#[tokio::test]
async fn the_hyper_example_does_what_it_says() {
    let server = Server::run(|listener| hyper::serve(listener, layer())).await;
    assert_eq!(
        get(server.addr, "/", None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        get(server.addr, "/", Some(&good())).await.text(),
        "hello alice\n"
    );
}

#[tokio::test]
async fn the_warp_example_does_what_it_says() {
    let filters = warp::filters(layer());
    let server = Server::run(|listener| ::warp::serve(filters).incoming(listener).run()).await;
    assert_eq!(get(server.addr, "/", None).await.text(), "hello stranger\n");
    assert_eq!(
        get(server.addr, "/", Some(&good())).await.text(),
        "hello alice\n"
    );
    assert_eq!(
        get(server.addr, "/me", None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        get(server.addr, "/me", Some(&good())).await.text(),
        "alice\n"
    );
    assert_eq!(
        get(server.addr, "/nowhere", None).await.status,
        StatusCode::NOT_FOUND
    );

    let server = Server::run(|listener| warp::serve_routes(listener, layer())).await;
    assert_eq!(
        get(server.addr, "/admin", None).await.status,
        StatusCode::UNAUTHORIZED
    );
    let answer = get(server.addr, "/admin", Some(&good())).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(
        get(server.addr, "/admin", Some(&admin())).await.text(),
        "alice\n"
    );
}

#[tokio::test]
async fn the_tonic_example_does_what_it_says() {
    let server = Server::run(|listener| tonic::serve(listener, layer())).await;
    let code = async |watch: bool, token: Option<String>| grpc::code(&server, watch, token).await;
    assert_eq!(code(false, None).await, ::tonic::Code::Unauthenticated);
    assert_eq!(code(false, Some(good())).await, ::tonic::Code::Ok);
    assert_eq!(
        code(true, Some(good())).await,
        ::tonic::Code::PermissionDenied
    );
    assert_eq!(code(true, Some(admin())).await, ::tonic::Code::Ok);
}
