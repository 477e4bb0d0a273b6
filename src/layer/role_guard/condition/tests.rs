//! The truth tables of rules, and the explanations of refusals.

use http::Request;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::super::rule::Rule;
use crate::{
    error::AuthErrorKind,
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind},
};

fn caller(roles: &[&str], scope: &str) -> Principal {
    Principal::builder().roles(roles).scope(scope).build()
}

fn admits(rule: &Rule, caller: &Principal) -> bool {
    let request = Request::new(());
    rule.admits(caller, RequestHead::of(&request))
}

/// The scopes that a refusal names, or `None` where it is not for scopes.
fn missing(rule: &Rule, caller: &Principal) -> Option<String> {
    let request = Request::new(());
    let head = RequestHead::of(&request);
    assert!(!rule.admits(caller, head), "nothing to explain");
    let error = rule.refusal(caller, head);
    let kind = match error.required_scope() {
        Some(_) => AuthErrorKind::MissingScope,
        None => AuthErrorKind::Forbidden,
    };
    assert_eq!(error.kind(), kind);
    error.required_scope().map(ToOwned::to_owned)
}

#[test]
fn l5_the_full_truth_table_of_three_roles() {
    let a = || Rule::any_of(["a"]);
    let b = || Rule::any_of(["b"]);
    let c = || Rule::any_of(["c"]);
    type Expected = fn(bool, bool, bool) -> bool;
    let table: [(&str, Rule, Expected); 16] = [
        ("authenticated", Rule::authenticated(), |_, _, _| true),
        ("!authenticated", !Rule::authenticated(), |_, _, _| false),
        ("any abc", Rule::any_of(["a", "b", "c"]), |a, b, c| {
            a | b | c
        }),
        ("all abc", Rule::all_of(["a", "b", "c"]), |a, b, c| {
            a & b & c
        }),
        ("none abc", Rule::none_of(["a", "b", "c"]), |a, b, c| {
            !(a | b | c)
        }),
        ("!any ab", !Rule::any_of(["a", "b"]), |a, b, _| !(a | b)),
        ("!all ab", !Rule::all_of(["a", "b"]), |a, b, _| !(a & b)),
        ("!none ab", !Rule::none_of(["a", "b"]), |a, b, _| a | b),
        ("a&b&c", a().and(b()).and(c()), |a, b, c| a & b & c),
        ("a|b|c", a().or(b()).or(c()), |a, b, c| a | b | c),
        ("a&(b|c)", a().and(b().or(c())), |a, b, c| a & (b | c)),
        ("(a&b)|c", a().and(b()).or(c()), |a, b, c| (a & b) | c),
        ("!(a&b)|!c", (!a().and(b())).or(!c()), |a, b, c| {
            !(a & b) | !c
        }),
        ("!(a|!b)&c", (!a().or(!b())).and(c()), |a, b, c| {
            !(a | !b) & c
        }),
        ("!!a", !!a(), |a, _, _| a),
        ("!!!(a&!b)", !!!a().and(!b()), |a, b, _| !(a & !b)),
    ];
    for (name, rule, expected) in &table {
        for bits in 0..8 {
            let (a, b, c) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            let held = [("a", a), ("b", b), ("c", c)];
            let roles: Vec<_> = held
                .iter()
                .filter(|role| role.1)
                .map(|role| role.0)
                .collect();
            let actual = admits(rule, &caller(&roles, ""));
            assert_eq!(actual, expected(a, b, c), "{name} for {roles:?}");
        }
    }
}

#[test]
fn l5_kinds_and_checks_are_conditions_like_others() {
    let guest = Principal::builder().kind(PrincipalKind::Guest).build();
    let rule = Rule::kind(PrincipalKind::Guest);
    assert!(admits(&rule, &guest));
    assert!(!admits(&rule, &caller(&[], "")));
    assert!(admits(&!rule, &caller(&[], "")));

    let own =
        Rule::check(|caller, head| caller.subject() == head.uri().path().strip_prefix("/users/"));
    let alice = Principal::builder().subject("alice").build();
    for (path, expected) in [("/users/alice", true), ("/users/bob", false)] {
        let request = Request::get(path).body(()).unwrap();
        assert_eq!(own.admits(&alice, RequestHead::of(&request)), expected);
    }
}

#[test]
fn l3_scopes_are_case_sensitive_order_free_whole_tokens() {
    let rule = Rule::scope("write read");
    assert!(admits(&rule, &caller(&[], "read x write")));
    assert!(admits(&rule, &caller(&[], "write read")));
    assert!(!admits(&rule, &caller(&[], "Read write")));
    assert!(!admits(&rule, &caller(&[], "read")));
    let together = Rule::scope("write read");
    assert!(admits(&together, &caller(&[], "read write")));
    assert!(!admits(&together, &caller(&[], "write")));
}

#[test]
fn l4_readwrite_does_not_satisfy_read() {
    assert!(!admits(&Rule::scope("read"), &caller(&[], "readwrite")));
    assert!(!admits(
        &Rule::scope("readwrite"),
        &caller(&[], "read write")
    ));
    assert!(!admits(
        &Rule::any_of(["read"]),
        &caller(&["readwrite"], "")
    ));
    assert!(!admits(
        &Rule::any_of(["admin"]),
        &caller(&["Admin", "admin "], "")
    ));
}

#[test]
fn l12_a_scope_is_no_role_and_a_role_no_scope() {
    assert!(!admits(&Rule::any_of(["admin"]), &caller(&[], "admin")));
    assert!(!admits(&Rule::scope("admin"), &caller(&["admin"], "")));
    assert!(admits(&Rule::none_of(["admin"]), &caller(&[], "admin")));
}

