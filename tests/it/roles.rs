//! Section L: roles and scopes, from the token to the guard.

use http::{HeaderName, HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Principal, RoleGuardLayer,
    error::AuthErrorKind,
    role_guard::{RoleHierarchy, Rule},
    verify::VerifierBuilder,
};

use crate::support::{Answer, Fixture, bearer, judge, send};

async fn ask(fixture: &Fixture, guard: RoleGuardLayer, request: Request<String>) -> Answer {
    let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
    send(layers, request).await
}

/// Asks for a caller with these claims.
async fn allows(fixture: &Fixture, rule: Rule, claims: &Value) -> bool {
    let token = fixture
        .es
        .token(|own| own.extend(claims.as_object().unwrap().clone()));
    let answer = ask(fixture, RoleGuardLayer::new(rule), bearer(token)).await;
    match answer.status {
        StatusCode::OK => answer.is_ok("allowed").ran(),
        _ => answer.is_is("forbidden").ran(),
    }
}

fn roles(names: &[&str]) -> Value {
    json!({ "roles": names })
}

#[tokio::test]
async fn l1_a_guarded_route_without_a_token_is_401_and_not_403() {
    let fixture = Fixture::new();
    for guard in [
        RoleGuardLayer::any_of(["admin"]),
        RoleGuardLayer::none_of(["banned"]),
        RoleGuardLayer::scope(["read"]),
        RoleGuardLayer::authenticated(),
        RoleGuardLayer::new(!Rule::authenticated()),
    ] {
        let nobody = || Request::new(String::new());
        ask(&fixture, guard.clone(), nobody())
            .await
            .is_bare("required");
        let layers = ServiceBuilder::new()
            .layer(fixture.layer().optional())
            .layer(guard);
        send(layers, nobody()).await.is_bare("optional");
    }
}

#[tokio::test]
async fn l2_a_token_without_the_role_is_403() {
    let fixture = Fixture::new();
    let guard = || RoleGuardLayer::any_of(["admin"]);
    for claims in [
        json!({}),
        roles(&[]),
        roles(&["user"]),
        roles(&["Admin", "admin ", "adm", ""]),
    ] {
        let token = fixture
            .es
            .token(|own| own.extend(claims.as_object().unwrap().clone()));
        let answer = ask(&fixture, guard(), bearer(token)).await.is_is("role");
        assert_eq!(answer.challenge().get("scope"), None);
        assert_eq!(answer.kind(), Some(AuthErrorKind::Forbidden));
    }
    let token = fixture.with("roles", json!(["user", "admin"]));
    ask(&fixture, guard(), bearer(token)).await.is_ok("admin");
}

#[tokio::test]
async fn l3_scopes_are_compared_with_case_in_any_order_and_as_wholes() {
    let fixture = Fixture::new();
    let rule = || Rule::scope(["read", "write"]);
    for (scope, expected) in [
        ("read write", true),
        ("write read", true),
        ("x write y read z", true),
        ("Read write", false),
        ("READ WRITE", false),
        ("read", false),
        ("read,write", false),
        ("readwrite", false),
        ("read write2", false),
        ("", false),
    ] {
        let claims = json!({ "scope": scope });
        assert_eq!(allows(&fixture, rule(), &claims).await, expected, "{scope}");
    }
}

#[tokio::test]
async fn l4_a_longer_scope_does_not_satisfy_a_shorter_one() {
    let fixture = Fixture::new();
    for scope in [
        "readwrite",
        "read:all",
        "xread",
        "rea d",
        "read\u{a0}x",
        "read\tx",
    ] {
        let claims = json!({ "scope": scope });
        assert!(
            !allows(&fixture, Rule::scope(["read"]), &claims).await,
            "{scope}"
        );
    }
    assert!(allows(&fixture, Rule::scope(["read"]), &json!({"scope": "read"})).await);
}

