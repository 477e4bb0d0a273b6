//! What an operator is told: Q8.

use http::HeaderValue;
use serde_json::json;

use crate::support::endpoints::{Server, ada, form, json as post};

#[tokio::test]
async fn q8_every_refusal_for_cross_site_requests_is_told() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let cross = |mut request: http::Request<_>| {
        let site = HeaderValue::from_static("cross-site");
        request.headers_mut().insert("sec-fetch-site", site);
        request
    };
    let unproved = |path| {
        let mut request = browser.request(path);
        request.headers_mut().remove("x-csrf-token");
        request
    };
    let list = |site| {
        let mut request = browser.request("sessions/1");
        *request.method_mut() = http::Method::DELETE;
        let site = HeaderValue::from_static(site);
        request.headers_mut().insert("sec-fetch-site", site);
        request
    };
    for request in [
        cross(post("login", &ada())),
        cross(form("token", "grant_type=password&username=x&password=y")),
        cross(post("register", &ada())),
        cross(post("guest", &json!({}))),
        cross(browser.request("refresh")),
        cross(browser.request("logout")),
        unproved("refresh"),
        unproved("logout"),
        // The extractor's own refusal.
        list("same-site"),
    ] {
        let path = request.uri().path().to_owned();
        server.send(request).await.is(403, "access_denied");
        assert_eq!(server.told(), ["csrf.rejected cross_site"], "{path}");
    }
    // What is refused otherwise is told by others, or is nobody's attempt.
    for (request, status) in [
        (post("login", &ada()), 200),
        (
            post("login", &json!({"email": "x", "password": "wrong"})),
            401,
        ),
        (post("refresh", &json!({})), 400),
        (post("nowhere", &json!({})), 404),
        (list("same-origin"), 404),
        // Answered, and without its effect.
        (cross(form("logout", "")), 204),
    ] {
        assert_eq!(server.send(request).await.status, status);
        assert_eq!(server.told(), [""; 0]);
    }
}
