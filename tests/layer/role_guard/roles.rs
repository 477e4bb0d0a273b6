//! Section L, the guard: roles and scopes, from the token on.

use http::{HeaderName, HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Principal, RoleGuardLayer,
    error::AuthErrorKind,
    layer::role_guard::{RoleHierarchy, Rule},
    principal::PrincipalKind,
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
};

async fn ask(fixture: &Fixture, guard: RoleGuardLayer, request: Request<String>) -> Answer {
    let layers = ServiceBuilder::new().layer(fixture.layer()).layer(guard);
    send(layers, request).await
}

/// Asks for a caller with these claims.
pub(crate) async fn allows(fixture: &Fixture, rule: Rule, claims: &Value) -> bool {
    let token = fixture
        .es
        .token(|own| own.extend(claims.as_object().unwrap().clone()));
    let answer = ask(fixture, RoleGuardLayer::new(rule), bearer(token)).await;
    match answer.status {
        StatusCode::OK => answer.passes("allowed").ran(),
        _ => answer.insufficient_scope("forbidden").ran(),
    }
}

pub(crate) fn roles(names: &[&str]) -> Value {
    json!({ "roles": names })
}

#[tokio::test]
async fn l1_a_guarded_route_without_a_token_is_401_and_not_403() {
    let fixture = Fixture::new();
    for guard in [
        RoleGuardLayer::any_of(["admin"]),
        RoleGuardLayer::none_of(["banned"]),
        RoleGuardLayer::scope("read"),
        RoleGuardLayer::authenticated(),
        RoleGuardLayer::new(!Rule::authenticated()),
    ] {
        let nobody = || Request::new(String::new());
        ask(&fixture, guard.clone(), nobody())
            .await
            .bare("required");
        let layers = ServiceBuilder::new()
            .layer(fixture.layer().optional())
            .layer(guard);
        send(layers, nobody()).await.bare("optional");
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
        let answer = ask(&fixture, guard(), bearer(token))
            .await
            .insufficient_scope("role");
        assert_eq!(answer.challenge().get("scope"), None);
        assert_eq!(answer.kind(), Some(AuthErrorKind::Forbidden));
    }
    let token = fixture.with("roles", json!(["user", "admin"]));
    ask(&fixture, guard(), bearer(token)).await.passes("admin");
}

#[tokio::test]
async fn l3_scopes_are_compared_with_case_in_any_order_and_as_wholes() {
    let fixture = Fixture::new();
    let rule = || Rule::scope("read write");
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
            !allows(&fixture, Rule::scope("read"), &claims).await,
            "{scope}"
        );
    }
    assert!(allows(&fixture, Rule::scope("read"), &json!({"scope": "read"})).await);
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
        Rule::scope(" "),
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
        .insufficient_scope("not upwards");

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
    let rule = Rule::scope("c a")
        .and(Rule::scope("b"))
        .and(Rule::any_of(["admin"]));
    let token = fixture.with("roles", json!(["admin"]));
    let answer = ask(&fixture, RoleGuardLayer::new(rule), bearer(token)).await;
    let answer = answer
        .insufficient_scope("three scopes")
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
            (RoleGuardLayer::scope("admin"), "scope"),
        ] {
            let mut request = bearer(fixture.with("roles", json!(["user"])));
            let name = HeaderName::from_static(name);
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("admin"));
            ask(&fixture, guard, request).await.insufficient_scope(case);
        }
    }
    // Nor from what an outer service wrote into the request's extensions.
    let mut request = bearer(fixture.with("roles", json!(["user"])));
    let admin = Principal::builder().roles(["admin"]).build();
    request.extensions_mut().insert(admin);
    ask(&fixture, RoleGuardLayer::any_of(["admin"]), request)
        .await
        .insufficient_scope("extension");
}

#[tokio::test]
async fn l2_the_guard_answers_as_the_layer_around_it() {
    let fixture = Fixture::new();
    let outer: JwtAuthLayer = fixture.layer().realm("outer").terse();
    let ask = async |guard: RoleGuardLayer| {
        let layers = ServiceBuilder::new().layer(outer.clone()).layer(guard);
        let answer = send(layers, bearer(fixture.token()))
            .await
            .insufficient_scope("guard");
        answer.challenge()
    };
    let inherited = ask(RoleGuardLayer::any_of(["admin"])).await;
    assert_eq!(inherited.get("realm"), Some("outer"));
    assert_eq!(inherited.get("error_description"), None);
    let own = ask(RoleGuardLayer::any_of(["admin"]).realm("own")).await;
    assert_eq!(own.get("realm"), Some("own"));
}

/// As in the documentation of `Rule`.
fn own_resource() -> Rule {
    Rule::kind(PrincipalKind::User).and(Rule::check(|caller, head| {
        let segments = head.path_segments().unwrap_or_default();
        match segments.as_slice() {
            [users, owner, ..] => users == "users" && caller.subject() == Some(owner),
            _ => false,
        }
    }))
}

async fn owns(fixture: &Fixture, subject: &str, path: &str) -> bool {
    let mut request = bearer(fixture.with("sub", subject.into()));
    *request.uri_mut() = path.parse().unwrap();
    let answer = ask(fixture, RoleGuardLayer::new(own_resource()), request).await;
    match answer.status {
        StatusCode::OK => answer.passes(path).ran(),
        _ => answer.insufficient_scope(path).ran(),
    }
}

#[tokio::test]
async fn l20_the_documented_own_resource_rule_compares_decoded_path_segments() {
    let fixture = Fixture::new();
    for (subject, path, passes) in [
        ("bob", "/users/bob", true),
        ("bob", "/users/b%6Fb", true),
        ("bob", "/%75sers/bob/orders", true),
        // A router hands `bob` to the handler here.
        ("b%6Fb", "/users/b%6Fb", false),
        ("b%6Fb", "/users/b%256Fb", true),
        ("bob/x", "/users/bob/x", false),
        ("bob/x", "/users/bob%2Fx", true),
        ("bob", "/users//bob", false),
        ("bob", "/users/bob%2F", false),
        ("bob", "/users/%", false),
        ("\u{fffd}", "/users/%FF", false),
        ("bob", "/users", false),
    ] {
        let owned = owns(&fixture, subject, path).await;
        assert_eq!(owned, passes, "{subject} at {path}");
    }
}

#[tokio::test]
async fn l20_a_path_that_a_server_behind_may_rewrite_is_nobodys_own() {
    let fixture = Fixture::new();
    for (path, passes) in [
        ("/users/alice/a%2Fb", true),
        ("/users/alice/.well-known/..x", true),
        // RFC 3986 §5.2.4: for a server behind that removes dot segments, these are bob's.
        ("/users/alice/../bob", false),
        ("/users/alice/%2e%2E/bob", false),
        ("/users/alice/.%2e/bob", false),
        ("/users/alice/..%2Fbob", false),
        ("/users/alice/x%2f..%2f..%2fbob", false),
        ("/users/alice/..%5cbob", false),
        ("/users/alice/./notes", false),
        ("/users/alice/..", false),
    ] {
        assert_eq!(owns(&fixture, "alice", path).await, passes, "{path}");
    }
}