#[tokio::test]
async fn l5_rules_combine_by_their_truth_table() {
    type Table = (fn() -> Rule, fn(bool, bool, bool) -> bool);
    const TABLE: [Table; 9] = [
        (|| Rule::any_of(["a", "b", "c"]), |a, b, c| a || b || c),
        (|| Rule::all_of(["a", "b", "c"]), |a, b, c| a && b && c),
        (|| Rule::none_of(["a", "b", "c"]), |a, b, c| !(a || b || c)),
        (|| !Rule::any_of(["a"]), |a, _, _| !a),
        (|| !Rule::all_of(["a", "b"]), |a, b, _| !(a && b)),
        (|| !!Rule::any_of(["a"]), |a, _, _| a),
        (
            || {
                Rule::any_of(["a"])
                    .and(!Rule::any_of(["b"]))
                    .or(Rule::any_of(["c"]))
            },
            |a, b, c| (a && !b) || c,
        ),
        (
            || {
                Rule::any_of(["a"])
                    .or(Rule::all_of(["b", "c"]))
                    .and(!Rule::all_of(["a", "b", "c"]))
            },
            |a, b, c| (a || (b && c)) && !(a && b && c),
        ),
        (
            || !(Rule::any_of(["a"]).or(Rule::any_of(["b"]).and(Rule::any_of(["c"])))),
            |a, b, c| !(a || (b && c)),
        ),
    ];
    let fixture = Fixture::new();
    for (row, (rule, expected)) in TABLE.into_iter().enumerate() {
        for bits in 0..8_u8 {
            let holds = |bit: u8| bits & (1 << bit) != 0;
            let held: Vec<_> = ["a", "b", "c"]
                .into_iter()
                .zip(0..)
                .filter(|(_, bit)| holds(*bit))
                .map(|(name, _)| name)
                .collect();
            let expected = expected(holds(0), holds(1), holds(2));
            let allowed = allows(&fixture, rule(), &roles(&held)).await;
            assert_eq!(allowed, expected, "row {row}, {held:?}");
        }
    }
}

#[test]
fn l6_an_empty_rule_is_refused_at_build() {
    let none: [&str; 0] = [];
    for refused in [
        Rule::try_any_of(none),
        Rule::try_all_of(none),
        Rule::try_none_of(none),
        Rule::try_any_of([""]),
        Rule::try_all_of(["a", ""]),
        Rule::try_none_of([""]),
        Rule::try_scope(""),
        Rule::try_scope("  "),
        Rule::try_scope("a\"b"),
    ] {
        assert!(
            matches!(refused, Err(ConfigError::Invalid { .. })),
            "{refused:?}"
        );
    }
    for refused in [
        RoleGuardLayer::try_any_of(none),
        RoleGuardLayer::try_all_of(none),
        RoleGuardLayer::try_none_of(none),
        RoleGuardLayer::try_scope(""),
    ] {
        assert!(
            matches!(refused, Err(ConfigError::Invalid { .. })),
            "{refused:?}"
        );
    }
    assert!(Rule::try_any_of(vec!["a".to_owned()]).is_ok());
}

#[tokio::test]
async fn l6_a_rule_that_was_written_wrongly_lets_nobody_through() {
    let fixture = Fixture::new();
    for rule in [
        Rule::any_of([""]),
        !Rule::any_of([""]),
        Rule::none_of([""]),
        Rule::scope([" "]),
    ] {
        let request = bearer(fixture.with("roles", json!(["", "admin"])));
        let answer = ask(&fixture, RoleGuardLayer::new(rule), request).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.ran());
    }
}

#[tokio::test]
async fn l7_the_hierarchy_is_transitive_and_has_no_cycle() {
    let fixture = Fixture::new();
    let hierarchy = RoleHierarchy::builder()
        .implies("admin", ["editor"])
        .implies("editor", ["viewer"])
        .build()
        .unwrap();
    for (held, expected) in [
        ("admin", true),
        ("editor", true),
        ("viewer", true),
        ("guest", false),
    ] {
        let guard = RoleGuardLayer::any_of(["viewer"]).hierarchy(&hierarchy);
        let token = fixture.with("roles", json!([held]));
        let answer = ask(&fixture, guard, bearer(token)).await;
        assert_eq!(answer.ran(), expected, "{held}");
    }
    let guard = RoleGuardLayer::any_of(["admin"]).hierarchy(&hierarchy);
    let token = fixture.with("roles", json!(["viewer", "editor"]));
    ask(&fixture, guard, bearer(token))
        .await
        .is_is("not upwards");

    let cycle = RoleHierarchy::builder()
        .implies("a", ["b"])
        .implies("b", ["c"])
        .implies("c", ["a"]);
    let Err(ConfigError::RoleCycle(steps)) = cycle.build() else {
        panic!("a cycle was built");
    };
    for name in ["a", "b", "c"] {
        assert!(steps.contains(name), "{steps}");
    }
}

