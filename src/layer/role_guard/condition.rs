//! The expression tree of a rule, and its evaluation.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::hierarchy::RoleHierarchy;
use crate::{
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind},
};

#[derive(Clone, Debug)]
pub(super) enum Condition {
    AnyOf(Vec<Role>),
    AllOf(Vec<Role>),
    Scope(BTreeSet<Box<str>>),
    Kind(PrincipalKind),
    Check(Check),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Condition {
    // Chains are kept flat, so that a rule folded from a long list is not nested as deeply as the list
    // is long.
    pub(super) fn and(self, other: Self) -> Self {
        let mut parts = Vec::new();
        for side in [self, other] {
            match side {
                Self::And(inner) => inner.into_iter().for_each(|part| conjoin(&mut parts, part)),
                part => conjoin(&mut parts, part),
            }
        }
        Self::And(parts)
    }

    pub(super) fn or(self, other: Self) -> Self {
        let mut parts = Vec::new();
        for side in [self, other] {
            match side {
                Self::Or(inner) => parts.extend(inner),
                part => parts.push(part),
            }
        }
        Self::Or(parts)
    }

    pub(super) fn inverted(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            condition => Self::Not(Box::new(condition)),
        }
    }

    pub(super) fn holds(&self, caller: &Principal, head: RequestHead<'_>) -> bool {
        match self {
            Self::AnyOf(roles) => roles.iter().any(|role| role.is_held_by(caller)),
            Self::AllOf(roles) => roles.iter().all(|role| role.is_held_by(caller)),
            Self::Scope(tokens) => tokens.iter().all(|token| caller.has_scope(token)),
            Self::Kind(kind) => caller.kind() == *kind,
            Self::Check(check) => (check.0)(caller, head),
            Self::Not(inner) => inner.is_decidable(caller) && !inner.holds(caller, head),
            Self::And(parts) => parts.iter().all(|part| part.holds(caller, head)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(caller, head)),
        }
    }

    /// Returns the scope tokens of the scope rules that must hold for the caller to pass and do not,
    /// sorted and separated by spaces.
    pub(super) fn missing_scope(&self, caller: &Principal, head: RequestHead<'_>) -> String {
        let mut needed = Vec::new();
        self.explain(true, caller, head, &mut needed);
        needed.sort_unstable();
        needed.dedup();
        needed.join(" ")
    }

    /// Returns `true` if the condition holds. If the result is not the `wanted` one, the scope tokens
    /// that would change it are added to `needed`. A part with the wanted result adds nothing.
    fn explain<'a>(
        &'a self,
        wanted: bool,
        caller: &Principal,
        head: RequestHead<'_>,
        needed: &mut Vec<&'a str>,
    ) -> bool {
        let before = needed.len();
        let holds = match self {
            Self::Not(inner) => {
                !inner.explain(!wanted, caller, head, needed) && inner.is_decidable(caller)
            }
            // Not short-circuited: one refusal names the scopes of all parts.
            Self::And(parts) => parts.iter().fold(true, |holds, part| {
                holds & part.explain(wanted, caller, head, needed)
            }),
            Self::Or(parts) => parts.iter().fold(false, |holds, part| {
                holds | part.explain(wanted, caller, head, needed)
            }),
            Self::Scope(tokens) => {
                // Under `!`, the caller fails by holding the scope, so that no further scope would
                // help.
                if wanted {
                    needed.extend(tokens.iter().map(AsRef::as_ref));
                }
                self.holds(caller, head)
            }
            Self::AnyOf(_) | Self::AllOf(_) | Self::Kind(_) | Self::Check(_) => {
                self.holds(caller, head)
            }
        };
        if holds == wanted {
            needed.truncate(before);
        }
        holds
    }

    /// Returns `false` if the caller may hold what the condition tests in a form that could not be
    /// read. An inverted condition must not hold then.
    fn is_decidable(&self, caller: &Principal) -> bool {
        let unknown =
            caller.has_unreadable_roles() || (caller.has_unreadable_scope() && self.reads_scope());
        !unknown
    }

    fn reads_scope(&self) -> bool {
        match self {
            Self::Scope(_) | Self::Check(_) => true,
            Self::AnyOf(_) | Self::AllOf(_) | Self::Kind(_) => false,
            Self::Not(inner) => inner.reads_scope(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::reads_scope),
        }
    }

    pub(super) fn apply(&mut self, hierarchy: &RoleHierarchy) {
        match self {
            Self::AnyOf(roles) | Self::AllOf(roles) => {
                roles.iter_mut().for_each(|role| role.apply(hierarchy));
            }
            Self::Not(inner) => inner.apply(hierarchy),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter_mut().for_each(|part| part.apply(hierarchy));
            }
            Self::Scope(_) | Self::Kind(_) | Self::Check(_) => {}
        }
    }
}

