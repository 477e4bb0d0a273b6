//! The expression tree of a rule, and its evaluation.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    action::Action,
    hierarchy::{RoleHierarchy, ScopeHierarchy},
    step_up::SignIn,
};
use crate::{
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind},
};

#[derive(Clone, Debug)]
pub(super) enum Condition {
    AnyOf(Vec<Name>),
    AllOf(Vec<Name>),
    /// Scope tokens, each of them once.
    Scope(Vec<Name>),
    Kind(PrincipalKind),
    Check(Check),
    SignIn(SignIn),
    /// A rule for each path. A path without a rule is refused.
    Paths(BTreeMap<Box<str>, Self>),
    /// The action that a policy engine decides about. The condition itself always holds.
    Action(Action),
    /// A condition that a refusal calls by this name.
    Named(Box<str>, Box<Self>),
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
            Self::AnyOf(roles) => roles.iter().any(|role| role.is_role_of(caller)),
            Self::AllOf(roles) => roles.iter().all(|role| role.is_role_of(caller)),
            Self::Scope(tokens) => tokens.iter().all(|token| token.is_scope_of(caller)),
            Self::Kind(kind) => caller.kind() == *kind,
            Self::Check(check) => (check.0)(caller, head),
            Self::SignIn(sign_in) => sign_in.holds(caller),
            Self::Paths(rules) => {
                let rule = rules.get(head.uri().path());
                rule.is_some_and(|rule| rule.holds(caller, head))
            }
            Self::Action(_) => true,
            Self::Named(_, inner) => inner.holds(caller, head),
            Self::Not(inner) => inner.is_decidable(caller) && !inner.holds(caller, head),
            Self::And(parts) => parts.iter().all(|part| part.holds(caller, head)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(caller, head)),
        }
    }

    /// Returns `false` if the caller may hold what the condition tests in a form that could not be
    /// read, or if nothing is known about the sign-in. An inverted condition must not hold then.
    pub(super) fn is_decidable(&self, caller: &Principal) -> bool {
        let unknown =
            caller.has_unreadable_roles() || (caller.has_unreadable_scope() && self.reads_scope());
        !unknown && !self.lacks_sign_in(caller)
    }

    fn reads_scope(&self) -> bool {
        match self {
            Self::Scope(_) | Self::Check(_) => true,
            Self::AnyOf(_) | Self::AllOf(_) | Self::Kind(_) | Self::SignIn(_) | Self::Action(_) => {
                false
            }
            Self::Paths(rules) => rules.values().any(Self::reads_scope),
            Self::Named(_, inner) | Self::Not(inner) => inner.reads_scope(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::reads_scope),
        }
    }

    pub(super) fn apply(&mut self, hierarchy: Hierarchy<'_>) {
        match (self, hierarchy) {
            (Self::AnyOf(roles) | Self::AllOf(roles), Hierarchy::Roles(hierarchy)) => {
                for role in roles {
                    role.grant(|name| hierarchy.granting(name).map(Into::into).collect());
                }
            }
            (Self::Scope(tokens), Hierarchy::Scopes(hierarchy)) => {
                for token in tokens {
                    token.grant(|name| hierarchy.granting(name).map(Into::into).collect());
                }
            }
            (Self::Paths(rules), _) => {
                rules.values_mut().for_each(|rule| rule.apply(hierarchy));
            }
            (Self::Named(_, inner) | Self::Not(inner), _) => inner.apply(hierarchy),
            (Self::And(parts) | Self::Or(parts), _) => {
                parts.iter_mut().for_each(|part| part.apply(hierarchy));
            }
            (Self::AnyOf(_) | Self::AllOf(_) | Self::Scope(_), _)
            | (Self::Kind(_) | Self::Check(_) | Self::SignIn(_) | Self::Action(_), _) => {}
        }
    }

    /// Returns the action for a request. No alternative and no inverted condition has one.
    pub(super) fn action(&self, head: RequestHead<'_>) -> Option<&Action> {
        match self {
            Self::Action(action) => Some(action),
            Self::Paths(rules) => rules.get(head.uri().path())?.action(head),
            Self::Named(_, inner) => inner.action(head),
            Self::And(parts) => parts.iter().find_map(|part| part.action(head)),
            _ => None,
        }
    }
}

/// A hierarchy that a guard applies to its rule.
#[derive(Clone, Copy)]
pub(super) enum Hierarchy<'a> {
    Roles(&'a RoleHierarchy),
    Scopes(&'a ScopeHierarchy),
}

/// Adds a part to a conjunction. Scopes are merged into one set, so that a refusal for one of them
/// names all that are required together.
fn conjoin(parts: &mut Vec<Condition>, part: Condition) {
    let Condition::Scope(mut more) = part else {
        parts.push(part);
        return;
    };
    for held in parts.iter_mut() {
        if let Condition::Scope(tokens) = held {
            more.retain(|token| tokens.iter().all(|held| held.text() != token.text()));
            tokens.append(&mut more);
            return;
        }
    }
    parts.push(Condition::Scope(more));
}

/// A role or a scope token that a rule names, and the names that imply it.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: Box<str>,
    // Sorted: a token may carry hundreds of roles, and each is looked up here.
    granted_by: Vec<Box<str>>,
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            granted_by: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn is_role_of(&self, caller: &Principal) -> bool {
        caller.has_role(&self.text) || self.is_granted(|| caller.roles())
    }

    fn is_scope_of(&self, caller: &Principal) -> bool {
        caller.has_scope(&self.text) || self.is_granted(|| caller.scope())
    }

    fn is_granted<'a, I: Iterator<Item = &'a str>>(&self, held: impl FnOnce() -> I) -> bool {
        let grants = |held: &str| self.granted_by.binary_search_by(|name| (**name).cmp(held));
        !self.granted_by.is_empty() && held().any(|held| grants(held).is_ok())
    }

    fn grant(&mut self, by: impl FnOnce(&str) -> Vec<Box<str>>) {
        self.granted_by = by(&self.text);
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
mod tests;
