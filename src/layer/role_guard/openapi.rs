//! The description of a rule for OpenAPI.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    RoleGuardLayer, Rule,
    action::Action,
    condition::{Condition, Name},
};
use crate::layer::openapi::SecuritySchemes;

impl<D> RoleGuardLayer<D> {
    /// Returns the rule, to describe a route by the guard that protects it: see
    /// [`Rule::openapi_security`].
    pub fn rule(&self) -> &Rule {
        &self.config.rule
    }
}

impl Rule {
    /// Returns the `security` of an OpenAPI operation that this rule guards: a list of alternatives,
    /// each with a scheme of the layer and the scopes that the rule requires.
    ///
    /// | part of the rule | in the list |
    /// |---|---|
    /// | [`scope`](Self::scope) | the scopes, also for `http` and `apiKey` schemes, as OpenAPI 3.1 allows |
    /// | [`and`](Self::and) | the scopes of both rules |
    /// | [`or`](Self::or) | an alternative for each rule |
    /// | anything else | nothing: it is in the [extension](Self::openapi_extension) |
    ///
    /// A request that satisfies the rule satisfies one of the alternatives. The reverse is not true
    /// for a rule with roles, conditions or a policy. An alternative that requires more than another
    /// one is left out: for an administrator *or* the scope `write`, no scope is required. Of a rule with
    /// more than 64 alternatives, some scopes are left out.
    ///
    /// A [`ScopeHierarchy`](super::ScopeHierarchy) changes nothing here, as in challenges. For a rule
    /// [by gRPC method](Self::grpc) the list has no scopes. Describe stacked guards by one rule, with
    /// `and`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use serde_json::json;
    /// use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::role_guard::Rule};
    ///
    /// let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
    /// let schemes = JwtAuthLayer::new(verifier).openapi()?;
    ///
    /// let rule = Rule::scope("orders:read orders:write").or(Rule::scope("orders"));
    /// assert_eq!(
    ///     rule.openapi_security(&schemes),
    ///     json!([{ "bearer": ["orders:read", "orders:write"] }, { "bearer": ["orders"] }]),
    /// );
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn openapi_security(&self, schemes: &SecuritySchemes) -> Value {
        let mut alternatives = self.condition().scopes(true);
        if alternatives.is_empty() {
            // No caller satisfies the rule. An empty list would describe an open route.
            alternatives.push(BTreeSet::new());
        }
        let alternatives = alternatives.into_iter();
        Value::Array(schemes.requiring(alternatives.map(|scopes| scopes.into_iter().collect())))
    }

    /// Returns the whole rule as JSON, for an extension of an OpenAPI operation such as
    /// `x-authorization`. Two different rules have different descriptions, except for the functions
    /// of custom conditions.
    ///
    /// | part of the rule | description |
    /// |---|---|
    /// | [`authenticated`](Self::authenticated) | `{"authenticated": true}` |
    /// | [`scope`](Self::scope) | `{"scopes": ["a", "b"]}`: all of them |
    /// | [`any_of`](Self::any_of), [`all_of`](Self::all_of) | `{"anyRole": ["a"]}`, `{"allRoles": ["a"]}` |
    /// | [`kind`](Self::kind) | `{"kind": "user"}` |
    /// | [`acr`](Self::acr), [`max_auth_age`](Self::max_auth_age) | `{"acrValues": ["gold"]}`, `{"maxAge": 300}` |
    /// | [`check`](Self::check) | `{"custom": true}`, or `{"custom": "name"}` for a [named](Self::named) one |
    /// | [`action`](Self::action) | `{"policy": {"action": "edit", "resource": "document"}}` |
    /// | [`grpc`](Self::grpc) | `{"paths": {"/pkg.Service/Method": …}}` |
    /// | [`and`](Self::and), [`or`](Self::or), `!` | `{"allOf": […]}`, `{"anyOf": […]}`, `{"not": …}` |
    ///
    /// The names of roles and custom conditions are in no response. Publish the extension only if
    /// readers of the document may know them.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// let rule = Rule::any_of(["editor"]).and(Rule::scope("docs:write"));
    /// assert_eq!(
    ///     rule.openapi_extension(),
    ///     json!({ "allOf": [{ "anyRole": ["editor"] }, { "scopes": ["docs:write"] }] }),
    /// );
    /// ```
    #[must_use]
    pub fn openapi_extension(&self) -> Value {
        self.condition().described()
    }
}

