//! Pages of other origins that were named, and of those that were not.

use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError,
    layer::extract::{RequestHead, TokenExtractor},
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Argon2Cost, Login, MemoryThrottle, PasswordHasher},
    },
};

use crate::support::endpoints::{Answer, Browser, ORIGIN, Server, ada, json as post};

const OURS: &str = "https://www.app.example";

/// With pages at these origins as well.
async fn server(trusted: &[&str]) -> Result<Server, ConfigError> {
    let mut server = Server::start().await;
    let secret = SecretKey::generate();
    let cheap = Argon2Cost::dangerous_custom(16, 1, 1)?;
    let login = Login::builder(server.users.clone(), MemoryThrottle::new(), secret.clone())
        .hasher(PasswordHasher::builder().cost(cheap).build()?)
        .build();
    let mut builder =
        AuthEndpoints::builder(server.sessions.clone(), login, secret).public_origin(ORIGIN);
    for origin in trusted {
        builder = builder.trusted_origin(*origin);
    }
    server.endpoints = builder.build()?;
    Ok(server)
}

/// As a page of that origin sends it, with the cookies and the proof that it was given.
async fn send(
    server: &Server,
    path: &str,
    body: &Value,
    (origin, site): (&'static str, &'static str),
    (browser, proof): (&Browser, &str),
) -> Answer {
    let mut request = browser.dress(post(path, body));
    let headers = request.headers_mut();
    headers.insert("origin", HeaderValue::from_static(origin));
    headers.insert("sec-fetch-site", HeaderValue::from_static(site));
    headers.insert("x-csrf-token", proof.parse().unwrap());
    if browser.cookies.is_empty() {
        headers.remove("cookie");
    }
    server.send(request).await
}

#[tokio::test]
async fn n4_a_page_of_a_trusted_origin_signs_in_and_refreshes() {
    // Browsers write it without a slash and in lower case.
    let server = server(&["https://WWW.app.example/"]).await.unwrap();
    let nothing = json!({});
    for (sender, status) in [
        ((OURS, "same-site"), 200),
        (("https://evil.app.example", "same-site"), 403),
        (("http://www.app.example", "cross-site"), 403),
        (("null", "cross-site"), 403),
    ] {
        let mut browser = Browser::default();
        let path = "login?transport=cookie";
        let answer = send(&server, path, &ada(), sender, (&browser, "")).await;
        assert_eq!(answer.status, status, "{sender:?}: {answer:?}");
        if status != 200 {
            continue;
        }
        // The cookie with the proof is of another host: the page has the answer's.
        let proof = answer.text("csrf_token");
        browser.keep(&answer);
        for (sender, proof, status) in [
            (sender, "", 403),
            (("https://evil.app.example", "same-site"), &*proof, 403),
            (sender, &*proof, 200),
        ] {
            let answer = send(&server, "refresh", &nothing, sender, (&browser, proof)).await;
            assert_eq!(answer.status, status, "{sender:?}: {answer:?}");
        }
    }
    // Of another site no cookie comes along; tokens in bodies do.
    let nobody = Browser::default();
    let sender = (OURS, "cross-site");
    let tokens = send(&server, "login", &ada(), sender, (&nobody, "")).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    let body = json!({ "refresh_token": tokens.refresh() });
    let fresh = send(&server, "refresh", &body, sender, (&nobody, "")).await;
    assert_eq!(fresh.status, 200, "{fresh:?}");
}

#[tokio::test]
async fn n13_origins_of_apps_and_extensions_pass_where_they_were_named() {
    const APPS: [&str; 6] = [
        "capacitor://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "ionic://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://1b6f2cbe-9a70-4b3c-8d3a-0a3c1f4e5d6f",
    ];
    let nothing = json!({});
    let (named, unnamed) = (server(&APPS).await.unwrap(), server(&[]).await.unwrap());
    for origin in APPS {
        let sender = (origin, "cross-site");
        let nobody = Browser::default();
        let refused = send(&unnamed, "login", &ada(), sender, (&nobody, "")).await;
        refused.is(403, "access_denied");

        let path = "login?transport=cookie";
        let answer = send(&named, path, &ada(), sender, (&nobody, "")).await;
        assert_eq!(answer.status, 200, "{origin}: {answer:?}");
        let mut browser = Browser::default();
        browser.keep(&answer);
        let proof = answer.text("csrf_token");
        // Decision 38: the proof is still required.
        for path in ["refresh", "logout"] {
            let refused = send(&named, path, &nothing, sender, (&browser, "")).await;
            refused.is(403, "access_denied");
            let other = ("capacitor://elsewhere", "cross-site");
            let refused = send(&named, path, &nothing, other, (&browser, &proof)).await;
            refused.is(403, "access_denied");
        }
        let fresh = send(&named, "refresh", &nothing, sender, (&browser, &proof)).await;
        assert_eq!(fresh.status, 200, "{origin}: {fresh:?}");
        browser.keep(&fresh);
        // A WebSocket that the app's page opens.
        let cookie = named.endpoints.cookie().unwrap();
        for (origin, passes) in [(origin, true), ("capacitor://elsewhere", false)] {
            let upgrade = Request::get("/chat/ws")
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("origin", origin)
                .header("sec-fetch-site", "cross-site")
                .header(
                    "cookie",
                    format!("__Host-at={}", browser.cookies["__Host-at"]),
                )
                .body(())
                .unwrap();
            let found = cookie.extract(RequestHead::of(&upgrade));
            assert_eq!(found.is_ok_and(|found| found.is_some()), passes, "{origin}");
        }
        let ended = send(&named, "logout", &nothing, sender, (&browser, &proof)).await;
        assert_eq!(ended.status, 204, "{origin}: {ended:?}");
    }
}

#[tokio::test]
async fn an_origin_that_no_browser_writes_is_refused() {
    for origin in [
        "www.app.example",
        "http://www.app.example",
        "https://www.app.example/login",
        "null",
        "*",
        "",
        "file:///",
        "file://localhost",
        "capacitor://localhost/page",
        "https://user:pw@www.app.example",
    ] {
        let error = server(&[origin]).await.map(drop).unwrap_err().to_string();
        assert!(error.starts_with("a trusted origin: "), "{origin}: {error}");
        assert!(!error.contains("pw"), "{error}");
    }
}
