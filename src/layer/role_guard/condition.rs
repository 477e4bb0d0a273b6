//! The expression tree of a rule, and its evaluation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

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
    /// A rule for each path. A path without a rule is refused.
    Paths(BTreeMap<Box<str>, Self>),
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
            Self::AnyOf(roles) => roles.iter().any(|role| role.is_held_by(caller)),
            Self::AllOf(roles) => roles.iter().all(|role| role.is_held_by(caller)),
            Self::Scope(tokens) => tokens.iter().all(|token| caller.has_scope(token)),
            Self::Kind(kind) => caller.kind() == *kind,
            Self::Check(check) => (check.0)(caller, head),
            Self::Paths(rules) => {
                let rule = rules.get(head.uri().path());
                rule.is_some_and(|rule| rule.holds(caller, head))
            }
            Self::Named(_, inner) => inner.holds(caller, head),
            Self::Not(inner) => inner.is_decidable(caller) && !inner.holds(caller, head),
            Self::And(parts) => parts.iter().all(|part| part.holds(caller, head)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(caller, head)),
        }
    }

    /// Returns `false` if the caller may hold what the condition tests in a form that could not be
    /// read. An inverted condition must not hold then.
    pub(super) fn is_decidable(&self, caller: &Principal) -> bool {
        let unknown =
            caller.has_unreadable_roles() || (caller.has_unreadable_scope() && self.reads_scope());
        !unknown
    }

    fn reads_scope(&self) -> bool {
        match self {
            Self::Scope(_) | Self::Check(_) => true,
            Self::AnyOf(_) | Self::AllOf(_) | Self::Kind(_) => false,
            Self::Paths(rules) => rules.values().any(Self::reads_scope),
            Self::Named(_, inner) | Self::Not(inner) => inner.reads_scope(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::reads_scope),
        }
    }

    pub(super) fn apply(&mut self, hierarchy: &RoleHierarchy) {
        match self {
            Self::AnyOf(roles) | Self::AllOf(roles) => {
                roles.iter_mut().for_each(|role| role.apply(hierarchy));
            }
            Self::Paths(rules) => {
                rules.values_mut().for_each(|rule| rule.apply(hierarchy));
            }
            Self::Named(_, inner) | Self::Not(inner) => inner.apply(hierarchy),
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

    pub(super) fn name(&self) -> &str {
        &self.name
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
mod tests;
