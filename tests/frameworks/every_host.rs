//! One layer value, in every place where a framework takes a layer.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer,
    layer::role_guard::{RoleGuardService, Rule},
};
use warp::Filter;

use crate::{
    grpc,
    support::{
        http_client::{Answer, Http, raw, request, send},
        http_server::Server,
        tokens::{admin, forged, good, layer},
    },
};

#[tokio::test]
async fn one_layer_value_serves_every_framework() {
    let auth = layer();
    let answer = async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("alice")));
    let upstream = Server::hyper(service_fn(answer)).await;
    let servers = [
        (
            "Router::layer",
            Server::axum(routes().layer(auth.clone())).await,
        ),
        (
            "Router::route_layer",
            Server::axum(routes().route_layer(auth.clone())).await,
        ),
        ("MethodRouter::layer", Server::axum(each_route(&auth)).await),
        (
            "hyper",
            Server::hyper(auth.layer(guarded(service_fn(whoami)))).await,
        ),
        (
            "warp::service",
            Server::hyper(auth.layer(guarded(warp_routes()))).await,
        ),
        ("proxy", Server::hyper(proxy(&auth, upstream.addr)).await),
    ];
    for (host, server) in &servers {
        for http in [Http::One, Http::Two] {
            holds(&format!("{host}, {http:?}"), http, server).await;
        }
    }

    let servers = [
        ("Server::layer", grpc::whole_server(auth.clone()).await),
        ("named_layer", grpc::one_service(auth.clone()).await),
        (
            "NamedService",
            grpc::one_service_without_extension(auth).await,
        ),
    ];
    for (host, server) in &servers {
        grpc::holds(host, server).await;
    }
}

/// What must hold whatever the host is.
async fn holds(host: &str, http: Http, server: &Server) {
    let ask = async |path: &str, token: Option<String>| -> Answer {
        let request = request(server.addr, path, token.as_deref());
        send(http, request.body(Full::default()).unwrap()).await
    };

    // A2.
    let answer = ask("/me", Some(good())).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::OK, "alice"),
        "{host}"
    );
    // A1, B1, L1.
    for path in ["/me", "/admin"] {
        let answer = ask(path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{host}");
        assert_eq!(answer.challenge(), Some(r#"Bearer realm="api""#), "{host}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{host}"
        );
    }
    // B7.
    let answer = ask("/me", Some(forged())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{host}");
    let challenge = answer.challenge().unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{host}: {challenge}"
    );
    // L2.
    let answer = ask("/admin", Some(good())).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host}");
    let challenge = answer.challenge().unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{host}: {challenge}"
    );
    let answer = ask("/admin", Some(admin())).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::OK, "alice"),
        "{host}"
    );

    if http == Http::One {
        let (addr, token) = (server.addr, good());
        // A8.
        let twice = format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}");
        let head = "Host: localhost\r\nConnection: close";
        let answer = raw(
            addr,
            &format!("GET /me HTTP/1.1\r\n{head}\r\n{twice}\r\n\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        assert!(
            answer.contains(r#"error="invalid_request""#),
            "{host}: {answer}"
        );
        // B10.
        let answer = raw(addr, &format!("HEAD /me HTTP/1.1\r\n{head}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{host}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{host}: {answer}");
        let with_body = raw(addr, &format!("GET /me HTTP/1.1\r\n{head}\r\n\r\n")).await;
        let (head, body) = with_body.split_once("\r\n\r\n").unwrap();
        assert!(!body.is_empty(), "{host}: {head}");
        assert_eq!(headers_of(&answer), headers_of(&with_body), "{host}");
    }
}

/// The header fields but for the date, sorted.
fn headers_of(answer: &str) -> Vec<&str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let fields = head.split("\r\n").skip(1);
    let mut fields: Vec<_> = fields.filter(|field| !field.starts_with("date:")).collect();
    fields.sort_unstable();
    fields
}

fn routes() -> Router {
    Router::new().route("/me", route(name)).route(
        "/admin",
        route(name).layer(RoleGuardLayer::any_of(["admin"])),
    )
}

fn each_route(auth: &JwtAuthLayer) -> Router {
    let guard = RoleGuardLayer::any_of(["admin"]);
    Router::new()
        .route("/me", route(name).layer(auth.clone()))
        .route("/admin", route(name).layer((auth.clone(), guard)))
}

async fn name(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

/// `/admin` is for admins, where the host has no routes of its own.
fn guarded<S>(service: S) -> RoleGuardService<S> {
    let rule =
        Rule::check(|caller, head| head.uri().path() != "/admin" || caller.has_role("admin"));
    RoleGuardLayer::new(rule).layer(service)
}

async fn whoami(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let caller = request.extensions().get::<Principal>().unwrap();
    let name = caller.subject().unwrap_or_default().to_owned();
    Ok(Response::new(Full::from(name)))
}

fn warp_routes() -> impl tower::Service<
    Request<Incoming>,
    Response = warp::reply::Response,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let name = warp::ext::get::<Principal>()
        .map(|caller: Principal| caller.subject().unwrap_or_default().to_owned());
    let me = warp::path!("me").and(name);
    let admin = warp::path!("admin").and(name);
    warp::service(me.or(admin))
}

/// A proxy answers what it got: a body that nobody can make, neither by `Default` nor from bytes.
fn proxy(
    auth: &JwtAuthLayer,
    upstream: SocketAddr,
) -> impl tower::Service<
    Request<Incoming>,
    Response = Response<impl Body<Data = Bytes, Error = hyper::Error> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let client = Client::builder(TokioExecutor::new()).build_http();
    auth.layer(guarded(service_fn(
        move |mut request: Request<Incoming>| {
            let client: Client<_, Incoming> = client.clone();
            let path = request.uri().path().to_owned();
            *request.uri_mut() = format!("http://{upstream}{path}").parse().unwrap();
            *request.version_mut() = http::Version::HTTP_11;
            async move { Ok(client.request(request).await.unwrap()) }
        },
    )))
}
