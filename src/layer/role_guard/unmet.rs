//! The parts of a rule that a caller does not meet, for the refusal and for the log.

use super::{
    condition::{Condition, Name},
    step_up::SignIn,
};
use crate::{
    error::{AuthError, Reason},
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind},
};

/// The parts of a rule whose result would have to change.
#[derive(Default)]
struct Unmet<'a> {
    /// Scope tokens that a new token would need.
    scope: Vec<&'a str>,
    parts: Vec<Part<'a>>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    AnyOf(&'a [Name]),
    AllOf(&'a [Name]),
    /// Roles that the caller must not hold.
    Without(&'a [Name]),
    Kind(PrincipalKind),
    OtherKind(PrincipalKind),
    SignIn(&'a SignIn),
    /// A scope that the caller must not hold, a custom condition, or roles that could not be read.
    Other(&'static str),
    Named(&'a str),
}

impl Condition {
    /// Returns the refusal for a caller who does not satisfy the condition.
    pub(super) fn refusal(&self, caller: &Principal, head: RequestHead<'_>) -> AuthError {
        if let Some(step_up) = self.step_up(caller, head) {
            return step_up;
        }
        let mut unmet = Unmet::default();
        self.explain(true, caller, head, &mut unmet);
        unmet.into_error()
    }

    /// Returns `true` if the condition holds. If the result is not the `wanted` one, the parts that
    /// would change it are added to `unmet`. A part with the wanted result adds nothing.
    fn explain<'a>(
        &'a self,
        wanted: bool,
        caller: &Principal,
        head: RequestHead<'_>,
        unmet: &mut Unmet<'a>,
    ) -> bool {
        let before = (unmet.scope.len(), unmet.parts.len());
        let holds = match self {
            Self::Not(inner) => {
                let fails = !inner.explain(!wanted, caller, head, unmet);
                if fails && !inner.is_decidable(caller) {
                    unmet.parts.push(Part::Other(READABLE));
                    false
                } else {
                    fails
                }
            }
            // Not short-circuited: one refusal names the parts of all conditions.
            Self::And(parts) => parts.iter().fold(true, |holds, part| {
                holds & part.explain(wanted, caller, head, unmet)
            }),
            Self::Or(parts) => parts.iter().fold(false, |holds, part| {
                holds | part.explain(wanted, caller, head, unmet)
            }),
            Self::Named(name, inner) => {
                let holds = inner.explain(wanted, caller, head, unmet);
                unmet.parts.truncate(before.1);
                unmet.parts.push(Part::Named(name));
                holds
            }
            Self::Paths(rules) => match rules.get(head.uri().path()) {
                Some(rule) => rule.explain(wanted, caller, head, unmet),
                None => {
                    unmet.parts.push(Part::Other(LISTED));
                    false
                }
            },
            Self::Scope(tokens) => {
                // Under `!`, the caller fails by holding the scope, so that no further scope would
                // help.
                match wanted {
                    true => unmet.scope.extend(tokens.iter().map(Name::text)),
                    false => unmet.parts.push(Part::Other(SCOPE)),
                }
                self.holds(caller, head)
            }
            Self::Action(_) => true,
            Self::AnyOf(_) | Self::AllOf(_) | Self::Kind(_) | Self::Check(_) | Self::SignIn(_) => {
                unmet.parts.push(self.as_part(wanted));
                self.holds(caller, head)
            }
        };
        if holds == wanted {
            unmet.scope.truncate(before.0);
            unmet.parts.truncate(before.1);
        }
        holds
    }

    fn as_part(&self, wanted: bool) -> Part<'_> {
        match self {
            Self::AnyOf(roles) if wanted => Part::AnyOf(roles),
            Self::AllOf(roles) if wanted => Part::AllOf(roles),
            Self::AnyOf(roles) | Self::AllOf(roles) => Part::Without(roles),
            Self::Kind(kind) if wanted => Part::Kind(*kind),
            Self::Kind(kind) => Part::OtherKind(*kind),
            Self::SignIn(sign_in) if wanted => Part::SignIn(sign_in),
            Self::SignIn(_) => Part::Other(OTHER_SIGN_IN),
            _ => Part::Other(CHECK),
        }
    }
}

impl Unmet<'_> {
    fn into_error(mut self) -> AuthError {
        if !self.scope.is_empty() {
            self.scope.sort_unstable();
            self.scope.dedup();
            return AuthError::missing_scope(self.scope.join(" "));
        }
        let is_role = |part: &Part<'_>| matches!(part, Part::AnyOf(_) | Part::AllOf(_));
        let is_kind = |part: &Part<'_>| matches!(part, Part::Kind(_) | Part::OtherKind(_));
        let reason = if self.parts.iter().any(is_role) {
            Reason::Role
        } else if self.parts.iter().any(is_kind) {
            Reason::Caller
        } else {
            Reason::Rule
        };
        let shown = self.parts.iter().take(LONGEST_LIST);
        let parts: Vec<_> = shown.copied().map(Part::text).collect();
        AuthError::forbidden(reason, parts.join("; "))
    }
}

impl Part<'_> {
    fn text(self) -> String {
        match self {
            Self::AnyOf(roles) | Self::AllOf(roles) if roles.len() == 1 => {
                format!("the role {}", names(roles))
            }
            Self::AnyOf(roles) => format!("one of the roles {}", names(roles)),
            Self::AllOf(roles) => format!("all of the roles {}", names(roles)),
            Self::Without(roles) if roles.len() == 1 => {
                format!("a caller without the role {}", names(roles))
            }
            Self::Without(roles) => format!("a caller without the roles {}", names(roles)),
            Self::Kind(kind) => format!("a caller of the kind `{}`", kind.as_str()),
            Self::OtherKind(kind) => format!("a caller of another kind than `{}`", kind.as_str()),
            Self::SignIn(sign_in) => sign_in.text(),
            Self::Other(text) => text.to_owned(),
            Self::Named(name) => format!("the rule `{}`", name.escape_debug()),
        }
    }
}

fn names(roles: &[Name]) -> String {
    let shown = roles.iter().take(LONGEST_LIST);
    let mut names: Vec<_> = shown
        .map(|role| format!("`{}`", role.text().escape_debug()))
        .collect();
    if roles.len() > LONGEST_LIST {
        names.push("…".to_owned());
    }
    names.join(", ")
}

const LONGEST_LIST: usize = 8;
const READABLE: &str = "roles, a scope and a sign-in in a form that can be read";
const OTHER_SIGN_IN: &str = "a caller with another sign-in";
const LISTED: &str = "a rule for the path";
const SCOPE: &str = "a caller without a scope that excludes";
const CHECK: &str = "a custom condition";