/// Adds a part to a conjunction. Scopes are merged into one set, so that a refusal for one of them
/// names all that are required together.
fn conjoin(parts: &mut Vec<Condition>, part: Condition) {
    let Condition::Scope(more) = part else {
        parts.push(part);
        return;
    };
    for held in parts.iter_mut() {
        if let Condition::Scope(tokens) = held {
            tokens.extend(more);
            return;
        }
    }
    parts.push(Condition::Scope(more));
}

/// A role that a rule names, and the roles that imply it.
#[derive(Clone, Debug)]
pub(super) struct Role {
    name: Box<str>,
    // Sorted: a token may carry hundreds of roles, and each is looked up here.
    granted_by: Vec<Box<str>>,
}

impl Role {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            granted_by: Vec::new(),
        }
    }

    pub(super) fn is_nameless(&self) -> bool {
        self.name.is_empty()
    }

    fn is_held_by(&self, caller: &Principal) -> bool {
        caller.roles().any(|held| {
            held == &*self.name
                || self
                    .granted_by
                    .binary_search_by(|name| (**name).cmp(held))
                    .is_ok()
        })
    }

    fn apply(&mut self, hierarchy: &RoleHierarchy) {
        self.granted_by = hierarchy.granting(&self.name).map(Into::into).collect();
    }
}

/// A predicate of the application.
#[derive(Clone)]
pub(super) struct Check(Arc<Predicate>);

type Predicate = dyn Fn(&Principal, RequestHead<'_>) -> bool + Send + Sync;

impl Check {
    pub(super) fn new<F>(predicate: F) -> Self
    where
        F: Fn(&Principal, RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self(Arc::new(predicate))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check(..)")
    }
}

#[cfg(test)]
mod tests {
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

        let own = Rule::check(|caller, head| {
            caller.subject() == head.uri().path().strip_prefix("/users/")
        });
        let alice = Principal::builder().subject("alice").build();
        for (path, expected) in [("/users/alice", true), ("/users/bob", false)] {
            let request = Request::get(path).body(()).unwrap();
            assert_eq!(own.admits(&alice, RequestHead::of(&request)), expected);
        }
    }

    #[test]
    fn l3_scopes_are_case_sensitive_order_free_whole_tokens() {
        let rule = Rule::scope(["write", "read"]);
        assert!(admits(&rule, &caller(&[], "read x write")));
        assert!(admits(&rule, &caller(&[], "write read")));
        assert!(!admits(&rule, &caller(&[], "Read write")));
        assert!(!admits(&rule, &caller(&[], "read")));
        let together = Rule::scope(["write read"]);
        assert!(admits(&together, &caller(&[], "read write")));
        assert!(!admits(&together, &caller(&[], "write")));
    }

    #[test]
    fn l4_readwrite_does_not_satisfy_read() {
        assert!(!admits(&Rule::scope(["read"]), &caller(&[], "readwrite")));
        assert!(!admits(
            &Rule::scope(["readwrite"]),
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
        assert!(!admits(&Rule::scope(["admin"]), &caller(&["admin"], "")));
        assert!(admits(&Rule::none_of(["admin"]), &caller(&[], "admin")));
    }

    #[test]
    fn l15_one_refusal_names_the_scopes_of_all_unsatisfied_rules() {
        let b = Rule::scope(["b"]);
        let rule = Rule::any_of(["x"])
            .and(Rule::scope(["d", "a"]).or(b))
            .and(Rule::scope(["c"]));
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
        let rule = Rule::scope(["b"])
            .and(Rule::any_of(["x"]))
            .and(Rule::scope(["a", "b"]));
        assert_eq!(missing(&rule, &caller(&["x"], "b")).as_deref(), Some("a b"));
    }

    #[test]
    fn l15_an_inverted_scope_is_never_asked_for() {
        assert_eq!(missing(&!Rule::scope(["a"]), &caller(&[], "a")), None);
        let rule = !Rule::scope(["a"]).or(!Rule::scope(["b"]));
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
}