#[tokio::test]
async fn l8_the_hierarchy_counts_in_every_rule() {
    let fixture = Fixture::new();
    let hierarchy = RoleHierarchy::builder()
        .implies("admin", ["editor", "auditor"])
        .build()
        .unwrap();
    for (rule, expected) in [
        (Rule::any_of(["editor"]), true),
        (Rule::all_of(["editor", "auditor"]), true),
        (Rule::all_of(["editor", "other"]), false),
        (Rule::none_of(["editor"]), false),
        (!Rule::any_of(["editor"]), false),
        (!Rule::all_of(["editor", "auditor"]), false),
        (!!Rule::any_of(["auditor"]), true),
        (!Rule::any_of(["other"]), true),
    ] {
        let case = format!("{rule:?}");
        let guard = RoleGuardLayer::new(rule).hierarchy(&hierarchy);
        let token = fixture.with("roles", json!(["admin"]));
        let answer = ask(&fixture, guard, bearer(token)).await;
        assert_eq!(answer.ran(), expected, "{case}");
    }
}

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
            !answer.is_ok("signed in").caller().has_role("admin"),
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
        assert_eq!(answer.is_ok("path").caller().roles().count(), 0, "{value}");
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
    let answer = judge(builder, bearer(token)).await.is_ok(path);
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
    let answer = fixture.judge_by(by, &token).await.is_ok("all clients");
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
    let answer = fixture.judge(&token).await.is_ok("default");
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
    let answer = fixture.judge_by(by, &token).await.is_ok("named");
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
    assert!(answer.is_ok("mapped").caller().has_role("admin"));
}

#[tokio::test]
async fn l13_a_guard_without_an_authenticating_layer_is_500() {
    let fixture = Fixture::new();
    for guard in [
        RoleGuardLayer::any_of(["admin"]),
        RoleGuardLayer::authenticated(),
        RoleGuardLayer::none_of(["banned"]),
    ] {
        let request = bearer(fixture.with("roles", json!(["admin"])));
        let answer = send(guard.clone(), request).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.kind(), Some(AuthErrorKind::Misconfigured));
        assert!(!answer.ran());
        // The other way round, the guard runs first and knows as little.
        let layers = ServiceBuilder::new().layer(guard).layer(fixture.layer());
        let answer = send(layers, bearer(fixture.token())).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.ran());
    }
}

#[tokio::test]
async fn l14_stacked_guards_must_all_agree() {
    let fixture = Fixture::new();
    for (held, expected) in [
        (vec!["a", "b"], true),
        (vec!["a"], false),
        (vec!["b"], false),
        (vec![], false),
    ] {
        let layers = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(RoleGuardLayer::any_of(["a"]))
            .layer(RoleGuardLayer::any_of(["b"]));
        let answer = send(layers, bearer(fixture.with("roles", json!(held)))).await;
        assert_eq!(answer.ran(), expected, "{held:?}");
    }
}

#[tokio::test]
async fn l15_one_answer_names_all_missing_scopes() {
    let fixture = Fixture::new();
    let rule = Rule::scope(["c", "a"])
        .and(Rule::scope(["b"]))
        .and(Rule::any_of(["admin"]));
    let token = fixture.with("roles", json!(["admin"]));
    let answer = ask(&fixture, RoleGuardLayer::new(rule), bearer(token)).await;
    let answer = answer
        .is_is("three scopes")
        .because(AuthErrorKind::MissingScope);
    assert_eq!(answer.challenge().get("scope"), Some("a b c"));
    assert_eq!(
        answer.error.as_ref().unwrap().required_scope(),
        Some("a b c")
    );
}

#[tokio::test]
async fn l16_roles_come_from_the_token_only() {
    let fixture = Fixture::new();
    for name in [
        "x-role",
        "x-roles",
        "x-user-role",
        "x-hasura-role",
        "roles",
        "role",
        "x-forwarded-groups",
        "x-auth-request-groups",
        "remote-groups",
        "scope",
        "x-scope",
    ] {
        for (guard, case) in [
            (RoleGuardLayer::any_of(["admin"]), "role"),
            (RoleGuardLayer::scope(["admin"]), "scope"),
        ] {
            let mut request = bearer(fixture.with("roles", json!(["user"])));
            let name = HeaderName::from_static(name);
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("admin"));
            ask(&fixture, guard, request).await.is_is(case);
        }
    }
    // Nor from what an outer service wrote into the request's extensions.
    let mut request = bearer(fixture.with("roles", json!(["user"])));
    let admin = Principal::builder().roles(["admin"]).build();
    request.extensions_mut().insert(admin);
    ask(&fixture, RoleGuardLayer::any_of(["admin"]), request)
        .await
        .is_is("extension");
}

#[tokio::test]
async fn l2_the_guard_answers_as_the_layer_around_it() {
    let fixture = Fixture::new();
    let outer: JwtAuthLayer = fixture.layer().realm("outer").no_details();
    let ask = async |guard: RoleGuardLayer| {
        let layers = ServiceBuilder::new().layer(outer.clone()).layer(guard);
        let answer = send(layers, bearer(fixture.token())).await.is_is("guard");
        answer.challenge()
    };
    let inherited = ask(RoleGuardLayer::any_of(["admin"])).await;
    assert_eq!(inherited.get("realm"), Some("outer"));
    assert_eq!(inherited.get("error_description"), None);
    let own = ask(RoleGuardLayer::any_of(["admin"]).realm("own")).await;
    assert_eq!(own.get("realm"), Some("own"));
}
