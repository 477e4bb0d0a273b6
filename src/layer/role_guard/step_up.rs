//! Rules on the sign-in of a caller, and the sign-in that a refused caller needs: [RFC 9470].
//!
//! [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    condition::{Condition, Name},
    rule::Rule,
};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError, StepUp},
    layer::{extract::RequestHead, response::is_scope_token},
    principal::Principal,
    time::{Clock, SystemClock, Timestamp},
};

impl Rule {
    /// Creates a rule for callers who signed in in one of these ways: the claim `acr` is one of these
    /// authentication context classes (OpenID Connect Core §2), in order of preference. They are compared
    /// as a whole, byte for byte.
    ///
    /// A caller who does not satisfy the rule is not refused for good. The response is 401
    /// `insufficient_user_authentication`, and its challenge contains the classes (`acr_values`), with
    /// which a client asks the user to sign in again ([RFC 9470]). The challenge names everything that a
    /// new token needs: the classes, the age of the sign-in ([`max_auth_age`](Self::max_auth_age)), and
    /// the scopes of the rule.
    ///
    /// | the rule is combined by | response to a caller whose sign-in does not suffice |
    /// |---|---|
    /// | [`and`](Self::and), and the other rule holds or lacks a scope | 401 with all that lacks |
    /// | `and`, and the other rule lacks a role or anything else that no sign-in changes | 403 |
    /// | [`or`](Self::or), and no alternative holds | 401 with the first alternative that a sign-in can satisfy |
    /// | `!` | 403: no sign-in removes a class |
    ///
    /// A token without the claim satisfies neither the rule nor `!rule`. An API key has no sign-in: it
    /// gets 403.
    ///
    /// [RFC 9470]: https://www.rfc-editor.org/rfc/rfc9470
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_jwt_auth::layer::role_guard::Rule;
    ///
    /// // A second factor, used within the last five minutes.
    /// let rule = Rule::acr(["urn:example:mfa"]).and(Rule::max_auth_age(Duration::from_secs(300)));
    /// # let _ = rule;
    /// ```
    pub fn acr<C: AsRef<str>, const N: usize>(classes: [C; N]) -> Self {
        const { assert!(N > 0, "acr needs at least one class") };
        Self::of_classes(classes)
    }

    /// Creates the rule of [`acr`](Self::acr) for classes known only at run time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the list is empty, or a class is empty or contains a space, a quote, a
    /// backslash or a character outside ASCII.
    pub fn try_acr<I>(classes: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::of_classes(classes).sound("acr")
    }

    /// Creates a rule for callers who signed in within this time: the claim `auth_time` (OpenID Connect
    /// Core §2), with a tolerance of 60 seconds for clocks that differ. A refreshed token keeps its time.
    ///
    /// A caller whose sign-in is older, or whose token does not contain the claim, gets 401
    /// `insufficient_user_authentication` with `max_age`: see [`acr`](Self::acr). A time in the future is
    /// 401 `invalid_token`.
    pub fn max_auth_age(age: Duration) -> Self {
        Self::of_checked(Condition::SignIn(SignIn::MaxAge(age)), None)
    }

    fn of_classes<I>(classes: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let classes = classes.into_iter().map(|class| class.as_ref().into());
        let classes: Vec<Box<str>> = classes.collect();
        // A challenge separates the classes by spaces (RFC 9470 §3).
        let sound = !classes.is_empty() && classes.iter().all(|class| is_scope_token(class));
        let fault = (!sound).then_some(BAD_CLASS);
        Self::of_checked(Condition::SignIn(SignIn::Class(classes)), fault)
    }
}

/// A requirement on the sign-in of a caller.
#[derive(Clone, Debug)]
pub(super) enum SignIn {
    /// One of these authentication context classes, in order of preference.
    Class(Vec<Box<str>>),
    MaxAge(Duration),
}

/// The age of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Unknown,
    Future,
    Old,
    Recent,
}

impl Age {
    fn of(auth_time: Option<Timestamp>, now: Timestamp, max: Duration) -> Self {
        match auth_time {
            None => Self::Unknown,
            Some(at) if at > now.plus(LEEWAY) => Self::Future,
            Some(at) if now.since(at) > max.saturating_add(LEEWAY) => Self::Old,
            Some(_) => Self::Recent,
        }
    }

