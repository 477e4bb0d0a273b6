//! What a guard demands of a caller.

use std::{collections::BTreeSet, ops::Not};

use super::{
    condition::{Check, Condition, Role},
    hierarchy::RoleHierarchy,
};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError},
    head::RequestHead,
    principal::{Principal, PrincipalKind},
    token::Scope,
};

/// A condition on a caller, and on the request where need be.
///
/// Rules are joined with [`and`](Self::and) and [`or`](Self::or) and inverted with `!`. Names are
/// compared as wholes, byte for byte. A scope never counts as the role of the same name, nor the
/// reverse. A rule is only ever asked about a [`Principal`]: where nobody is signed in, the guard
/// refuses whatever the rule says, `!rule` included.
///
/// A constructor that takes an array refuses an empty one at compile time; its `try_` twin takes
/// what is only known at run time. A name that no credential can hold (an empty one, or a scope
/// outside RFC 6749 §3.3) is a mistake that a constructor without `Result` cannot report, so that
/// a guard with such a rule answers every request with 500.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{principal::PrincipalKind, role_guard::Rule};
///
/// // Editors who are not suspended, or the user whom the path belongs to.
/// let own = Rule::kind(PrincipalKind::User).and(Rule::check(|caller, head| {
///     let segments = head.path_segments().unwrap_or_default();
///     match segments.as_slice() {
///         [users, owner, ..] => users == "users" && caller.subject() == Some(owner),
///         _ => false,
///     }
/// }));
/// let rule = Rule::any_of(["editor"]).and(!Rule::any_of(["suspended"])).or(own);
/// # let _ = rule;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a rule decides nothing before a guard holds it"]
pub struct Rule {
    condition: Condition,
    fault: Option<&'static str>,
}

impl Rule {
    /// Any caller who is signed in, a guest included.
    pub fn authenticated() -> Self {
        Self::of(Condition::And(Vec::new()))
    }

