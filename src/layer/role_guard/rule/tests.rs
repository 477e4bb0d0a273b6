//! Construction and combination of rules.

use http::Request;

use super::Rule;
use crate::{
    error::ConfigError,
    layer::{extract::RequestHead, role_guard::RoleHierarchy},
    principal::Principal,
};

fn admits(rule: &Rule, roles: &[&str]) -> bool {
    let caller = Principal::builder().roles(roles).build();
    rule.admits(&caller, RequestHead::of(&Request::new(())))
}

#[test]
fn l6_an_empty_list_is_refused_at_build() {
    let none: [&str; 0] = [];
    for (name, refused) in [
        ("any_of", Rule::try_any_of(none)),
        ("all_of", Rule::try_all_of(none)),
        ("none_of", Rule::try_none_of(none)),
        ("scope", Rule::try_scope("")),
        ("scope", Rule::try_scope("  ")),
    ] {
        match refused {
            Err(ConfigError::Invalid { name: of, .. }) => assert_eq!(of, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn l6_names_that_no_credential_can_hold_are_refused_at_build() {
    assert!(Rule::try_any_of(["admin", ""]).is_err());
    assert!(Rule::try_none_of([""]).is_err());
    for scope in ["a\tb", "a \"b\"", "a\\b", "ä"] {
        assert!(Rule::try_scope(scope).is_err(), "{scope}");
    }
    assert!(Rule::try_scope("a  b").is_ok());
    assert!(Rule::try_any_of(vec![String::from("admin")]).is_ok());
}

#[test]
fn l6_a_faulty_rule_is_never_satisfied_however_it_is_joined() {
    let faulty = || Rule::scope("");
    for rule in [
        faulty(),
        !faulty(),
        faulty().or(Rule::authenticated()),
        Rule::authenticated().or(!faulty()),
        !Rule::authenticated().and(faulty()),
        Rule::scope("a b\n"),
        Rule::any_of(["admin", ""]),
        Rule::none_of([""]),
    ] {
        assert!(rule.fault().is_some());
        assert!(!admits(&rule, &["admin"]), "{rule:?}");
    }
}

#[test]
fn l8_a_hierarchy_counts_for_any_all_none_and_not_alike() {
    let hierarchy = RoleHierarchy::builder()
        .implies("admin", ["editor"])
        .implies("editor", ["viewer"])
        .build()
        .unwrap();
    let table = [
        (Rule::any_of(["viewer", "x"]), [true, true, true, false]),
        (
            Rule::all_of(["viewer", "editor"]),
            [true, true, false, false],
        ),
        (Rule::none_of(["viewer"]), [false, false, false, true]),
        (!Rule::any_of(["editor"]), [false, false, true, true]),
        (
            !Rule::all_of(["viewer", "editor"]),
            [false, false, true, true],
        ),
        (Rule::any_of(["admin"]), [true, false, false, false]),
        (
            Rule::any_of(["viewer"]).and(!Rule::any_of(["editor"])),
            [false, false, true, false],
        ),
        (
            Rule::any_of(["x"]).or(Rule::none_of(["admin"])),
            [false, true, true, true],
        ),
    ];
    for (mut rule, expected) in table {
        rule.apply_roles(&hierarchy);
        let actual = ["admin", "editor", "viewer", "stranger"].map(|role| admits(&rule, &[role]));
        assert_eq!(actual, expected, "{rule:?}");
    }
}

#[test]
fn l7_the_hierarchy_applied_last_counts_alone() {
    let of = |role| {
        RoleHierarchy::builder()
            .implies(role, ["viewer"])
            .build()
            .unwrap()
    };
    let mut rule = Rule::any_of(["viewer"]);
    rule.apply_roles(&of("admin"));
    assert!(admits(&rule, &["admin"]));
    rule.apply_roles(&of("editor"));
    assert!(!admits(&rule, &["admin"]));
    assert!(admits(&rule, &["editor"]));
}

#[test]
fn debug_shows_the_rule_and_not_the_predicate() {
    let rule = Rule::any_of(["admin"]).or(Rule::check(|_, _| true));
    let shown = format!("{rule:?}");
    assert!(
        shown.contains("admin") && shown.contains("Check(..)"),
        "{shown}"
    );
}