    fn of_caller(caller: &Principal, max: Duration) -> Self {
        Self::of(caller.auth_time(), SystemClock::new().now(), max)
    }
}

impl SignIn {
    pub(super) fn holds(&self, caller: &Principal) -> bool {
        match self {
            Self::Class(classes) => caller
                .acr()
                .is_some_and(|class| classes.iter().any(|one| **one == *class)),
            Self::MaxAge(max) => Age::of_caller(caller, *max) == Age::Recent,
        }
    }

    /// Returns `false` if the caller's credential does not contain the claim in question.
    fn is_decidable(&self, caller: &Principal) -> bool {
        match self {
            Self::Class(_) => caller.acr().is_some(),
            Self::MaxAge(max) => {
                matches!(Age::of_caller(caller, *max), Age::Old | Age::Recent)
            }
        }
    }

    /// Describes the requirement for an API's documentation.
    pub(super) fn described(&self) -> Value {
        match self {
            Self::Class(classes) => json!({ "acrValues": classes }),
            Self::MaxAge(max) => json!({ "maxAge": max.as_secs() }),
        }
    }

    /// Describes the requirement for the log.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Class(classes) => of_class(classes.iter().map(AsRef::as_ref)),
            Self::MaxAge(max) => of_age(*max),
        }
    }
}

/// The needs that a token of a new sign-in must meet.
#[derive(Debug, Default)]
struct Needs<'a> {
    /// The acceptable classes, if there is a condition on the class.
    classes: Option<Vec<&'a str>>,
    /// `true` if the class of the caller is not among them.
    lacks_class: bool,
    max_age: Option<Duration>,
    /// `true` if the sign-in is in the future.
    is_future: bool,
    scope: Vec<&'a str>,
}

impl<'a> Needs<'a> {
    /// Returns the needs of both, or `None` if no class satisfies both.
    fn and(mut self, other: Self) -> Option<Self> {
        self.classes = match (self.classes, other.classes) {
            (Some(own), Some(other)) => {
                let both: Vec<_> = own.into_iter().filter(|one| other.contains(one)).collect();
                Some(both).filter(|both| !both.is_empty()).map(Some)?
            }
            (own, other) => own.or(other),
        };
        self.max_age = match (self.max_age, other.max_age) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        self.lacks_class |= other.lacks_class;
        self.is_future |= other.is_future;
        self.scope.extend(other.scope);
        Some(self)
    }

    fn is_sign_in(&self) -> bool {
        self.lacks_class || self.max_age.is_some()
    }

    fn into_error(mut self) -> AuthError {
        if self.is_future {
            let problem = "`auth_time` is in the future";
            return AuthError::caused_by(AuthErrorKind::NotYetValid, problem);
        }
        self.scope.sort_unstable();
        self.scope.dedup();
        let classes = self.classes.filter(|_| self.lacks_class);
        let mut texts = Vec::new();
        texts.extend(
            classes
                .iter()
                .map(|classes| of_class(classes.iter().copied())),
        );
        texts.extend(self.max_age.map(of_age));
        let scope = self.scope.join(" ");
        if !scope.is_empty() {
            texts.push(format!("the scope `{scope}`"));
        }
        let step_up = StepUp {
            acr_values: classes.map(|classes| classes.join(" ").into()),
            max_age: self.max_age,
            scope: (!scope.is_empty()).then(|| scope.into()),
        };
        AuthError::step_up(step_up, texts.join("; "))
    }
}

impl Condition {
    /// Returns the refusal for a caller whom a new sign-in would satisfy the condition, or `None` if
    /// something else is missing.
    pub(super) fn step_up(&self, caller: &Principal, head: RequestHead<'_>) -> Option<AuthError> {
        // An API key has no sign-in.
        let person = Some(caller).filter(|caller| !caller.is_by_key());
        let needs = self.needs(true, person?, head);
        needs.filter(Needs::is_sign_in).map(Needs::into_error)
    }

