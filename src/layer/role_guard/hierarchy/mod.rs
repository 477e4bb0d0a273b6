//! Roles that imply other roles, and scopes that imply other scopes.

mod closure;
#[cfg(test)]
mod tests;

use std::fmt;

use self::closure::{Closure, Cycle, Implications};
use crate::{error::ConfigError, principal::Scope};

/// A hierarchy of roles: an `admin` is an `editor`, an `editor` is a `viewer`.
///
/// Implication is transitive. It applies to every role that a guard's rule names: a rule that refuses
/// viewers refuses an `admin` too. The roles of the [`Principal`] do not change.
///
/// [`Principal`]: crate::principal::Principal
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::role_guard::RoleHierarchy;
///
/// let hierarchy = RoleHierarchy::builder()
///     .implies("admin", ["editor", "auditor"])
///     .implies("editor", ["viewer"])
///     .build()?;
/// assert!(hierarchy.implies("admin", "viewer"));
/// assert!(!hierarchy.implies("viewer", "admin"));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct RoleHierarchy {
    closure: Closure,
}

impl RoleHierarchy {
    /// Creates a builder for a hierarchy, at first without any implication.
    pub fn builder() -> RoleHierarchyBuilder {
        RoleHierarchyBuilder::default()
    }

    /// Returns `true` if `role` implies `other`, directly or through other roles.
    ///
    /// Every role implies itself.
    #[must_use]
    pub fn implies(&self, role: &str, other: &str) -> bool {
        self.closure.implies(role, other)
    }

    /// Returns the other roles that imply `role`, sorted.
    pub(super) fn granting<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a str> {
        self.closure.granting(role)
    }
}

impl fmt::Debug for RoleHierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.closure.fmt(f)
    }
}

/// A builder for a [`RoleHierarchy`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before `build` is called"]
pub struct RoleHierarchyBuilder {
    implications: Implications,
}

impl RoleHierarchyBuilder {
    /// Makes `role` imply `others`. May be called repeatedly: the implications are added.
    pub fn implies<I>(mut self, role: &str, others: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.implications.add(role, others);
        self
    }

    /// Builds the hierarchy and computes its transitive closure.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::RoleCycle`] if a role implies itself. The error names the cycle (`a > b > a`).
    /// - [`ConfigError::Invalid`] if a role's name is empty.
    pub fn build(self) -> Result<RoleHierarchy, ConfigError> {
        if self.implications.names().any(str::is_empty) {
            return Err(ConfigError::invalid("hierarchy", "a role's name is empty"));
        }
        match self.implications.close() {
            Ok(closure) => Ok(RoleHierarchy { closure }),
            Err(Cycle(cycle)) => Err(ConfigError::RoleCycle(cycle)),
        }
    }
}

/// A hierarchy of scopes: a token with `files` may do what `files:read` allows.
///
/// Implication is transitive. It applies to every scope that a guard's rule names: a rule that refuses
/// `files:read` refuses `files` too. The scopes of the [`Principal`] do not change, and a refusal names
/// the scope of the rule, not a broader one: a client must be able to ask for the least that it needs.
///
/// [`Principal`]: crate::principal::Principal
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::role_guard::{RoleGuardLayer, ScopeHierarchy};
///
/// let hierarchy = ScopeHierarchy::builder()
///     .implies("files", ["files:write"])
///     .implies("files:write", ["files:read"])
///     .build()?;
/// assert!(hierarchy.implies("files", "files:read"));
/// assert!(!hierarchy.implies("files:read", "files"));
///
/// let guard = RoleGuardLayer::scope("files:read").scope_hierarchy(hierarchy);
/// # let _ = guard;
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct ScopeHierarchy {
    closure: Closure,
}

impl ScopeHierarchy {
    /// Creates a builder for a hierarchy, at first without any implication.
    pub fn builder() -> ScopeHierarchyBuilder {
        ScopeHierarchyBuilder::default()
    }

    /// Returns `true` if the scope token `scope` implies `other`, directly or through other tokens.
    ///
    /// Every token implies itself.
    #[must_use]
    pub fn implies(&self, scope: &str, other: &str) -> bool {
        self.closure.implies(scope, other)
    }

    /// Returns the other scope tokens that imply `scope`, sorted.
    pub(super) fn granting<'a>(&'a self, scope: &'a str) -> impl Iterator<Item = &'a str> {
        self.closure.granting(scope)
    }
}

impl fmt::Debug for ScopeHierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.closure.fmt(f)
    }
}

/// A builder for a [`ScopeHierarchy`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before `build` is called"]
pub struct ScopeHierarchyBuilder {
    implications: Implications,
}

impl ScopeHierarchyBuilder {
    /// Makes the scope token `scope` imply `others`. May be called repeatedly: the implications are
    /// added.
    pub fn implies<I>(mut self, scope: &str, others: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.implications.add(scope, others);
        self
    }

    /// Builds the hierarchy and computes its transitive closure.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::ScopeCycle`] if a scope token implies itself. The error names the cycle
    ///   (`a > b > a`).
    /// - [`ConfigError::Invalid`] if a name is not exactly one scope token (RFC 6749 §3.3).
    pub fn build(self) -> Result<ScopeHierarchy, ConfigError> {
        if !self.implications.names().all(is_scope_token) {
            let problem = "a name is not a scope token (RFC 6749 §3.3)";
            return Err(ConfigError::invalid("scope_hierarchy", problem));
        }
        match self.implications.close() {
            Ok(closure) => Ok(ScopeHierarchy { closure }),
            Err(Cycle(cycle)) => Err(ConfigError::ScopeCycle(cycle)),
        }
    }
}

/// Returns `true` for exactly one scope token.
fn is_scope_token(name: &str) -> bool {
    let scope = name.parse::<Scope>();
    scope.is_ok_and(|scope| scope.iter().eq([name]))
}
