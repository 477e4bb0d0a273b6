//! Section L, L9 to L12: where roles and scopes come from.

use serde_json::{Value, json};
use tower_jwt_auth::{ConfigError, role_guard::Rule, verify::VerifierBuilder};

use crate::roles::{allows, roles};
use crate::support::{Fixture, bearer, judge};

#[tokio::test]
async fn l9_role_claims_of_another_type_hold_no_roles() {
    let fixture = Fixture::new();
    for value in [
        json!(5),
        json!(true),
        json!(null),
        json!({"admin": true}),
        json!([["admin"]]),
        json!([{"name": "admin"}]),
        json!([1, null]),
        json!("admin,user"),
        json!("user admin"),
    ] {
        let by = |builder: VerifierBuilder| builder.roles_at("roles");
        let answer = fixture
            .judge_by(by, &fixture.with("roles", value.clone()))
            .await;
        assert!(
            !answer.passes("signed in").caller().has_role("admin"),
            "{value}"
        );
        let claims = json!({ "roles": value });
        assert!(
            !allows(&fixture, Rule::any_of(["admin"]), &claims).await,
            "{value}"
        );
    }
    let path = |builder: VerifierBuilder| builder.roles_at("/realm_access/roles");
    for value in [
        json!("admin"),
        json!(["admin"]),
        json!({"roles": 1}),
        json!({"roles": {"admin": 1}}),
        json!({}),
    ] {
        let answer = fixture
            .judge_by(path, &fixture.with("realm_access", value.clone()))
            .await;
        assert_eq!(answer.passes("path").caller().roles().count(), 0, "{value}");
    }
    // What is sound among what is not counts.
    let claims = json!({"roles": [1, "admin", null]});
    assert!(allows(&fixture, Rule::any_of(["admin"]), &claims).await);
    assert!(allows(&fixture, Rule::any_of(["admin"]), &json!({"role": "admin"})).await);
}

async fn roles_at(fixture: &Fixture, path: &str, claims: Value) -> Vec<String> {
    let token = fixture
        .es
        .token(|own| own.extend(claims.as_object().unwrap().clone()));
    let builder = || fixture.builder().roles_at(path);
    let answer = judge(builder, bearer(token)).await.passes(path);
    answer.caller().roles().map(str::to_owned).collect()
}

#[tokio::test]
async fn l10_every_place_of_roles_can_be_named() {
    let fixture = Fixture::new();
    for (path, claims) in [
        (
            "/realm_access/roles",
            json!({"realm_access": {"roles": ["admin"]}}),
        ),
        ("https://x.y/roles", json!({"https://x.y/roles": ["admin"]})),
        ("a.b", json!({"a.b": ["admin"], "a": {"b": ["no"]}})),
        ("cognito:groups", json!({"cognito:groups": ["admin"]})),
        (
            "/https:~1~1x.y~1roles",
            json!({"https://x.y/roles": ["admin"]}),
        ),
        ("/a~1b/c~0d", json!({"a/b": {"c~d": ["admin"]}})),
        ("/a~01", json!({"a~1": ["admin"]})),
        (
            "/resource_access/my.client/roles",
            json!({"resource_access": {"my.client": {"roles": ["admin"]}}}),
        ),
        ("/a/b/c/d", json!({"a": {"b": {"c": {"d": "admin"}}}})),
    ] {
        assert_eq!(roles_at(&fixture, path, claims).await, ["admin"], "{path}");
    }
    // A star is a name like any other.
    let clients = json!({"resource_access": {"a": {"roles": ["admin"]}}});
    assert!(
        roles_at(&fixture, "/resource_access/*/roles", clients.clone())
            .await
            .is_empty()
    );
    let token = fixture
        .es
        .token(|own| own.extend(clients.as_object().unwrap().clone()));
    let by = |builder: VerifierBuilder| builder.dangerous_roles_of_all_clients();
    let answer = fixture.judge_by(by, &token).await.passes("all clients");
    assert!(answer.caller().has_role("admin"));
    for path in ["", "/", "//x"] {
        let refused = fixture.builder().roles_at(path).build();
        assert!(
            matches!(refused, Err(ConfigError::Invalid { .. })),
            "{path}"
        );
    }
}

#[tokio::test]
async fn l11_several_claims_are_merged() {
    let fixture = Fixture::new();
    let claims = json!({
        "scope": "read", "scp": ["write"], "roles": ["a"], "role": "b", "groups": ["c"],
        "realm_access": {"roles": ["d"], "other": ["no"]},
        "resource_access": {"x": {"roles": ["e"]}, "y": {"roles": ["no"]}},
    });
    let token = fixture
        .es
        .token(|own| own.extend(claims.as_object().unwrap().clone()));
    let answer = fixture.judge(&token).await.passes("default");
    let mut default: Vec<_> = answer.caller().roles().collect();
    default.sort_unstable();
    assert_eq!(default, ["a", "b"]);

    let by = |builder: VerifierBuilder| {
        builder
            .roles_at("roles")
            .roles_at("role")
            .roles_at("groups")
            .roles_at("/realm_access/roles")
            .roles_at("/resource_access/x/roles")
    };
    let answer = fixture.judge_by(by, &token).await.passes("named");
    let mut named: Vec<_> = answer.caller().roles().collect();
    named.sort_unstable();
    assert_eq!(named, ["a", "b", "c", "d", "e"]);
    let mut scope: Vec<_> = answer.caller().scope().collect();
    scope.sort_unstable();
    assert_eq!(scope, ["read", "write"]);
}

#[tokio::test]
async fn l12_a_scope_is_no_role_and_a_role_is_no_scope() {
    let fixture = Fixture::new();
    let scope = json!({"scope": "admin"});
    assert!(!allows(&fixture, Rule::any_of(["admin"]), &scope).await);
    assert!(allows(&fixture, Rule::scope(["admin"]), &scope).await);
    assert!(!allows(&fixture, Rule::scope(["admin"]), &roles(&["admin"])).await);
    // Mapped on purpose, one scope is one role.
    let by = |builder: VerifierBuilder| builder.roles_at("scope");
    let answer = fixture
        .judge_by(by, &fixture.with("scope", json!("admin")))
        .await;
    assert!(answer.passes("mapped").caller().has_role("admin"));
}
