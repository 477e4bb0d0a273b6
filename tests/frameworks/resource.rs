//! A protected resource on every host: the document, and the challenges that name it.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, ServiceBuilder, service_fn};
use tower_http::cors::CorsLayer;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer,
    layer::{resource::ProtectedResource, response::EXPOSED_HEADERS, socket::SocketAuth},
    revocation::{Revocation, RevocationSet},
    time::Timestamp,
    warp::{authenticated, recover},
};
use warp::Filter;

use crate::{
    grpc,
    support::{
        http_client::{Answer, Http, request, send},
        http_server::Server,
        tokens::{good, layer},
    },
};

const URL: &str = "https://api.example/.well-known/oauth-protected-resource/v1";
const PATH: &str = "/.well-known/oauth-protected-resource/v1";

fn announced() -> JwtAuthLayer {
    let resource = ProtectedResource::builder("https://api.example/v1")
        .authorization_server("https://as.example")
        .build()
        .unwrap();
    layer().resource(&resource).challenge_scope("orders:read")
}

async fn ask(server: &Server, http: Http, path: &str, token: Option<&str>) -> Answer {
    let request = request(server.addr, path, token);
    send(http, request.body(Full::default()).unwrap()).await
}

/// `/me` is for a caller with a role that nobody has.
async fn holds(host: &str, http: Http, server: &Server) {
    let answer = ask(server, http, PATH, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{host}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(
        answer
            .text()
            .contains(r#""resource":"https://api.example/v1""#)
    );

    let answer = ask(server, http, "/me", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{host}");
    let expected = format!(r#"Bearer realm="api", scope="orders:read", resource_metadata="{URL}""#);
    assert_eq!(answer.challenge(), Some(&*expected), "{host}");

    let answer = ask(server, http, "/me", Some(&good())).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host}");
    let expected = format!(r#"resource_metadata="{URL}""#);
    assert!(answer.challenge().unwrap().contains(&expected), "{host}");
}

#[tokio::test]
async fn j5_j6_every_host_serves_the_document_and_names_it() {
    let auth = announced();
    let nobody = RoleGuardLayer::any_of(["nobody"]);
    let layers = ServiceBuilder::new()
        .layer(auth.clone())
        .layer(nobody.clone());
    let answer = async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("me")));

    let me = || Router::new().route("/me", get(async || "me"));
    let guarded = || me().route_layer(nobody.clone());
    let metadata = auth.metadata().unwrap();
    let upstream = Server::hyper(service_fn(answer)).await;
    let routes = warp::path!("me").map(|| "me");
    for (host, server) in [
        // The layer sees every request.
        (
            "Router::layer",
            Server::axum(guarded().layer(auth.clone())).await,
        ),
        // It sees those of the routes only: the document has its own route.
        (
            "Router::route_layer",
            Server::axum(
                guarded()
                    .route_layer(auth.clone())
                    .route_service(metadata.path(), metadata.clone()),
            )
            .await,
        ),
        // The layer is around the document's route as well.
        (
            "a route inside",
            Server::axum(
                guarded()
                    .route_service(metadata.path(), metadata.clone())
                    .layer(auth.clone()),
            )
            .await,
        ),
        (
            "hyper",
            Server::hyper(layers.service(service_fn(answer))).await,
        ),
        (
            "warp",
            Server::hyper(layers.service(warp::service(routes))).await,
        ),
        (
            "proxy",
            Server::hyper(
                layers.service(service_fn(move |request| forward(upstream.addr, request))),
            )
            .await,
        ),
    ] {
        for http in [Http::One, Http::Two] {
            holds(&format!("{host}, {http:?}"), http, &server).await;
        }
    }
}

/// A token that is revoked between the layer and the handler.
#[tokio::test]
async fn j5_a_stream_that_cannot_begin_names_the_document() {
    let auth = announced();
    let revoked = RevocationSet::local();
    let sockets = SocketAuth::new(auth.verifier().clone()).revocation(revoked.clone());
    let stream = async move |caller: Principal| {
        let forever = Timestamp::from_millis(i64::MAX);
        let subject = caller.subject().unwrap();
        revoked.insert(&Revocation::subject(subject, 1, forever));
        match sockets.guard(caller.clone()) {
            Ok(_) => Ok("a stream"),
            Err(reason) => Err(reason.denied(&caller)),
        }
    };
    let router = Router::new().route("/me", get(stream)).layer(auth);
    let server = Server::axum(router).await;
    let answer = ask(&server, Http::One, "/me", Some(&good())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.challenge().unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert!(
        challenge.contains(&format!(r#"resource_metadata="{URL}""#)),
        "{challenge}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

async fn forward(
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Infallible> {
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("http://{upstream}{path}").parse().unwrap();
    *request.version_mut() = http::Version::HTTP_11;
    Ok(client.request(request).await.unwrap())
}

#[tokio::test]
async fn j6_the_routes_below_a_nested_path_leave_the_document_to_its_own_route() {
    let auth = announced();
    let metadata = auth.metadata().unwrap();
    let nested = Router::new().route("/me", get(async || "me")).layer(auth);
    let app = Router::new()
        .nest("/v1", nested)
        .route_service(metadata.path(), metadata.clone());
    let server = Server::axum(app).await;
    assert_eq!(
        ask(&server, Http::One, PATH, None).await.status,
        StatusCode::OK
    );
    let answer = ask(&server, Http::One, "/v1/me", None).await;
    assert!(answer.challenge().unwrap().contains(URL));
}

#[tokio::test]
async fn j5_j6_a_filter_of_warp_refuses_with_the_metadata() {
    let auth = announced();
    let metadata = auth.metadata().unwrap();
    let me = warp::path!("me").and(authenticated(auth)).map(|_| "me");
    // A route of warp is a reply: the document is in front of the routes.
    let routes = warp::service(me.recover(recover));
    let service = service_fn(move |request: Request<Incoming>| {
        let (metadata, mut routes) = (metadata.clone(), routes.clone());
        async move {
            use tower::Service as _;
            use warp::reply::Reply as _;

            let head = tower_jwt_auth::layer::extract::RequestHead::of(&request);
            match metadata.answer(head) {
                Some(document) => Ok(document.into_response()),
                None => routes.call(request).await,
            }
        }
    });
    let server = Server::hyper(service).await;
    assert_eq!(
        ask(&server, Http::One, PATH, None).await.status,
        StatusCode::OK
    );
    let answer = ask(&server, Http::One, "/me", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.challenge().unwrap().contains(URL));
}

#[tokio::test]
async fn j5_j6_a_grpc_server_serves_the_document_and_names_it_in_metadata() {
    let server = grpc::whole_server(announced()).await;
    let answer = ask(&server, Http::Two, PATH, None).await;
    assert_eq!(answer.status, StatusCode::OK);
    for (streaming, token) in [(false, None), (true, Some(good()))] {
        let status = match streaming {
            true => grpc::watch(&server, token).await.unwrap_err(),
            false => grpc::check(&server, token).await.unwrap_err(),
        };
        let challenge = status.metadata().get("www-authenticate").unwrap();
        assert!(challenge.to_str().unwrap().contains(URL), "{status:?}");
    }
}

#[test]
fn j5_a_handler_of_tonic_names_the_metadata() {
    use tower_jwt_auth::tonic::RequestExt;

    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let taken = std::sync::Arc::clone(&seen);
    let service = announced()
        .optional()
        .layer(service_fn(move |request: Request<Full<Bytes>>| {
            let (parts, _) = request.into_parts();
            *taken.lock().unwrap() = Some(parts.extensions);
            std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
        }));
    let call = |token: Option<String>| {
        let mut request = Request::new(Full::<Bytes>::default());
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let response = tower::ServiceExt::oneshot(service.clone(), request);
        let _ = futures_executor(response);
        let mut request = tonic::Request::new(());
        *request.extensions_mut() = seen.lock().unwrap().take().unwrap();
        request
    };
    let anonymous = call(None).principal().unwrap_err();
    let caller = call(Some(good())).principal().unwrap();
    let denied = tonic::Status::from(caller.require_scope("orders:write").unwrap_err());
    for status in [anonymous, denied] {
        let challenge = status.metadata().get("www-authenticate").unwrap();
        assert!(challenge.to_str().unwrap().contains(URL), "{status:?}");
    }
}

fn futures_executor<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

#[tokio::test]
async fn b11_a_page_of_another_origin_reads_the_challenge() {
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_methods([Method::GET])
        .expose_headers(EXPOSED_HEADERS);
    let app = Router::new().route("/me", get(async || "me"));
    let server = Server::axum(app.layer(announced()).layer(cors)).await;
    let mut request = request(server.addr, "/me", None)
        .body(Full::default())
        .unwrap();
    let origin = HeaderValue::from_static("https://app.example");
    request.headers_mut().insert("origin", origin);
    let answer = send(Http::One, request).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.challenge().is_some());
    let exposed = answer.header("access-control-expose-headers").unwrap();
    let exposed = exposed.to_ascii_lowercase();
    let exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
    for name in ["www-authenticate", "dpop-nonce"] {
        assert!(exposed.contains(&name), "{exposed:?}");
    }
}
