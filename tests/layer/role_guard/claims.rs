//! Section L, L9 to L12: where roles and scopes come from.

use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError,
    layer::role_guard::Rule,
    verify::{RoleForm, VerifierBuilder},
};

use super::roles::{allows, roles};
use crate::support::fixture::{Fixture, bearer, judge};

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
    assert!(allows(&fixture, Rule::scope("admin"), &scope).await);
    assert!(!allows(&fixture, Rule::scope("admin"), &roles(&["admin"])).await);
    // Mapped on purpose, one scope is one role.
    let by = |builder: VerifierBuilder| builder.roles_at("scope");
    let answer = fixture
        .judge_by(by, &fixture.with("scope", json!("admin")))
        .await;
    assert!(answer.passes("mapped").caller().has_role("admin"));
}

async fn roles_as(path: &str, form: RoleForm, claims: Value) -> (Vec<String>, bool) {
    let fixture = Fixture::new();
    let token = fixture
        .es
        .token(|own| own.extend(claims.as_object().unwrap().clone()));
    let builder = || fixture.builder().roles_at_as(path, form.clone());
    let answer = judge(builder, bearer(token)).await.passes(path);
    let mut roles: Vec<_> = answer.caller().roles().map(str::to_owned).collect();
    roles.sort_unstable();
    (roles, answer.caller().has_unreadable_roles())
}

#[tokio::test]
async fn l18_roles_in_every_form_that_can_be_named() {
    let strings = || RoleForm::Strings;
    let split = |separator: &str| RoleForm::Separated(separator.to_owned());
    let member = |name: &str| RoleForm::Member(name.to_owned());
    let names = || RoleForm::MemberNames;
    let zitadel = "urn:zitadel:iam:org:project:roles";
    for (path, form, claims, expected) in [
        // A string in a list, an index (RFC 6901 §4).
        (
            "groups",
            strings(),
            json!({"groups": ["a", "b"]}),
            &["a", "b"][..],
        ),
        (
            "/groups/0",
            strings(),
            json!({"groups": ["a", "b"]}),
            &["a"],
        ),
        (
            "/groups/1",
            strings(),
            json!({"groups": [{"x": 1}, ["b"]]}),
            &["b"],
        ),
        ("/groups/9", strings(), json!({"groups": ["a"]}), &[]),
        ("/groups/-", strings(), json!({"groups": ["a"]}), &[]),
        (
            "/groups/99999999999999999999",
            strings(),
            json!({"groups": ["a"]}),
            &[],
        ),
        (
            "/a/0/r/1",
            strings(),
            json!({"a": [{"r": ["x", "y"]}]}),
            &["y"],
        ),
        (
            "/a/0",
            strings(),
            json!({"a": {"0": "member"}}),
            &["member"],
        ),
        // One string with a separator.
        ("roles", split(" "), json!({"roles": " a  b "}), &["a", "b"]),
        (
            "roles",
            split(","),
            json!({"roles": "a, b,,c"}),
            &["a", "b", "c"],
        ),
        (
            "roles",
            split("::"),
            json!({"roles": "a::b:c"}),
            &["a", "b:c"],
        ),
        (
            "roles",
            split(","),
            json!({"roles": ["a,b", "c"]}),
            &["a", "b", "c"],
        ),
        (
            "/x/roles",
            split(";"),
            json!({"x": {"roles": "a;b"}}),
            &["a", "b"],
        ),
        // The names of an object's members.
        (
            zitadel,
            names(),
            json!({zitadel: {"a": {"1": "org"}, "b": {}}}),
            &["a", "b"],
        ),
        (
            "r",
            names(),
            json!({"r": {"a": true, "no": false, "nil": null, "b": 0}}),
            &["a", "b"],
        ),
        ("/x/r", names(), json!({"x": {"r": {"a": 1}}}), &["a"]),
        ("r", names(), json!({"r": {}}), &[]),
        // A member of each object in a list.
        (
            "authorities",
            member("authority"),
            json!({"authorities": [{"authority": "a"}, {"authority": "b", "x": 1}]}),
            &["a", "b"],
        ),
        (
            "r",
            member("/role/name"),
            json!({"r": [{"role": {"name": "a"}}]}),
            &["a"],
        ),
        (
            "r",
            member("names"),
            json!({"r": [{"names": ["a", "b"]}]}),
            &["a", "b"],
        ),
        ("r", member("name"), json!({"r": {"name": "a"}}), &["a"]),
        (
            "/x/r",
            member("n"),
            json!({"x": {"r": [{"n": "a"}]}}),
            &["a"],
        ),
        ("r", member("n"), json!({"r": []}), &[]),
    ] {
        let case = format!("{path} {form:?} {claims}");
        let (mut roles, unreadable) = roles_as(path, form, claims).await;
        roles.dedup();
        assert_eq!(roles, expected, "{case}");
        assert!(!unreadable, "{case}");
    }
}

