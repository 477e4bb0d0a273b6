//! Decisions of real Cedar policies.

mod support;

use std::sync::Arc;

use axum::http::StatusCode;
use integration_policy::cedar::{Cedar, Document, POLICIES, SCHEMA};

use self::support::{ask, caller};

fn documents() -> [(String, Document); 2] {
    let document = |locked| Document {
        owner: "alice".to_owned(),
        locked,
    };
    [
        ("1".to_owned(), document(false)),
        ("2".to_owned(), document(true)),
    ]
}

#[tokio::test]
async fn cedar_allows_and_denies() {
    let engine = Arc::new(Cedar::new(SCHEMA, POLICIES, documents()).unwrap());
    let alice = caller("alice", "user");
    let bob = caller("bob", "reader");
    let eve = caller("eve", "user");
    for (caller, action, path, status, reason) in [
        (&alice, "read", "/documents/1", StatusCode::OK, None),
        (&alice, "edit", "/documents/1", StatusCode::OK, None),
        (&alice, "read", "/documents/2", StatusCode::OK, None),
        (&bob, "read", "/documents/1", StatusCode::OK, None),
        (
            &alice,
            "edit",
            "/documents/2",
            StatusCode::FORBIDDEN,
            Some("forbidden by locked"),
        ),
        (
            &bob,
            "edit",
            "/documents/1",
            StatusCode::FORBIDDEN,
            Some("no policy permits it"),
        ),
        (
            &eve,
            "read",
            "/documents/1",
            StatusCode::FORBIDDEN,
            Some("no policy permits it"),
        ),
        (
            &alice,
            "read",
            "/documents/3",
            StatusCode::FORBIDDEN,
            Some("an unknown resource"),
        ),
        // The guard refuses a request without a resource itself.
        (&alice, "read", "/documents", StatusCode::FORBIDDEN, None),
        (
            &alice,
            "read",
            "/documents/1/../2",
            StatusCode::FORBIDDEN,
            None,
        ),
    ] {
        let answer = ask(&engine, caller, action, path).await;
        assert_eq!(
            answer,
            (status, reason.map(str::to_owned)),
            "{action} {path}"
        );
    }
}

#[tokio::test]
async fn cedar_is_unavailable_for_a_request_outside_the_schema() {
    let engine = Arc::new(Cedar::new(SCHEMA, POLICIES, documents()).unwrap());
    let (status, reason) = ask(&engine, &caller("alice", "user"), "burn", "/documents/1").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reason.unwrap().contains("burn"));
}

#[test]
fn cedar_refuses_policies_that_do_not_fit_the_schema() {
    for policies in [
        "permit (principal, action, resource) when { resource.ower == principal };",
        "permit (principal, action == Action::\"raed\", resource);",
        "permit (principal, action, resource)",
    ] {
        assert!(Cedar::new(SCHEMA, policies, []).is_err(), "{policies}");
    }
}
