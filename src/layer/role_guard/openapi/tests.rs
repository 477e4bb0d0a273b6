use std::collections::BTreeSet;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use serde_json::{Value, json};

use super::super::{Action, Rule};
use crate::{
    layer::{
        extract::{NamedPlace, Place},
        openapi::SecuritySchemes,
    },
    principal::PrincipalKind,
};

fn bearer() -> SecuritySchemes {
    let places = [NamedPlace::new(Place::Authorization, "Authorization")];
    SecuritySchemes::of_tokens(&places, &[], true).unwrap()
}

/// The alternatives of a rule, each as its scopes.
fn alternatives(rule: &Rule) -> Vec<String> {
    let security = rule.openapi_security(&bearer());
    let alternatives = security.as_array().unwrap().iter().map(|one| {
        let scopes = one["bearer"].as_array().unwrap().iter();
        let scopes: Vec<_> = scopes.map(|scope| scope.as_str().unwrap()).collect();
        scopes.join(" ")
    });
    alternatives.collect()
}

#[test]
fn l23_the_scopes_of_a_rule_are_its_alternatives() {
    let admin = || Rule::any_of(["admin"]);
    for (rule, expected) in [
        (Rule::authenticated(), &[""][..]),
        (Rule::scope("b a"), &["a b"]),
        (Rule::scope("a").and(Rule::scope("b")), &["a b"]),
        (Rule::scope("a").or(Rule::scope("b")), &["a", "b"]),
        // The narrower alternative covers the other one.
        (Rule::scope("a b").or(Rule::scope("a")), &["a"]),
        (Rule::scope("a").or(Rule::scope("a b")), &["a"]),
        (
            Rule::scope("a").or(Rule::scope("b")).and(Rule::scope("c")),
            &["a c", "b c"],
        ),
        (admin().or(Rule::scope("a")), &[""]),
        (admin().and(Rule::scope("a")), &["a"]),
        (Rule::scope("a").named("readers"), &["a"]),
        (Rule::scope("a").action("edit"), &["a"]),
        (Rule::check(|_, _| true).and(Rule::scope("a")), &["a"]),
        (!Rule::scope("a"), &[""]),
        (!!Rule::scope("a"), &["a"]),
        (!(!Rule::scope("a")).or(!Rule::scope("b")), &["a b"]),
        (!(!Rule::scope("a")).and(!Rule::scope("b")), &["a", "b"]),
        // No caller satisfies this one, and the route is not described as an open one.
        (!Rule::authenticated(), &[""]),
    ] {
        assert_eq!(alternatives(&rule), expected, "{rule:?}");
    }
}

#[test]
fn l23_of_very_many_alternatives_some_scopes_are_left_out() {
    let either =
        |number: u32| Rule::scope(&format!("a{number}")).or(Rule::scope(&format!("b{number}")));
    let rules = |count| (1..count).map(either).fold(either(0), Rule::and);
    assert_eq!(alternatives(&rules(6)).len(), 64);
    assert_eq!(alternatives(&rules(7)), [""]);
    let many = alternatives(&rules(400));
    assert!(many.len() <= 64, "{}", many.len());
}

#[test]
fn l23_the_extension_describes_every_part() {
    let by_method = Rule::grpc([
        ("/a.B/Read", Rule::scope("read")),
        ("/a.B/Purge", Rule::any_of(["admin"])),
    ]);
    for (rule, expected) in [
        (Rule::authenticated(), json!({ "authenticated": true })),
        (Rule::any_of(["b", "a"]), json!({ "anyRole": ["a", "b"] })),
        (Rule::all_of(["a"]), json!({ "allRoles": ["a"] })),
        (Rule::none_of(["a"]), json!({ "not": { "anyRole": ["a"] } })),
        (Rule::scope("b a"), json!({ "scopes": ["a", "b"] })),
        (Rule::kind(PrincipalKind::Guest), json!({ "kind": "guest" })),
        (Rule::check(|_, _| true), json!({ "custom": true })),
        (
            Rule::check(|_, _| true).named("own order"),
            json!({ "custom": "own order" }),
        ),
        (
            Rule::any_of(["a"]).named("staff"),
            json!({ "anyRole": ["a"] }),
        ),
        (
            Rule::authenticated().action("edit"),
            json!({ "policy": { "action": "edit" } }),
        ),
        (
            Rule::scope("a").action(Action::new("edit").resource("document")),
            json!({ "allOf": [
                { "scopes": ["a"] },
                { "policy": { "action": "edit", "resource": "document" } },
            ] }),
        ),
        (
            Rule::any_of(["a"]).or(Rule::scope("b")),
            json!({ "anyOf": [{ "anyRole": ["a"] }, { "scopes": ["b"] }] }),
        ),
        (
            by_method.unwrap(),
            json!({ "paths": {
                "/a.B/Purge": { "anyRole": ["admin"] },
                "/a.B/Read": { "scopes": ["read"] },
            } }),
        ),
    ] {
        assert_eq!(rule.openapi_extension(), expected);
    }
}

#[derive(Clone, Debug)]
enum Tree {
    Scope(BTreeSet<u8>),
    Role,
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        proptest::collection::btree_set(0..4_u8, 1..3).prop_map(Tree::Scope),
        Just(Tree::Role),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|one| Tree::Not(Box::new(one))),
            pair.clone()
                .prop_map(|(one, two)| Tree::And(Box::new(one), Box::new(two))),
            pair.prop_map(|(one, two)| Tree::Or(Box::new(one), Box::new(two))),
        ]
    })
}

impl Tree {
    fn rule(&self) -> Rule {
        match self {
            Self::Scope(tokens) => {
                let tokens: Vec<_> = tokens.iter().map(|token| format!("s{token}")).collect();
                Rule::try_scope(&tokens.join(" ")).unwrap()
            }
            Self::Role => Rule::any_of(["role"]),
            Self::Not(inner) => !inner.rule(),
            Self::And(one, two) => one.rule().and(two.rule()),
            Self::Or(one, two) => one.rule().or(two.rule()),
        }
    }

    fn holds(&self, scopes: &BTreeSet<u8>, role: bool) -> bool {
        match self {
            Self::Scope(tokens) => tokens.is_subset(scopes),
            Self::Role => role,
            Self::Not(inner) => !inner.holds(scopes, role),
            Self::And(one, two) => one.holds(scopes, role) && two.holds(scopes, role),
            Self::Or(one, two) => one.holds(scopes, role) || two.holds(scopes, role),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn l23_a_caller_who_satisfies_the_rule_has_the_scopes_of_an_alternative(
        tree in trees(),
        scopes in proptest::collection::btree_set(0..4_u8, 0..4),
        role in any::<bool>(),
    ) {
        if tree.holds(&scopes, role) {
            let held: Vec<_> = scopes.iter().map(|scope| format!("s{scope}")).collect();
            let security = tree.rule().openapi_security(&bearer());
            let covers = |one: &Value| {
                let needed = one["bearer"].as_array().unwrap();
                needed.iter().all(|scope| held.iter().any(|held| scope == held))
            };
            prop_assert!(security.as_array().unwrap().iter().any(covers), "{security}");
        }
    }
}