#[test]
fn l15_one_refusal_names_the_scopes_of_all_unsatisfied_rules() {
    let b = Rule::scope("b");
    let rule = Rule::any_of(["x"])
        .and(Rule::scope("d a").or(b))
        .and(Rule::scope("c"));
    let named = missing(&rule, &caller(&["x"], ""));
    assert_eq!(named.as_deref(), Some("a b c d"));
    // Satisfied rules and their alternatives are not named.
    assert_eq!(missing(&rule, &caller(&["x"], "b")).as_deref(), Some("c"));
    // All scopes of an unsatisfied rule are named, including those that the caller has: a new token
    // needs all of them.
    assert_eq!(
        missing(&rule, &caller(&["x"], "a c")).as_deref(),
        Some("a b d")
    );
    // Missing the role as well changes nothing; missing the role alone is another refusal.
    assert_eq!(missing(&rule, &caller(&[], "")).as_deref(), Some("a b c d"));
    assert_eq!(missing(&rule, &caller(&[], "b c")), None);
}

#[test]
fn l15_scopes_needed_together_are_named_together_once() {
    let rule = Rule::scope("b")
        .and(Rule::any_of(["x"]))
        .and(Rule::scope("a b"));
    assert_eq!(missing(&rule, &caller(&["x"], "b")).as_deref(), Some("a b"));
}

#[test]
fn l15_an_inverted_scope_is_never_asked_for() {
    assert_eq!(missing(&!Rule::scope("a"), &caller(&[], "a")), None);
    let rule = !Rule::scope("a").or(!Rule::scope("b"));
    assert_eq!(missing(&rule, &caller(&[], "a")).as_deref(), Some("b"));
    assert_eq!(missing(&rule, &caller(&[], "a b")), None);
}

/// A rule as plain data, with its meaning written a second time.
#[derive(Clone, Debug)]
enum Model {
    Authenticated,
    AnyOf(Vec<u8>),
    AllOf(Vec<u8>),
    NoneOf(Vec<u8>),
    Scope(Vec<u8>),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Model {
    fn rule(&self) -> Rule {
        match self {
            Self::Authenticated => Rule::authenticated(),
            Self::AnyOf(roles) => Rule::try_any_of(names(roles)).unwrap(),
            Self::AllOf(roles) => Rule::try_all_of(names(roles)).unwrap(),
            Self::NoneOf(roles) => Rule::try_none_of(names(roles)).unwrap(),
            Self::Scope(tokens) => Rule::try_scope(&names(tokens).join(" ")).unwrap(),
            Self::Not(inner) => !inner.rule(),
            Self::And(one, other) => one.rule().and(other.rule()),
            Self::Or(one, other) => one.rule().or(other.rule()),
        }
    }

    fn holds(&self, roles: &[u8], scope: &[u8]) -> bool {
        match self {
            Self::Authenticated => true,
            Self::AnyOf(named) => named.iter().any(|role| roles.contains(role)),
            Self::AllOf(named) => named.iter().all(|role| roles.contains(role)),
            Self::NoneOf(named) => !named.iter().any(|role| roles.contains(role)),
            Self::Scope(named) => named.iter().all(|token| scope.contains(token)),
            Self::Not(inner) => !inner.holds(roles, scope),
            Self::And(one, other) => one.holds(roles, scope) && other.holds(roles, scope),
            Self::Or(one, other) => one.holds(roles, scope) || other.holds(roles, scope),
        }
    }
}

fn names(ids: &[u8]) -> Vec<String> {
    ids.iter().map(|id| format!("n{id}")).collect()
}

fn models() -> impl Strategy<Value = Model> {
    let some = || proptest::collection::vec(0..4_u8, 1..4);
    let leaf = prop_oneof![
        Just(Model::Authenticated),
        some().prop_map(Model::AnyOf),
        some().prop_map(Model::AllOf),
        some().prop_map(Model::NoneOf),
        some().prop_map(Model::Scope),
    ];
    leaf.prop_recursive(5, 32, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|one| Model::Not(Box::new(one))),
            pair.clone()
                .prop_map(|(one, other)| Model::And(one.into(), other.into())),
            pair.prop_map(|(one, other)| Model::Or(one.into(), other.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn l5_rules_mean_what_the_model_says_and_not_is_the_negation(
        model in models(),
        roles in any::<[bool; 4]>(),
        scope in any::<[bool; 4]>(),
    ) {
        let held = |bits: [bool; 4]| -> Vec<u8> {
            (0..4).filter(|id| bits[usize::from(*id)]).collect()
        };
        let (roles, scope) = (held(roles), held(scope));
        let rule = model.rule();
        let caller = Principal::builder()
            .roles(names(&roles))
            .scope(&names(&scope).join(" "))
            .build();
        let expected = model.holds(&roles, &scope);
        prop_assert_eq!(admits(&rule, &caller), expected);
        prop_assert_eq!(admits(&!rule.clone(), &caller), !expected);
        prop_assert_eq!(admits(&!!rule.clone(), &caller), expected);
        if !expected {
            // The named scopes are sorted, without duplicates, and the caller lacks at least one of them.
            if let Some(named) = missing(&rule, &caller) {
                let tokens: Vec<&str> = named.split(' ').collect();
                prop_assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(tokens.iter().any(|token| !caller.has_scope(token)));
            }
        }
    }
}