type Scopes<'a> = BTreeSet<&'a str>;

impl Condition {
    /// Returns the sets of scopes of which a caller needs one for the condition to have the `wanted`
    /// result. The list is empty if the condition never has this result.
    fn scopes(&self, wanted: bool) -> Vec<Scopes<'_>> {
        match self {
            Self::Scope(tokens) if wanted => vec![tokens.iter().map(Name::text).collect()],
            Self::Not(inner) => inner.scopes(!wanted),
            Self::Named(_, inner) => inner.scopes(wanted),
            Self::And(parts) if wanted => all(parts.iter().map(|part| part.scopes(wanted))),
            Self::Or(parts) if !wanted => all(parts.iter().map(|part| part.scopes(wanted))),
            Self::And(parts) | Self::Or(parts) => {
                fewest(parts.iter().flat_map(|part| part.scopes(wanted)))
            }
            Self::Scope(_)
            | Self::AnyOf(_)
            | Self::AllOf(_)
            | Self::Kind(_)
            | Self::Check(_)
            | Self::SignIn(_)
            | Self::Action(_)
            | Self::Paths(_) => vec![Scopes::new()],
        }
    }

    fn described(&self) -> Value {
        match self {
            Self::AnyOf(roles) => json!({ "anyRole": names(roles) }),
            Self::AllOf(roles) => json!({ "allRoles": names(roles) }),
            Self::Scope(tokens) => json!({ "scopes": names(tokens) }),
            Self::Kind(kind) => json!({ "kind": kind.as_str() }),
            Self::Check(_) => json!({ "custom": true }),
            Self::SignIn(sign_in) => sign_in.described(),
            Self::Action(action) => json!({ "policy": policy(action) }),
            Self::Paths(rules) => {
                let rules = rules.iter();
                let rules = rules.map(|(path, rule)| (path.to_string(), rule.described()));
                json!({ "paths": rules.collect::<Map<_, _>>() })
            }
            Self::Named(name, inner) if matches!(**inner, Self::Check(_)) => {
                json!({ "custom": name })
            }
            Self::Named(_, inner) => inner.described(),
            Self::Not(inner) => json!({ "not": inner.described() }),
            Self::And(parts) => match parts.as_slice() {
                [] => json!({ "authenticated": true }),
                [part] => part.described(),
                parts => json!({ "allOf": described(parts) }),
            },
            Self::Or(parts) => json!({ "anyOf": described(parts) }),
        }
    }
}

/// Returns the combinations of one alternative of each part.
fn all<'a>(parts: impl Iterator<Item = Vec<Scopes<'a>>>) -> Vec<Scopes<'a>> {
    let mut combined = vec![Scopes::new()];
    for part in parts {
        let pairs = combined
            .iter()
            .flat_map(|one| part.iter().map(move |two| one | two));
        combined = fewest(pairs);
    }
    combined
}

/// Returns the alternatives without those that require more than another one.
fn fewest<'a>(alternatives: impl Iterator<Item = Scopes<'a>>) -> Vec<Scopes<'a>> {
    let mut kept: Vec<Scopes<'a>> = Vec::new();
    for one in alternatives {
        if kept.iter().any(|other| other.is_subset(&one)) {
            continue;
        }
        kept.retain(|other| !one.is_subset(other));
        kept.push(one);
        if kept.len() > MOST_ALTERNATIVES {
            return vec![Scopes::new()];
        }
    }
    kept
}

fn names(names: &[Name]) -> Vec<&str> {
    let mut names: Vec<_> = names.iter().map(Name::text).collect();
    names.sort_unstable();
    names
}

fn described(parts: &[Condition]) -> Vec<Value> {
    parts.iter().map(Condition::described).collect()
}

fn policy(action: &Action) -> Value {
    match action.kind() {
        Some(kind) => json!({ "action": action.name(), "resource": kind }),
        None => json!({ "action": action.name() }),
    }
}

const MOST_ALTERNATIVES: usize = 64;

#[cfg(test)]
mod tests;
