//! The error of a handler's requirement, in the form of each framework.

use std::convert::Infallible;

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{Layer, service_fn};
use tower_jwt_auth::{
    AuthError, JwtAuthLayer, Principal,
    layer::response::{AccessDenied, Refusal},
    test_util::signed_in,
    tonic::RequestExt,
    warp::recover,
};
use warp::{Filter, Rejection};

use crate::support::{
    http_client::{Answer, get},
    http_server::Server,
    tokens::{admin, good, layer},
};

fn shop() -> JwtAuthLayer {
    layer().realm("shop")
}

const DENIED: &str = "Bearer realm=\"shop\", error=\"insufficient_scope\", \
                      error_description=\"The access token does not grant a role that is needed here\"";

fn is_denied(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.challenge(), Some(DENIED));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

async fn for_admins(caller: Principal) -> Result<&'static str, AccessDenied> {
    caller.require_role("admin")?;
    Ok("done")
}

#[tokio::test]
async fn l22_in_axum_a_requirement_is_a_rejection() {
    let server = Server::axum(Router::new().route("/", route(for_admins)).layer(shop())).await;
    is_denied(&get(server.addr, "/", Some(&good())).await);
    assert_eq!(get(server.addr, "/", Some(&admin())).await.text(), "done");
}

#[tokio::test]
async fn l22_the_responder_of_the_layer_answers() {
    let own = shop().responder(|refusal: &Refusal<'_>| {
        let mut response = Response::new(Bytes::from_static(b"no"));
        *response.status_mut() = refusal.status();
        response
    });
    let server = Server::axum(Router::new().route("/", route(for_admins)).layer(own)).await;
    let answer = get(server.addr, "/", Some(&good())).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::FORBIDDEN, "no")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // A caller whom no layer of this crate authenticated gets the default form.
    let caller = Principal::builder().build();
    let app = Router::new()
        .route("/", route(for_admins))
        .layer(signed_in(caller));
    let answer = get(Server::axum(app).await.addr, "/", None).await;
    assert_eq!(
        answer.challenge(),
        Some(DENIED.replace("shop", "api").as_str())
    );
}

#[tokio::test]
async fn l22_in_warp_a_requirement_is_a_rejection_that_recover_answers() {
    let admins = warp::path::end()
        .and(warp::ext::get::<Principal>())
        .and_then(|caller: Principal| async move {
            caller.require_role("admin")?;
            Ok::<_, Rejection>("done")
        })
        .recover(recover);
    let server = Server::hyper(shop().layer(warp::service(admins))).await;
    is_denied(&get(server.addr, "/", Some(&good())).await);
    assert_eq!(get(server.addr, "/", Some(&admin())).await.text(), "done");
}

#[tokio::test]
async fn l22_in_hyper_a_requirement_is_a_response() {
    async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let caller = request.extensions().get::<Principal>().unwrap();
        Ok(match caller.require_role("admin") {
            Ok(()) => Response::new("done".into()),
            Err(denied) => denied.to_response().map(Full::new),
        })
    }

    let server = Server::hyper(shop().layer(service_fn(handle))).await;
    is_denied(&get(server.addr, "/", Some(&good())).await);
    assert_eq!(get(server.addr, "/", Some(&admin())).await.text(), "done");
}

#[test]
fn l22_in_tonic_a_requirement_is_permission_denied() {
    fn handle(request: &tonic::Request<()>) -> Result<(), tonic::Status> {
        request.principal()?.require_role("admin")?;
        Ok(())
    }

    let mut request = tonic::Request::new(());
    request
        .extensions_mut()
        .insert(Principal::builder().build());
    let status = handle(&request).unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "The access token does not grant a role that is needed here"
    );
    let source = std::error::Error::source(&status).unwrap();
    let error = source.downcast_ref::<AuthError>().unwrap();
    assert_eq!(error.missing(), Some("the role `admin`"));
    let admin = Principal::builder().roles(["admin"]).build();
    request.extensions_mut().insert(admin);
    assert!(handle(&request).is_ok());
}