    /// Returns what a new token needs so that the condition has the wanted result, or `None` if no
    /// sign-in and no scope changes the result.
    fn needs<'a>(
        &'a self,
        wanted: bool,
        caller: &Principal,
        head: RequestHead<'_>,
    ) -> Option<Needs<'a>> {
        let has_wanted_result = || self.holds(caller, head) == wanted;
        let every = |parts: &'a [Self]| {
            parts.iter().try_fold(Needs::default(), |needs, part| {
                needs.and(part.needs(wanted, caller, head)?)
            })
        };
        // The first alternative that a new sign-in can satisfy: the order is the preference of the rule.
        let any = |parts: &'a [Self]| match has_wanted_result() {
            true => Some(Needs::default()),
            false => parts
                .iter()
                .find_map(|part| part.needs(wanted, caller, head)),
        };
        match self {
            Self::SignIn(sign_in) if wanted => Some(sign_in.needs(caller)),
            Self::And(parts) if wanted => every(parts),
            Self::Or(parts) if !wanted => every(parts),
            Self::And(parts) | Self::Or(parts) => any(parts),
            Self::Named(_, inner) => inner.needs(wanted, caller, head),
            Self::Not(inner) if wanted && !inner.is_decidable(caller) => None,
            Self::Not(inner) => inner.needs(!wanted, caller, head),
            Self::Paths(rules) => rules.get(head.uri().path())?.needs(wanted, caller, head),
            _ if has_wanted_result() => Some(Needs::default()),
            Self::Scope(tokens) if wanted => Some(Needs {
                scope: tokens.iter().map(Name::text).collect(),
                ..Needs::default()
            }),
            _ => None,
        }
    }

    /// Returns `true` if the condition depends on a sign-in about which the caller's credential says
    /// nothing.
    pub(super) fn lacks_sign_in(&self, caller: &Principal) -> bool {
        match self {
            Self::SignIn(sign_in) => !sign_in.is_decidable(caller),
            Self::Paths(rules) => rules.values().any(|rule| rule.lacks_sign_in(caller)),
            Self::Named(_, inner) | Self::Not(inner) => inner.lacks_sign_in(caller),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().any(|part| part.lacks_sign_in(caller))
            }
            _ => false,
        }
    }
}

impl SignIn {
    fn needs(&self, caller: &Principal) -> Needs<'_> {
        match self {
            // Classes that are satisfied count too: a new sign-in must not lose what the old one has.
            Self::Class(classes) => Needs {
                classes: Some(classes.iter().map(AsRef::as_ref).collect()),
                lacks_class: !self.holds(caller),
                ..Needs::default()
            },
            Self::MaxAge(max) => match Age::of_caller(caller, *max) {
                Age::Recent => Needs::default(),
                age => Needs {
                    max_age: Some(*max),
                    is_future: age == Age::Future,
                    ..Needs::default()
                },
            },
        }
    }
}

fn of_class<'a>(classes: impl Iterator<Item = &'a str>) -> String {
    let classes: Vec<_> = classes
        .map(|one| format!("`{}`", one.escape_debug()))
        .collect();
    format!("a sign-in of the class {}", classes.join(" or "))
}

fn of_age(max: Duration) -> String {
    format!("a sign-in of at most {} s ago", max.as_secs())
}

/// The tolerance for clocks that differ, as in a [`Verifier`](crate::Verifier) by default.
const LEEWAY: Duration = Duration::from_secs(60);

const BAD_CLASS: &str = "no class, or one that a challenge cannot contain";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_m3_m6_the_age_of_a_sign_in_has_a_leeway_on_both_sides() {
        let (now, max) = (
            Timestamp::from_secs(1_700_000_000),
            Duration::from_secs(300),
        );
        let at = |seconds: i64| Some(Timestamp::from_secs(1_700_000_000 + seconds));
        for (auth_time, expected) in [
            (None, Age::Unknown),
            (at(0), Age::Recent),
            (at(-300), Age::Recent),
            (at(-360), Age::Recent),
            (at(-361), Age::Old),
            (at(-1_700_000_000), Age::Old),
            (at(60), Age::Recent),
            (at(61), Age::Future),
            (Some(Timestamp::from_millis(i64::MAX)), Age::Future),
            (Some(Timestamp::from_millis(i64::MIN)), Age::Old),
        ] {
            assert_eq!(Age::of(auth_time, now, max), expected, "{auth_time:?}");
        }
        assert_eq!(Age::of(at(-1_000_000), now, Duration::MAX), Age::Recent);
    }
}
