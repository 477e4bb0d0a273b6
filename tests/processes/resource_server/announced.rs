//! The example server as a protected resource: its metadata, and step-up.

use std::time::SystemTime;

use serde_json::json;
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use super::{refused, start};
use crate::support::vars::{AUDIENCE, SECRET};

const RESOURCE: &str = "https://api.example";
const PATH: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn j1_j5_j6_the_server_announces_itself() {
    let server = start(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_RESOURCE", RESOURCE),
        ("JWT_AUTHORIZATION_SERVERS", "https://as.example"),
        ("JWT_RESOURCE_SCOPES", "orders:read"),
    ]);
    let document = server.get(PATH, None).await;
    assert_eq!(document.status, 200);
    let expected = json!({
        "resource": RESOURCE,
        "authorization_servers": ["https://as.example"],
        "scopes_supported": ["orders:read"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document.json(), expected);
    let url = format!("{RESOURCE}{PATH}");
    let challenge =
        format!(r#"Bearer realm="api", scope="orders:read", resource_metadata="{url}""#);
    for path in ["/protected", "/admin", "/step-up"] {
        let answer = server.get(path, None).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(&*challenge),
            "{path}"
        );
    }
    // J25: the audience of its tokens is the resource.
    let issuer = TestIssuer::new(Algorithm::Hs256);
    for (audience, status) in [(RESOURCE, 200), ("https://other.example", 401)] {
        let token = issuer.clone().audience(audience).token(|_| ());
        let answer = server.get("/protected", Some(&token)).await;
        assert_eq!(answer.status, status, "{audience}");
    }
}

#[tokio::test]
async fn j6_without_the_variables_there_is_no_document() {
    let server = start(&[("JWT_SECRET_KEY", SECRET), ("JWT_RESOURCE", RESOURCE)]);
    assert_eq!(server.get(PATH, None).await.status, 404);
}

#[tokio::test]
async fn m1_m2_m3_step_up_needs_a_recent_second_factor() {
    let server = start(&[("JWT_SECRET_KEY", SECRET), ("JWT_AUDIENCE", AUDIENCE)]);
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    for (acr, auth_time, status, lacks) in [
        (Some("urn:example:mfa"), Some(now), 200, [false, false]),
        (
            Some("urn:example:mfa"),
            Some(now - 1000),
            401,
            [false, true],
        ),
        (Some("pwd"), Some(now), 401, [true, false]),
        (None, None, 401, [true, true]),
    ] {
        let token = issuer.token(|claims| {
            acr.map(|acr| claims.insert("acr".into(), json!(acr)));
            auth_time.map(|at| claims.insert("auth_time".into(), json!(at)));
        });
        let answer = server.get("/step-up", Some(&token)).await;
        assert_eq!(answer.status, status, "{acr:?} {auth_time:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let found = ["acr_values=\"urn:example:mfa\"", "max_age=\"300\""]
            .map(|parameter| challenge.contains(parameter));
        assert_eq!(found, lacks, "{challenge}");
        let code = "error=\"insufficient_user_authentication\"";
        assert_eq!(challenge.contains(code), status == 401, "{challenge}");
    }
}

#[test]
fn j3_a_bad_variable_is_one_line_and_exit_code_2() {
    let secret = ("JWT_SECRET_KEY", SECRET);
    for (name, value) in [
        ("JWT_RESOURCE", "http://api.example"),
        ("JWT_AUTHORIZATION_SERVERS", "https://as.example"),
        ("JWT_RESOURCE_SCOPES", "orders:read"),
    ] {
        let (status, _, complaint) = refused(&[secret, (name, value)]);
        assert_eq!(status.code(), Some(2), "{name}");
        assert!(complaint.starts_with(&format!("{name}: ")), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}
