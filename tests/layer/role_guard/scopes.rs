//! J14: scopes that imply other scopes.

use http::{HeaderValue, Method, StatusCode, Version, header::CONTENT_TYPE};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    ConfigError, RoleGuardLayer,
    layer::role_guard::{RoleHierarchy, Rule, ScopeHierarchy},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
};

fn files() -> ScopeHierarchy {
    ScopeHierarchy::builder()
        .implies("files", ["files:write"])
        .implies("files:write", ["files:read"])
        .build()
        .unwrap()
}

/// Asks for a caller with this scope.
async fn ask(guard: RoleGuardLayer, scope: &str) -> Answer {
    let fixture = Fixture::new();
    let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
    send(layers, bearer(fixture.with("scope", json!(scope)))).await
}

#[tokio::test]
async fn j14_a_broader_scope_implies_narrower_ones() {
    for (held, passes) in [
        ("files:read", true),
        ("files:write", true),
        ("files", true),
        ("mail files", true),
        ("file", false),
        ("files:", false),
        ("FILES", false),
        ("mail", false),
        ("", false),
    ] {
        let guard = RoleGuardLayer::scope("files:read").scope_hierarchy(files());
        let answer = ask(guard, held).await;
        assert_eq!(answer.ran(), passes, "{held}");
    }
    // Without the hierarchy a broader scope is another scope.
    let answer = ask(RoleGuardLayer::scope("files:read"), "files").await;
    answer.insufficient_scope("no hierarchy");
}

#[tokio::test]
async fn j14_the_challenge_names_the_narrow_scope_of_the_rule() {
    let rule = Rule::scope("files:read").and(Rule::scope("mail:send files:read"));
    let guard = RoleGuardLayer::new(rule).scope_hierarchy(files());
    for held in ["mail", "files", "mail:send"] {
        let answer = ask(guard.clone(), held).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{held}");
        let challenge = answer.challenge();
        assert_eq!(
            challenge.get("scope"),
            Some("files:read mail:send"),
            "{held}"
        );
        assert_eq!(challenge.get("error"), Some("insufficient_scope"), "{held}");
    }
    assert!(ask(guard, "files mail:send").await.ran());
}

#[tokio::test]
async fn j14_a_narrow_scope_implies_no_broader_one() {
    let guard = RoleGuardLayer::scope("files").scope_hierarchy(files());
    for held in ["files:read", "files:write", "files:read files:write"] {
        let answer = ask(guard.clone(), held).await;
        let answer = answer.insufficient_scope(held);
        assert_eq!(answer.challenge().get("scope"), Some("files"), "{held}");
    }
}

#[tokio::test]
async fn j14_the_hierarchy_counts_in_every_rule() {
    for (rule, passes) in [
        (Rule::scope("files:read files:write"), true),
        (Rule::scope("files:read mail"), false),
        (Rule::scope("mail").or(Rule::scope("files:read")), true),
        (Rule::scope("files:read").named("readers"), true),
        (!Rule::scope("files:read"), false),
        (!!Rule::scope("files:read"), true),
        (!Rule::scope("mail"), true),
        // A scope is no role, whatever it implies.
        (Rule::any_of(["files:read"]), false),
    ] {
        let case = format!("{rule:?}");
        let guard = RoleGuardLayer::new(rule).scope_hierarchy(files());
        assert_eq!(ask(guard, "files").await.ran(), passes, "{case}");
    }
}

#[tokio::test]
async fn j14_both_hierarchies_apply_and_a_second_one_replaces_the_first() {
    let fixture = Fixture::new();
    let roles = RoleHierarchy::builder().implies("admin", ["editor"]);
    let roles = roles.build().unwrap();
    let rule = || Rule::any_of(["editor"]).and(Rule::scope("files:read"));
    let token = fixture.es.token(|own| {
        own.insert("roles".into(), json!(["admin"]));
        own.insert("scope".into(), json!("files"));
    });
    let other = ScopeHierarchy::builder().implies("mail", ["files:read"]);
    let other = other.build().unwrap();
    for (guard, passes) in [
        (
            RoleGuardLayer::new(rule())
                .hierarchy(&roles)
                .scope_hierarchy(files()),
            true,
        ),
        (
            RoleGuardLayer::new(rule())
                .scope_hierarchy(files())
                .hierarchy(&roles),
            true,
        ),
        (RoleGuardLayer::new(rule()).scope_hierarchy(files()), false),
        (RoleGuardLayer::new(rule()).hierarchy(&roles), false),
        (
            RoleGuardLayer::new(rule())
                .hierarchy(&roles)
                .scope_hierarchy(files())
                .scope_hierarchy(&other),
            false,
        ),
    ] {
        let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
        assert_eq!(send(layers, bearer(token.clone())).await.ran(), passes);
    }
}

#[tokio::test]
async fn j14_the_hierarchy_counts_for_each_grpc_method() {
    let rule = Rule::grpc([
        ("/files.v1.Files/Read", Rule::scope("files:read")),
        ("/files.v1.Files/Purge", Rule::scope("files")),
    ]);
    let guard = RoleGuardLayer::new(rule.unwrap()).scope_hierarchy(files());
    let fixture = Fixture::new();
    for (path, passes) in [
        ("/files.v1.Files/Read", true),
        ("/files.v1.Files/Purge", false),
    ] {
        let layers = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(guard.clone());
        let mut request = bearer(fixture.with("scope", json!("files:write")));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = path.parse().unwrap();
        let grpc = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        let answer = send(layers, request).await;
        assert_eq!(answer.ran(), passes, "{path}");
        if !passes {
            assert_eq!(answer.header("grpc-status"), Some("7"));
            assert_eq!(answer.error.unwrap().required_scope(), Some("files"));
        }
    }
}

#[test]
fn j14_a_cycle_and_a_name_that_is_no_scope_are_build_errors() {
    let cycle = ScopeHierarchy::builder()
        .implies("a", ["b"])
        .implies("b", ["c"])
        .implies("c", ["a"]);
    let Err(ConfigError::ScopeCycle(steps)) = cycle.build() else {
        panic!("a cycle was built");
    };
    assert_eq!(steps, "a > b > c > a");
    for name in ["", "a b", "a\"b", "a\\b", "\u{e9}"] {
        let builder = ScopeHierarchy::builder().implies("files", [name]);
        assert!(
            matches!(builder.build(), Err(ConfigError::Invalid { .. })),
            "{name:?}"
        );
    }
}
