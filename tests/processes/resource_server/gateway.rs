//! The example server in gateway mode, asked as gateways ask.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use super::start;
use crate::support::vars::{AUDIENCE, SECRET};

#[tokio::test]
async fn p8_the_server_in_gateway_mode_lets_only_callers_pass() {
    let server = start(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_GATEWAY", "true"),
    ]);
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let user = format!("Bearer {}", issuer.token(|_| ()));
    let admin = issuer.token(|claims| claims.insert("roles".into(), json!(["admin"])));
    let admin = format!("Bearer {admin}");

    let places = [
        "/protected",
        "/protected/",
        "/protected/a/../b?c=d",
        "/public",
    ];
    let admins = ["/admin", "/admin/", "/admin/a/b"];
    for place in places.into_iter().chain(admins) {
        for (http2, method, kind) in [
            (false, "GET", "application/grpc"),
            (false, "HEAD", "text/plain"),
            (false, "POST", "application/grpc-web"),
            (true, "POST", "application/grpc"),
            (true, "POST", "application/grpc-web-text+proto"),
            (true, "DELETE", "application/json"),
            (true, "OPTIONS", "application/grpc"),
        ] {
            let of_user = if admins.contains(&place) { 403 } else { 200 };
            for (authorization, status) in [
                (None, 401),
                (Some("Bearer a.b.c"), 401),
                (Some("Bearer a b"), 401),
                (Some(user.as_str()), of_user),
                (Some(admin.as_str()), 200),
            ] {
                let mut request = Request::builder()
                    .method(method)
                    .uri(format!("{}{place}", server.address()))
                    .header("content-type", kind)
                    .header("origin", "https://elsewhere.example")
                    .header("access-control-request-method", "GET");
                if let Some(value) = authorization {
                    request = request.header("authorization", value);
                }
                let client = Client::builder(TokioExecutor::new())
                    .http2_only(http2)
                    .build_http();
                let request = request.body(Full::<Bytes>::default()).unwrap();
                let answer = client.request(request).await.unwrap();
                let name = format!("{method} {place} {kind} {authorization:?}");
                assert_eq!(answer.status(), status, "{name}");
                assert!(!answer.headers().contains_key("grpc-status"), "{name}");
            }
        }
    }
    // Probes are for the machine that the server runs on.
    for probe in ["/health", "/ready", "/metrics"] {
        let answer = server.get(probe, None).await;
        assert_eq!(answer.status, 200, "{probe}");
    }
}
