//! The conditions that a guard sets for a caller.

use std::{collections::BTreeMap, ops::Not};

use super::{
    action::Action,
    condition::{Check, Condition, Hierarchy, Name},
    fault::Fault,
    hierarchy::{RoleHierarchy, ScopeHierarchy},
};
use crate::{
    error::{AuthError, ConfigError},
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind, Scope},
};

/// A condition on a caller, and optionally on the request.
///
/// Rules are combined with [`and`](Self::and) and [`or`](Self::or) and inverted with `!`. Names are
/// compared as a whole, byte for byte. A scope never counts as the role of the same name, nor a role as
/// a scope. A rule is evaluated only for a [`Principal`]: the guard refuses anonymous requests under
/// every rule, including `!rule`.
///
/// A constructor that takes an array of roles rejects an empty one at compile time. A `try_` variant is
/// for names known only at run time. A name that no credential can hold (an empty name, or a scope outside
/// RFC 6749 §3.3) is a configuration error. A constructor that returns no `Result` cannot report it, so
/// that a guard with such a rule answers every request with 500.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{principal::PrincipalKind, layer::role_guard::Rule};
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
    fault: Option<Fault>,
}

impl Rule {
    /// Creates a rule that accepts any signed-in caller, including a guest.
    pub fn authenticated() -> Self {
        Self::of(Condition::And(Vec::new()))
    }

