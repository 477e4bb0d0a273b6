//! Which requests a gateway lets through to the application.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use super::{
    configurations::Gateway,
    processes::{Application, Running},
};
use crate::{
    resource_server::start,
    support::{port::free_port, process::Server},
};

#[tokio::test]
#[ignore = "needs nginx"]
async fn p8_nginx_lets_only_callers_through() {
    lets_only_callers_through(Gateway::Nginx).await;
}

#[tokio::test]
#[ignore = "needs Caddy"]
async fn p8_caddy_lets_only_callers_through() {
    lets_only_callers_through(Gateway::Caddy).await;
}

#[tokio::test]
#[ignore = "needs Envoy"]
async fn p8_envoy_lets_only_callers_through() {
    lets_only_callers_through(Gateway::Envoy).await;
    lets_only_callers_through(Gateway::EnvoyHttp2).await;
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn p7_nginx_asks_by_get_and_lets_only_callers_through() {
    without_gateway_mode(Gateway::Nginx).await;
}

#[tokio::test]
#[ignore = "needs Caddy"]
async fn p7_caddy_asks_by_get_and_lets_only_callers_through() {
    without_gateway_mode(Gateway::Caddy).await;
}

#[tokio::test]
#[ignore = "needs Envoy"]
async fn p7_envoy_without_gateway_mode_lets_grpc_calls_and_nothing_else_through() {
    without_gateway_mode(Gateway::Envoy).await;
    without_gateway_mode(Gateway::EnvoyHttp2).await;
}

async fn lets_only_callers_through(gateway: Gateway) {
    let stack = Stack::start(gateway, true).await;
    let mut refused = 0;
    for shape in Shape::all() {
        for case in stack.refusals() {
            let status = stack.send(&case, &shape, "/orders/7?a=b").await;
            let name = format!("{gateway:?} {} {shape:?}", case.name);
            assert_eq!(stack.application.reached(), 0, "{name}: {status}");
            // Envoy frames its own refusal as gRPC, whatever the method is.
            let framed = gateway.keeps_the_request() && shape.is_native();
            assert_eq!(status.is_success(), framed, "{name}: {status}");
            refused += 1;
        }
        let case = stack.allowance();
        let status = stack.send(&case, &shape, "/orders/7?a=b").await;
        assert_eq!(status, StatusCode::OK, "{gateway:?} {shape:?}");
        assert_eq!(stack.application.reached(), 1, "{gateway:?} {shape:?}");
    }
    assert_eq!(refused, Shape::all().len() * stack.refusals().len());
}

/// What only gateway mode can prevent: Envoy asks by the method of the client's request.
async fn without_gateway_mode(gateway: Gateway) {
    let stack = Stack::start(gateway, false).await;
    let mut let_in = 0;
    for shape in Shape::all() {
        let is_call = shape.method == "POST"
            && shape.kind.is_some()
            && (!shape.is_native() || gateway == Gateway::EnvoyHttp2);
        let leaks = gateway.keeps_the_request() && is_call;
        for case in stack.refusals() {
            let status = stack.send(&case, &shape, stack.path_of(&case)).await;
            let name = format!("{gateway:?} {} {shape:?}", case.name);
            let reached = stack.application.reached();
            assert_eq!(reached, usize::from(leaks), "{name}: {status}");
            let_in += usize::from(leaks);
        }
        // The routes are for GET.
        if shape.method == "GET" || !gateway.keeps_the_request() {
            let case = stack.allowance();
            let status = stack.send(&case, &shape, stack.path_of(&case)).await;
            assert_eq!(status, StatusCode::OK, "{gateway:?} {shape:?}");
            assert_eq!(stack.application.reached(), 1, "{gateway:?} {shape:?}");
        }
    }
    assert_eq!(let_in > 0, gateway.keeps_the_request());
}

/// A gateway, whom it asks, and the application behind it.
struct Stack {
    gateway: Running,
    application: Application,
    mode: bool,
    good: String,
    _servers: [Server; 2],
}

/// A credential, and the place of the gateway where it is sent.
struct Case {
    name: &'static str,
    place: usize,
    authorization: Option<String>,
}

const ANYBODY: usize = 0;
const ADMINS: usize = 1;
const WITHOUT_KEYS: usize = 2;

impl Stack {
    async fn start(gateway: Gateway, mode: bool) -> Self {
        let application = Application::start().await;
        let mode_value = if mode { "true" } else { "false" };
        let expected = [
            ("JWT_ISSUER", "https://as.example"),
            ("JWT_AUDIENCE", "https://api.example"),
            ("JWT_GATEWAY", mode_value),
        ];
        let secret = [("JWT_SECRET_KEY", "first test secret, never in use.")];
        let with_keys = start(&[&secret[..], &expected].concat());
        // Nothing listens there.
        let nowhere = format!("http://127.0.0.1:{}/jwks", free_port());
        let url = [("JWT_JWKS_URL", nowhere.as_str())];
        let without_keys = start(&[&url[..], &expected].concat());
        // Without gateway mode no path below these exists, so that Envoy must ask at the client's.
        let path = |path| match gateway.keeps_the_request() && !mode {
            true => "",
            false => path,
        };
        let address = |server: &Server| {
            let address = server.address().strip_prefix("http://");
            address.unwrap().parse().unwrap()
        };
        let asked = [
            (address(&with_keys), path("/protected")),
            (address(&with_keys), path("/admin")),
            (address(&without_keys), path("/protected")),
        ];
        Self {
            gateway: Running::start(gateway, &asked, application.address).await,
            application,
            mode,
            good: TestIssuer::new(Algorithm::Hs256).token(|_| ()),
            _servers: [with_keys, without_keys],
        }
    }

    fn allowance(&self) -> Case {
        Case {
            name: "a good token",
            place: ANYBODY,
            authorization: Some(format!("Bearer {}", self.good)),
        }
    }

    fn refusals(&self) -> Vec<Case> {
        let case = |name, place, authorization: Option<&str>| Case {
            name,
            place,
            authorization: authorization.map(str::to_owned),
        };
        let good = format!("Bearer {}", self.good);
        vec![
            case("no token", ANYBODY, None),
            case("a bad token", ANYBODY, Some("Bearer a.b.c")),
            case("a malformed header", ANYBODY, Some("Bearer a b")),
            case("another scheme", ANYBODY, Some("Basic YTpi")),
            case("a wrong role", ADMINS, Some(&good)),
            case("no keys", WITHOUT_KEYS, Some(&good)),
        ]
    }

    /// The path of the example server that judges this case.
    fn path_of(&self, case: &Case) -> &'static str {
        if case.place == ADMINS {
            "/admin"
        } else {
            "/protected"
        }
    }

    async fn send(&self, case: &Case, shape: &Shape, path: &str) -> StatusCode {
        let port = self.gateway.places[case.place].ports[usize::from(shape.http2)];
        let mut request = Request::builder()
            .method(shape.method)
            .uri(format!("http://127.0.0.1:{port}{path}"))
            .body(Full::<Bytes>::default())
            .unwrap();
        let headers = request.headers_mut();
        for (name, value) in shape.headers {
            let name = HeaderName::from_static(name);
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(kind) = shape.kind {
            headers.insert("content-type", HeaderValue::from_static(kind));
        }
        if let Some(value) = &case.authorization {
            headers.insert("authorization", value.parse().unwrap());
        }
        let client = Client::builder(TokioExecutor::new())
            .http2_only(shape.http2)
            .build_http();
        let answer = client.request(request).await.unwrap();
        let status = answer.status();
        if self.mode && status == StatusCode::UNAUTHORIZED {
            assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
        }
        status
    }
}

/// All of a request but its credential.
#[derive(Clone, Copy, Debug)]
struct Shape {
    http2: bool,
    method: &'static str,
    kind: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
}

impl Shape {
    fn is_native(&self) -> bool {
        self.kind.is_some_and(|kind| !kind.contains("web"))
    }

    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for http2 in [false, true] {
            for method in ["GET", "HEAD", "POST"] {
                for kind in KINDS {
                    all.push(Self {
                        http2,
                        method,
                        kind,
                        headers: &[],
                    });
                }
            }
            for headers in HEADERS {
                for method in ["GET", "POST", "OPTIONS"] {
                    all.push(Self {
                        http2,
                        method,
                        kind: None,
                        headers,
                    });
                }
            }
            all.push(Self {
                http2,
                method: "POST",
                kind: Some("application/grpc"),
                headers: &[("te", "trailers"), ("grpc-timeout", "1S")],
            });
        }
        all
    }
}

const KINDS: [Option<&str>; 5] = [
    Some("application/grpc"),
    Some("application/grpc+proto"),
    Some("application/grpc-web"),
    Some("application/grpc-web-text"),
    None,
];

const HEADERS: [&[(&str, &str)]; 4] = [
    // A CORS preflight request.
    &[
        ("origin", "https://elsewhere.example"),
        ("access-control-request-method", "GET"),
    ],
    &[
        ("x-http-method-override", "POST"),
        ("x-forwarded-method", "POST"),
        ("x-original-url", "/health"),
        ("x-forwarded-uri", "/health"),
    ],
    &[("if-none-match", "*"), ("range", "bytes=0-0")],
    &[("x-grpc-web", "1"), ("accept", "application/grpc-web-text")],
];
