//! Nothing but https.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderValue, Method, Request};
use tower_jwt_auth::layer::{
    rate_limit::{ClientIp, PeerAddr},
    require_https::RequireHttpsLayer,
};

use crate::support::answer::send;

fn layer() -> RequireHttpsLayer {
    RequireHttpsLayer::behind(ClientIp::behind(["10.0.0.0/8"]).unwrap())
}

fn request(method: Method, peer: &str, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.method_mut() = method;
    *request.uri_mut() = "/me?a=b".parse().unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

#[tokio::test]
async fn only_a_named_proxy_can_say_that_the_client_spoke_https() {
    let host = ("host", "api.example:8080");
    for (peer, headers, passes) in [
        (
            "10.0.0.1:1",
            &[host, ("x-forwarded-proto", "https")][..],
            true,
        ),
        ("10.0.0.1:1", &[host, ("x-forwarded-proto", "HTTPS")], true),
        ("10.0.0.1:1", &[host, ("x-forwarded-proto", "http")], false),
        ("10.0.0.1:1", &[host], false),
        (
            "10.0.0.1:1",
            &[
                host,
                ("x-forwarded-proto", "https"),
                ("x-forwarded-proto", "http"),
            ],
            false,
        ),
        (
            "203.0.113.9:1",
            &[host, ("x-forwarded-proto", "https")],
            false,
        ),
    ] {
        let answer = send(layer(), request(Method::GET, peer, headers)).await;
        assert_eq!(answer.ran(), passes, "{peer} {headers:?}");
        let hsts = answer.header("strict-transport-security");
        assert_eq!(hsts, passes.then_some("max-age=31536000"));
        if !passes {
            assert_eq!(answer.status, 308);
            let target = answer.header("location").unwrap();
            assert_eq!(target, "https://api.example/me?a=b");
        }
    }
}

#[tokio::test]
async fn what_carries_a_credential_or_changes_something_is_refused_rather_than_redirected() {
    let host = ("host", "api.example");
    for (method, headers) in [
        (Method::POST, &[host][..]),
        (Method::GET, &[host, ("authorization", "Bearer x")]),
        (Method::GET, &[host, ("cookie", "__Host-at=x")]),
        (Method::GET, &[]),
        (Method::GET, &[host, ("host", "evil.example")]),
        (Method::GET, &[("host", "evil.example/path")]),
    ] {
        let answer = send(layer(), request(method, "10.0.0.1:1", headers)).await;
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(!answer.ran());
        assert_eq!(answer.header("location"), None);
        assert_eq!(answer.header("strict-transport-security"), None);
    }
}

#[tokio::test]
async fn a_path_with_two_slashes_names_no_other_host() {
    let mut request = request(Method::GET, "10.0.0.1:1", &[("host", "api.example")]);
    *request.uri_mut() = http::Uri::builder()
        .path_and_query("//evil.example/x")
        .build()
        .unwrap();
    let answer = send(layer(), request).await;
    assert_eq!(
        answer.header("location"),
        Some("https://api.example/evil.example/x")
    );
}

#[tokio::test]
async fn what_browsers_are_told_can_be_chosen() {
    let proto = ("x-forwarded-proto", "https");
    for (layer, expected) in [
        (
            layer().hsts(Duration::from_secs(60), true),
            Some("max-age=60; includeSubDomains"),
        ),
        (layer().no_hsts(), None),
    ] {
        let answer = send(layer, request(Method::GET, "10.0.0.1:1", &[proto])).await;
        assert_eq!(answer.header("strict-transport-security"), expected);
    }
}

/// A JWT by its form, whatever it says.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

#[tokio::test]
async fn q17_what_carries_a_credential_in_a_header_is_not_redirected() {
    let host = ("host", "api.example");
    for (name, value) in [
        ("authorization", "Basic YTpi"),
        ("authorization", ""),
        ("cookie", "theme=dark"),
        ("x-api-key", "k"),
        ("proxy-authorization", "Basic YTpi"),
        ("sec-websocket-protocol", "bearer, x"),
        ("sec-websocket-protocol", "chat"),
        ("cf-access-jwt-assertion", "x"),
        ("x-amzn-oidc-data", "x"),
        ("x-goog-iap-jwt-assertion", "x"),
        ("x-forwarded-access-token", "x"),
        ("x-auth-token", "x"),
        ("x_api_key", "x"),
        ("apikey", "x"),
        ("x-client-secret", "x"),
        ("dpop", "x"),
        ("x-plain", TOKEN),
        ("x-plain", &format!("Bearer {TOKEN}")),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = request(method, "10.0.0.1:1", &[host, (name, value)]);
            let answer = send(layer(), request).await;
            assert_eq!(answer.status, 403, "{name}: {value}");
            assert_eq!(answer.header("location"), None);
            assert!(!answer.ran());
        }
    }
    // What every browser sends is no credential.
    let browser = [
        host,
        ("accept", "text/html"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("sec-fetch-site", "none"),
        ("upgrade-insecure-requests", "1"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-request-id", "8a.b7.c1"),
    ];
    let answer = send(layer(), request(Method::GET, "10.0.0.1:1", &browser)).await;
    assert_eq!(answer.status, 308);
}

#[tokio::test]
async fn q17_what_carries_a_credential_in_the_query_is_not_redirected() {
    let ask = async |layer: RequireHttpsLayer, target: &str| {
        let mut request = request(Method::GET, "10.0.0.1:1", &[("host", "api.example")]);
        *request.uri_mut() = target.parse().unwrap();
        send(layer, request).await.status
    };
    for query in [
        "access_token=x",
        "a=b&access_token=x",
        "access_token",
        "ACCESS_TOKEN=x",
        "access%5Ftoken=x",
        "acces%73_token=x",
        "token=x",
        "id_token=x",
        "jwt=x",
        "api_key=x",
        "apiKey=x",
        "client_secret=x",
        "password=x",
        "a=b;access_token=x",
        "%zz=x",
        &format!("t={TOKEN}"),
        &format!("t={}", TOKEN.replace('.', "%2E")),
    ] {
        assert_eq!(ask(layer(), &format!("/?{query}")).await, 403, "{query}");
    }
    for query in ["", "a=b", "q=access_token", "page=1&sort=a.b.c", "q=100%"] {
        assert_eq!(ask(layer(), &format!("/?{query}")).await, 308, "{query}");
    }
    assert_eq!(ask(layer(), "/access_token").await, 308);
}

#[tokio::test]
async fn q17_places_of_ones_own_can_be_named() {
    let layer = layer()
        .credential_header(http::HeaderName::from_static("x-gateway"))
        .credential_parameter("ticket");
    let host = ("host", "api.example");
    let with = [host, ("x-gateway", "x")];
    let answer = send(layer.clone(), request(Method::GET, "10.0.0.1:1", &with)).await;
    assert_eq!(answer.status, 403);
    let mut named = request(Method::GET, "10.0.0.1:1", &[host]);
    *named.uri_mut() = "/?tick%65t=x".parse().unwrap();
    assert_eq!(send(layer.clone(), named).await.status, 403);
    let answer = send(layer, request(Method::GET, "10.0.0.1:1", &[host])).await;
    assert_eq!(answer.status, 308);
}