    /// Creates a rule for callers who hold at least one of these roles.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::any_of(["admin", "ops"]);
    /// # let _ = rule;
    /// ```
    ///
    /// An empty list is an error at compile time:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::any_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn any_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "any_of needs at least one role") };
        Self::of_roles(roles, Condition::AnyOf)
    }

    /// Creates a rule for callers who hold every one of these roles.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::all_of(["trader", "certified"]);
    /// # let _ = rule;
    /// ```
    ///
    /// An empty list would accept every caller, and is an error at compile time:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::all_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn all_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "all_of needs at least one role") };
        Self::of_roles(roles, Condition::AllOf)
    }

    /// Creates a rule for callers who hold none of these roles. A caller with roles that could not be
    /// read is refused ([`Principal::has_unreadable_roles`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::none_of(["suspended"]);
    /// # let _ = rule;
    /// ```
    ///
    /// An empty list would accept every caller, and is an error at compile time:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::none_of::<&str, 0>([]);
    /// # let _ = rule;
    /// ```
    pub fn none_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        const { assert!(N > 0, "none_of needs at least one role") };
        !Self::of_roles(roles, Condition::AnyOf)
    }

    /// Creates a rule for callers whose credential grants every one of these scope tokens, which are
    /// separated by spaces (RFC 6749 §3.3).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::scope("orders:read orders:write");
    /// # let _ = rule;
    /// ```
    pub fn scope(scope: &str) -> Self {
        let (tokens, fault) = match scope.parse::<Scope>() {
            Ok(scope) if !scope.is_empty() => (scope.iter().map(Name::new).collect(), None),
            _ => (Vec::new(), Some(Fault::Broken(BAD_SCOPE))),
        };
        Self {
            condition: Condition::Scope(tokens),
            fault,
        }
    }

    /// Creates the rule of [`any_of`](Self::any_of) for roles known only at run time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the list is empty or a role's name is empty.
    pub fn try_any_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("any_of", roles, Condition::AnyOf)
    }

    /// Creates the rule of [`all_of`](Self::all_of) for roles known only at run time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the list is empty or a role's name is empty.
    pub fn try_all_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("all_of", roles, Condition::AllOf)
    }

    /// Creates the rule of [`none_of`](Self::none_of) for roles known only at run time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the list is empty or a role's name is empty.
    pub fn try_none_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_some_roles("none_of", roles, Condition::AnyOf).map(Not::not)
    }

    /// Creates the rule of [`scope`](Self::scope) for scope tokens known only at run time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there is no token, or a token is outside RFC 6749 §3.3.
    pub fn try_scope(scope: &str) -> Result<Self, ConfigError> {
        Self::scope(scope).sound("scope")
    }

    /// Creates a rule for callers of this kind.
    pub fn kind(kind: PrincipalKind) -> Self {
        Self::of(Condition::Kind(kind))
    }

    /// Creates a rule from a predicate on the caller and the request, such as an own-resource check.
    ///
    /// An own-resource check compares decoded [path segments](RequestHead::path_segments), as routers
    /// do. [`Rule`] has an example.
    ///
    /// The predicate sees the credential's roles and scopes without a hierarchy:
    /// [`Principal::has_role`] and [`Principal::has_scope`] apply none. For a refused request the predicate may be called twice, so it must not count
    /// or change anything.
    pub fn check<F>(predicate: F) -> Self
    where
        F: Fn(&Principal, RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self::of(Condition::Check(Check::new(predicate)))
    }

    /// Creates a rule that has a rule for each path, and refuses every other path. It is for gRPC, whose
    /// paths are `/package.Service/Method`.
    ///
    /// The path of the request is compared byte for byte. A gRPC server does not decode paths, so that
    /// another spelling of a method is another path, and is refused.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there is no rule, a path has two rules, or a path does not have the
    /// form `/package.Service/Method`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::{RoleGuardLayer, Rule};
    ///
    /// let guard = RoleGuardLayer::new(Rule::grpc([
    ///     ("/shop.v1.Orders/List", Rule::scope("orders:read")),
    ///     ("/shop.v1.Orders/Cancel", Rule::any_of(["admin"])),
    /// ])?);
    /// # let _ = guard;
    /// # Ok::<(), tower_jwt_auth::ConfigError>(())
    /// ```
    pub fn grpc<P: AsRef<str>>(
        methods: impl IntoIterator<Item = (P, Self)>,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: String| Err(ConfigError::invalid("grpc", problem));
        let (mut rules, mut fault) = (BTreeMap::new(), None::<Fault>);
        for (path, rule) in methods {
            let path = path.as_ref();
            if !is_method(path) {
                return refuse(format!(
                    "{path:?} is not of the form /package.Service/Method"
                ));
            }
            fault = Fault::of_either(fault, rule.fault);
            if rules.insert(path.into(), rule.condition).is_some() {
                return refuse(format!("two rules for {path}"));
            }
        }
        if rules.is_empty() {
            return refuse("no rule would refuse every call".to_owned());
        }
        Ok(Self {
            condition: Condition::Paths(rules),
            fault,
        })
    }

    /// Sets the action that the policy engine of the guard decides about
    /// ([`RoleGuardLayer::policy`](super::RoleGuardLayer::policy)).
    ///
    /// The action is no condition. The policy engine is called last, for a caller who satisfies the
    /// rest of the rule.
    ///
    /// A guard without a policy engine answers every request with 500 if its rule has an action. The
    /// same applies to [`ChatLayer::manage`](crate::layer::socket::ChatLayer::manage), to a rule with
    /// two actions, and to an action in an alternative ([`or`](Self::or)) or under `!`. Alternatives to
    /// a policy belong in the policy. In [`grpc`](Self::grpc), each path may have an action.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::{Action, Rule};
    ///
    /// let list = Rule::scope("documents:read").action("list");
    /// let purge = Rule::any_of(["admin"]).action(Action::new("purge").resource("document"));
    /// # let _ = (list, purge);
    /// ```
    pub fn action(self, action: impl Into<Action>) -> Self {
        self.and(Self {
            condition: Condition::Action(action.into()),
            fault: Some(Fault::Undecided),
        })
    }

    /// Sets the name by which refusals call the rule in the log and in
    /// [`AuthError::missing`](crate::AuthError::missing). Without a name they list its parts, and a
    /// [`check`](Self::check) is only "a custom condition". No response contains the name; the OpenAPI
    /// [extension](Self::openapi_extension) contains the name of a `check`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let own = Rule::check(|caller, head| head.uri().path().ends_with(caller.subject().unwrap_or("/")));
    /// let rule = own.named("own profile");
    /// # let _ = rule;
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            condition: Condition::Named(name.into().into(), Box::new(self.condition)),
            fault: self.fault,
        }
    }

    /// Combines two rules: both must hold.
    pub fn and(self, other: Self) -> Self {
        Self {
            condition: self.condition.and(other.condition),
            fault: Fault::of_both(self.fault, other.fault),
        }
    }

    /// Combines two rules: at least one must hold.
    pub fn or(self, other: Self) -> Self {
        Self {
            condition: self.condition.or(other.condition),
            fault: Fault::of_both(
                self.fault.map(Fault::in_alternative),
                other.fault.map(Fault::in_alternative),
            ),
        }
    }

    /// Returns the configuration error in this rule, if it has one. An action is an error here.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault.map(Fault::text)
    }

    /// As [`fault`](Self::fault), for a guard with a policy engine, which decides about the action.
    pub(super) fn fault_if_decided(&self) -> Option<&'static str> {
        let fault = self.fault.filter(|fault| !fault.is_undecided());
        fault.map(Fault::text)
    }

    /// Returns `true` if the caller satisfies the rule. A rule with an action is never satisfied here.
    /// Allocates nothing.
    pub(crate) fn admits(&self, caller: &Principal, head: RequestHead<'_>) -> bool {
        self.fault.is_none() && self.condition.holds(caller, head)
    }

    /// As [`admits`](Self::admits), for a guard with a policy engine, which decides about the action.
    pub(super) fn admits_if_decided(&self, caller: &Principal, head: RequestHead<'_>) -> bool {
        self.fault_if_decided().is_none() && self.condition.holds(caller, head)
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Returns the action of a request, if the rule has one for it.
    pub(super) fn action_of(&self, head: RequestHead<'_>) -> Option<&Action> {
        self.condition.action(head)
    }

    /// Returns the refusal for a caller who does not satisfy the rule.
    pub(crate) fn refusal(&self, caller: &Principal, head: RequestHead<'_>) -> AuthError {
        self.condition.refusal(caller, head)
    }

    /// Applies a hierarchy: each role that the rule names is also satisfied by the roles that imply it.
    /// Replaces an earlier role hierarchy.
    pub(crate) fn apply_roles(&mut self, hierarchy: &RoleHierarchy) {
        self.condition.apply(Hierarchy::Roles(hierarchy));
    }

    /// Applies a hierarchy: each scope token that the rule names is also satisfied by the tokens that
    /// imply it. Replaces an earlier scope hierarchy.
    pub(crate) fn apply_scopes(&mut self, hierarchy: &ScopeHierarchy) {
        self.condition.apply(Hierarchy::Scopes(hierarchy));
    }

    fn of(condition: Condition) -> Self {
        Self {
            condition,
            fault: None,
        }
    }

    /// Creates a rule that has this configuration error, if there is one.
    pub(super) fn of_checked(condition: Condition, fault: Option<&'static str>) -> Self {
        let fault = fault.map(Fault::Broken);
        Self { condition, fault }
    }

    fn of_roles<I>(roles: I, condition: fn(Vec<Name>) -> Condition) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let roles: Vec<Name> = roles
            .into_iter()
            .map(|role| Name::new(role.as_ref()))
            .collect();
        let fault = if roles.is_empty() {
            Some(Fault::Broken(NO_ROLE))
        } else {
            let nameless = roles.iter().any(Name::is_empty);
            nameless.then_some(Fault::Broken(EMPTY_ROLE))
        };
        Self {
            condition: condition(roles),
            fault,
        }
    }

    fn of_some_roles<I>(
        name: &'static str,
        roles: I,
        condition: fn(Vec<Name>) -> Condition,
    ) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_roles(roles, condition).sound(name)
    }

    pub(super) fn sound(self, name: &'static str) -> Result<Self, ConfigError> {
        match self.fault() {
            Some(fault) => Err(ConfigError::invalid(name, fault)),
            None => Ok(self),
        }
    }
}

impl Not for Rule {
    type Output = Self;

    /// Returns a rule that accepts signed-in callers whom this rule refuses.
    ///
    /// The inverted rule refuses a caller whose roles could not be read
    /// ([`Principal::has_unreadable_roles`]). If the rule tests scopes or is a [`check`](Rule::check),
    /// it also refuses a caller whose scope could not be read.
    fn not(self) -> Self {
        Self {
            condition: self.condition.inverted(),
            fault: self.fault.map(Fault::in_alternative),
        }
    }
}

/// Returns `true` for the path of a gRPC method: `"/" Service-Name "/" {method name}`.
fn is_method(path: &str) -> bool {
    let name = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
        !part.is_empty() && part.bytes().all(plain)
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts.is_some_and(|(service, method)| name(service) && name(method))
}

const NO_ROLE: &str = "the list of roles is empty";
const EMPTY_ROLE: &str = "a role's name is empty";
const BAD_SCOPE: &str = "no scope token, or one that holds a character outside RFC 6749 §3.3";

#[cfg(test)]
mod tests;
