//! The page that explains a pasted token.

use http::Method;
use serde_json::json;
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use super::{refused, start};
use crate::support::{
    process::Server,
    vars::{AUDIENCE, ISSUER, SECRET},
};

fn settings(page: &str) -> [(&str, &str); 5] {
    [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("EXPLAIN_PAGE", page),
        // Everything that the server logs.
        ("RUST_LOG", "trace"),
    ]
}

async fn send(server: &Server, method: Method, body: String) -> (u16, String) {
    let answer = server.send(method, "/explain", &[], body).await;
    if answer.status == 200 {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    (answer.status, answer.body)
}

fn form(token: &str) -> String {
    format!("token={}", token.replace('+', "%2B"))
}

#[tokio::test]
async fn the_page_shows_every_check_and_keeps_no_token() {
    let server = start(&settings("true"));
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let good = issuer.token(|_| ());
    let wrong = issuer.token(|claims| claims["aud"] = json!("<script>alert(1)</script>"));

    let (status, page) = send(&server, Method::GET, String::new()).await;
    assert_eq!(status, 200);
    for expected in [ISSUER, AUDIENCE, "HS256", "<textarea"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    for outside in ["<script", "<style", " style=", "http://", "onclick"] {
        assert!(!page.contains(outside), "{outside}: {page}");
    }

    let (_, page) = send(&server, Method::POST, form(&good)).await;
    assert!(page.contains(">Accepted<"), "{page}");
    assert!(!page.contains("failed"), "{page}");
    let (_, page) = send(&server, Method::POST, form(&format!("  Bearer {good}\n"))).await;
    assert!(page.contains(">Accepted<"), "{page}");

    let (_, page) = send(&server, Method::POST, form(&wrong)).await;
    assert!(page.contains("Refused: wrong_audience"), "{page}");
    assert_eq!(page.matches("class=\"failed\"").count(), 1, "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script"), "{page}");

    let huge = form(&"x".repeat(100_000));
    let (status, _) = send(&server, Method::POST, huge).await;
    assert_eq!(status, 413);

    for token in [&good, &wrong] {
        assert!(token.split('.').all(|segment| !page.contains(segment)));
    }
    let log = server.stop();
    for token in [&good, &wrong] {
        assert!(
            token.split('.').all(|segment| !log.contains(segment)),
            "{log}"
        );
    }
}

#[tokio::test]
async fn without_the_setting_there_is_no_page() {
    let server = start(&[("JWT_SECRET_KEY", SECRET)]);
    assert_eq!(server.get("/explain", None).await.status, 404);
    let server = start(&settings("false"));
    assert_eq!(server.get("/explain", None).await.status, 404);
}

#[test]
fn the_page_is_for_a_developers_machine() {
    for other in [("HOST", "0.0.0.0"), ("JWT_GATEWAY", "true")] {
        let vars = [&settings("true")[..], &[other]].concat();
        let (status, _, complaint) = refused(&vars);
        assert_eq!(status.code(), Some(2), "{complaint}");
        assert!(complaint.starts_with("EXPLAIN_PAGE: "), "{complaint}");
    }
    let (status, _, complaint) = refused(&settings("maybe"));
    assert_eq!(status.code(), Some(2), "{complaint}");
}
