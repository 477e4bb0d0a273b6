//! Section L, L17: roles and scopes that could not be read are never taken for absent.

use http::Request;
use serde_json::{Value, json};
use tower_jwt_auth::{
    Principal, RoleGuardLayer,
    layer::role_guard::Rule,
    principal::PrincipalKind,
    verify::{RoleForm, VerifierBuilder},
};

use super::roles::allows;
use crate::support::{answer::send, fixture::Fixture};

/// Values of a role claim that are read in none of the default forms.
fn unreadable() -> [Value; 9] {
    [
        json!(5),
        json!(true),
        json!(null),
        json!({"suspended": true}),
        json!({}),
        json!([["suspended"]]),
        json!([{"name": "suspended"}]),
        json!(["user", 1]),
        json!([null]),
    ]
}

#[tokio::test]
async fn l17_no_inverted_rule_holds_for_a_caller_whose_roles_could_not_be_read() {
    let fixture = Fixture::new();
    let suspended = || Rule::any_of(["suspended"]);
    let rules = || {
        [
            Rule::none_of(["suspended"]),
            !suspended(),
            !Rule::all_of(["suspended", "x"]),
            Rule::authenticated().and(!suspended()),
            Rule::none_of(["suspended"]).or(Rule::any_of(["admin"])),
            !suspended().or(Rule::scope("x")),
            !Rule::check(|caller, _| caller.has_role("suspended")),
            !Rule::kind(PrincipalKind::Guest),
            !!!suspended(),
        ]
    };
    for value in unreadable() {
        for name in ["roles", "role"] {
            for rule in rules() {
                let case = format!("{rule:?} {name} {value}");
                let claims = json!({ name: value });
                assert!(!allows(&fixture, rule, &claims).await, "{case}");
            }
        }
        let claims = json!({ "roles": value, "role": "admin" });
        assert!(allows(&fixture, Rule::any_of(["admin"]), &claims).await);
        assert!(allows(&fixture, !!Rule::any_of(["admin"]), &claims).await);
        assert!(allows(&fixture, Rule::authenticated(), &claims).await);
    }
    for claims in [
        json!({}),
        json!({"roles": []}),
        json!({"roles": ["user"]}),
        json!({"role": "user"}),
        json!({"roles": ""}),
    ] {
        for rule in rules() {
            let case = format!("{rule:?} {claims}");
            assert!(allows(&fixture, rule, &claims).await, "{case}");
        }
    }
}

#[tokio::test]
async fn l17_the_same_goes_for_a_place_below_a_claim_and_for_a_scope() {
    let fixture = Fixture::new();
    let path = |builder: VerifierBuilder| builder.roles_at("/realm_access/roles");
    for (value, unreadable) in [
        (json!("admin"), true),
        (json!(["admin"]), true),
        (json!(null), true),
        (json!({"roles": 1}), true),
        (json!({"roles": {"suspended": 1}}), true),
        (json!({}), false),
        (json!({"roles": []}), false),
        (json!({"roles": "user"}), false),
    ] {
        let token = fixture.with("realm_access", value.clone());
        let answer = fixture.judge_by(path, &token).await.passes("path");
        assert_eq!(
            answer.caller().has_unreadable_roles(),
            unreadable,
            "{value}"
        );
    }
    let limited = || !Rule::scope("limited");
    for value in [json!(5), json!({"limited": 1}), json!(["a", 5])] {
        for name in ["scope", "scp"] {
            let claims = json!({ name: value });
            assert!(!allows(&fixture, limited(), &claims).await, "{claims}");
            let check = !Rule::check(|caller, _| caller.has_scope("limited"));
            assert!(!allows(&fixture, check, &claims).await, "{claims}");
            assert!(allows(&fixture, Rule::none_of(["suspended"]), &claims).await);
        }
    }
    assert!(allows(&fixture, limited(), &json!({"scope": "a"})).await);
}

type Settings = fn(VerifierBuilder) -> VerifierBuilder;

#[tokio::test]
async fn l17_what_is_read_of_a_part_does_not_hide_the_rest() {
    let fixture = Fixture::new();
    let first = |builder: VerifierBuilder| builder.roles_at("groups").roles_at("/groups/0");
    let inner = |builder: VerifierBuilder| {
        builder
            .roles_at("/groups/web/roles")
            .roles_at_as("groups", RoleForm::MemberNames)
    };
    let both = |builder: VerifierBuilder| builder.roles_at("groups").roles_at("/groups/web");
    let places: [(Settings, _, _); 8] = [
        (first, json!(["a", "b"]), false),
        (first, json!(["a", {"name": "suspended"}]), true),
        (inner, json!({"web": {"roles": ["a"]}}), false),
        (inner, json!({"web": {"roles": {"suspended": 1}}}), true),
        (inner, json!({"web": "suspended"}), true),
        (both, json!(["a"]), false),
        (both, json!({"web": ["a"]}), false),
        (both, json!({"web": [{"name": "suspended"}]}), true),
    ];
    for (by, value, unreadable) in places {
        let token = fixture.with("groups", value.clone());
        let answer = fixture.judge_by(by, &token).await.passes("part");
        assert_eq!(
            answer.caller().has_unreadable_roles(),
            unreadable,
            "{value}"
        );
    }
}

#[tokio::test]
async fn l17_a_remembered_token_and_a_principal_by_hand_are_no_exception() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let token = fixture.with("roles", json!({"suspended": true}));
    for _ in 0..2 {
        let caller = verifier.verify_now(&token).unwrap().principal();
        assert!(caller.has_unreadable_roles() && !caller.has_unreadable_scope());
    }
    let ask = async |caller: Principal, rule: Rule| {
        let mut request = Request::new(String::new());
        request.extensions_mut().insert(caller);
        send(RoleGuardLayer::new(rule), request).await.ran()
    };
    let none_of = || Rule::none_of(["suspended"]);
    let builder = || Principal::builder().roles(["admin"]);
    assert!(ask(builder().build(), none_of()).await);
    let unreadable = || builder().unreadable_roles().build();
    assert!(!ask(unreadable(), none_of()).await);
    assert!(ask(unreadable(), Rule::any_of(["admin"])).await);
    let scopes = || builder().unreadable_scope().build();
    assert!(ask(scopes(), none_of()).await);
    assert!(!ask(scopes(), !Rule::scope("limited")).await);
}