    /// A caller who holds at least one of these roles.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::any_of(["admin", "ops"]);
    /// # let _ = rule;
    /// ```
    ///
    /// No roles at all is a mistake, and does not compile:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::any_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn any_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "any_of needs at least one role") };
        Self::of_roles(roles, Condition::AnyOf)
    }

    /// A caller who holds every one of these roles.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::all_of(["trader", "certified"]);
    /// # let _ = rule;
    /// ```
    ///
    /// No roles at all would let everybody pass, and does not compile:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::all_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn all_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "all_of needs at least one role") };
        Self::of_roles(roles, Condition::AllOf)
    }

    /// A caller who holds none of these roles, all of whose roles could be read
    /// ([`Principal::has_unreadable_roles`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::none_of(["suspended"]);
    /// # let _ = rule;
    /// ```
    ///
    /// No roles at all would let everybody pass, and does not compile:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::none_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn none_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "none_of needs at least one role") };
        !Self::of_roles(roles, Condition::AnyOf)
    }

    /// A caller whose credential grants every one of these scope tokens (RFC 6749 §3.3).
    ///
    /// An element may hold several tokens, separated by spaces.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::scope(["orders:read", "orders:write"]);
    /// # let _ = rule;
    /// ```
    ///
    /// No scope at all would let everybody pass, and does not compile:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::role_guard::Rule;
    ///
    /// let rule = Rule::scope::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn scope<T: AsRef<str>, const N: usize>(tokens: [T; N]) -> Self {
        const { assert!(N > 0, "scope needs at least one scope token") };
        let mut needed = BTreeSet::new();
        let mut fault = None;
        for element in tokens {
            match element.as_ref().parse::<Scope>() {
                Ok(scope) if !scope.is_empty() => needed.extend(scope.iter().map(Into::into)),
                _ => fault = Some(BAD_SCOPE),
            }
        }
        Self {
            condition: Condition::Scope(needed),
            fault,
        }
    }

    /// [`any_of`](Self::any_of) for roles known at run time only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where no role is named, or one whose name is empty.
    pub fn try_any_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("any_of", roles, Condition::AnyOf)
    }

    /// [`all_of`](Self::all_of) for roles known at run time only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where no role is named, or one whose name is empty.
    pub fn try_all_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("all_of", roles, Condition::AllOf)
    }

    /// [`none_of`](Self::none_of) for roles known at run time only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where no role is named, or one whose name is empty.
    pub fn try_none_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("none_of", roles, Condition::AnyOf).map(Not::not)
    }

    /// [`scope`](Self::scope) for scope tokens known at run time only, separated by spaces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] where no scope is named, or one outside RFC 6749 §3.3.
    pub fn try_scope(scope: &str) -> Result<Self, ConfigError> {
        Self::scope([scope]).sound("scope")
    }

    /// A caller of this kind.
    pub fn kind(kind: PrincipalKind) -> Self {
        Self::of(Condition::Kind(kind))
    }

    /// A caller and a request for which `predicate` answers `true`: an own-resource check, say.
    ///
    /// An own-resource check compares decoded [path segments](RequestHead::path_segments), as routers
    /// do; [`Rule`] has an example.
    ///
    /// The predicate sees the credential's own roles: a [`RoleHierarchy`] is not applied to what
    /// [`Principal::has_role`] answers. Where the guard refuses, it may be asked a second time for
    /// the same request, so that it must not count or change anything.
    pub fn check<F>(predicate: F) -> Self
    where
        F: Fn(&Principal, RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self::of(Condition::Check(Check::new(predicate)))
    }

    /// Both this rule and the other.
    pub fn and(self, other: Self) -> Self {
        Self {
            condition: self.condition.and(other.condition),
            fault: self.fault.or(other.fault),
        }
    }

    /// This rule, or the other, or both.
    pub fn or(self, other: Self) -> Self {
        Self {
            condition: self.condition.or(other.condition),
            fault: self.fault.or(other.fault),
        }
    }

    /// Why no request may be decided by this rule, where it was written wrongly.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Whether the caller may pass. Allocates nothing.
    pub(crate) fn admits(&self, caller: &Principal, head: RequestHead<'_>) -> bool {
        self.fault.is_none() && self.condition.holds(caller, head)
    }

    /// What a caller who may not pass is told.
    pub(super) fn refusal(&self, caller: &Principal, head: RequestHead<'_>) -> AuthError {
        let needed = self.condition.missing_scope(caller, head);
        if needed.is_empty() {
            AuthErrorKind::Forbidden.into()
        } else {
            AuthError::missing_scope(needed)
        }
    }

    /// Lets the roles that imply a named one count as it, and no others.
    pub(super) fn apply(&mut self, hierarchy: &RoleHierarchy) {
        self.condition.apply(hierarchy);
    }

    fn of(condition: Condition) -> Self {
        Self {
            condition,
            fault: None,
        }
    }

    fn of_roles<I>(roles: I, condition: fn(Vec<Role>) -> Condition) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let roles: Vec<Role> = roles
            .into_iter()
            .map(|role| Role::new(role.as_ref()))
            .collect();
        let fault = if roles.is_empty() {
            Some(NO_ROLE)
        } else {
            roles.iter().any(Role::is_nameless).then_some(EMPTY_ROLE)
        };
        Self {
            condition: condition(roles),
            fault,
        }
    }

    fn of_some_roles<I>(
        name: &'static str,
        roles: I,
        condition: fn(Vec<Role>) -> Condition,
    ) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_roles(roles, condition).sound(name)
    }

    fn sound(self, name: &'static str) -> Result<Self, ConfigError> {
        match self.fault {
            Some(fault) => Err(ConfigError::invalid(name, fault)),
            None => Ok(self),
        }
    }
}

impl Not for Rule {
    type Output = Self;

    /// Returns a rule for callers who are signed in and whom this rule would refuse.
    ///
    /// It does not hold for a caller whose roles could not be read
    /// ([`Principal::has_unreadable_roles`]), nor, if the rule looks at scopes or is a
    /// [`check`](Rule::check), for one whose scope could not be read.
    fn not(self) -> Self {
        Self {
            condition: self.condition.inverted(),
            fault: self.fault,
        }
    }
}

const NO_ROLE: &str = "no role is named";
const EMPTY_ROLE: &str = "a role's name is empty";
const BAD_SCOPE: &str = "no scope token, or one that holds a character outside RFC 6749 §3.3";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::Rule;
    use crate::{
        error::ConfigError, head::RequestHead, principal::Principal, role_guard::RoleHierarchy,
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
        let faulty = || Rule::scope([""]);
        for rule in [
            faulty(),
            !faulty(),
            faulty().or(Rule::authenticated()),
            Rule::authenticated().or(!faulty()),
            !Rule::authenticated().and(faulty()),
            Rule::scope(["a", "b\n"]),
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
            rule.apply(&hierarchy);
            let actual =
                ["admin", "editor", "viewer", "stranger"].map(|role| admits(&rule, &[role]));
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
        rule.apply(&of("admin"));
        assert!(admits(&rule, &["admin"]));
        rule.apply(&of("editor"));
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
}