#[tokio::test]
async fn l18_what_does_not_have_the_named_form_is_not_read_and_remembered() {
    let strings = || RoleForm::Strings;
    let names = || RoleForm::MemberNames;
    let member = || RoleForm::Member("n".into());
    for (path, form, value, expected) in [
        ("/r/00", strings(), json!(["a"]), &[][..]),
        ("/r/+0", strings(), json!(["a"]), &[]),
        ("/r/x", strings(), json!(["a"]), &[]),
        ("/r/0/x", strings(), json!(["a"]), &[]),
        ("/r/0", strings(), json!("a"), &[]),
        ("r", RoleForm::Separated(" ".into()), json!({"a": 1}), &[]),
        (
            "r",
            RoleForm::Separated(" ".into()),
            json!(["a b", 5]),
            &["a", "b"],
        ),
        ("r", names(), json!("a"), &[]),
        ("r", names(), json!(["a"]), &[]),
        ("r", names(), json!([{"a": 1}]), &[]),
        ("r", names(), json!(null), &[]),
        ("r", member(), json!("a"), &[]),
        ("r", member(), json!([{"n": "a"}, {"m": "b"}]), &["a"]),
        ("r", member(), json!([{"n": "a"}, "b"]), &["a"]),
        ("r", member(), json!([{"n": {"n": "a"}}]), &[]),
    ] {
        let case = format!("{path} {form:?} {value}");
        let (roles, unreadable) = roles_as(path, form, json!({ "r": value })).await;
        assert_eq!(roles, expected, "{case}");
        assert!(unreadable, "{case}");
    }
    let fixture = Fixture::new();
    for form in [
        RoleForm::Separated(String::new()),
        RoleForm::Member(String::new()),
    ] {
        let refused = fixture.builder().roles_at_as("r", form).build();
        assert!(matches!(refused, Err(ConfigError::Invalid { name, .. }) if name == "roles_at"));
    }
}

#[tokio::test]
async fn l18_two_forms_of_one_claim_may_be_named_side_by_side() {
    let fixture = Fixture::new();
    let both = |builder: VerifierBuilder| {
        builder
            .roles_at("groups")
            .roles_at_as("groups", RoleForm::MemberNames)
            .roles_at("/groups/names")
    };
    for (value, expected, unreadable) in [
        (json!(["a"]), &["a"][..], false),
        (json!({"a": {}}), &["a"], false),
        (json!({"names": ["a"]}), &["a", "names"], false),
        (json!(5), &[], true),
        (json!([5]), &[], true),
    ] {
        let token = fixture.with("groups", value.clone());
        let answer = fixture.judge_by(both, &token).await.passes("both");
        let mut roles: Vec<_> = answer.caller().roles().collect();
        roles.sort_unstable();
        assert_eq!(roles, expected, "{value}");
        assert_eq!(
            answer.caller().has_unreadable_roles(),
            unreadable,
            "{value}"
        );
    }
}
