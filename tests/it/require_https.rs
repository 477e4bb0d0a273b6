//! Nothing but https.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderValue, Method, Request};
use tower_jwt_auth::{
    rate_limit::{ClientIp, PeerAddr},
    require_https::RequireHttpsLayer,
};

use crate::support::send;

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
