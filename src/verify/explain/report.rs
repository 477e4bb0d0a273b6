//! The checks of a token, and their text.

use std::fmt;

use crate::error::AuthError;

/// The result of every check of a token, created by [`Verifier::explain`](crate::Verifier::explain). `Display` prints a line for
/// each check.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub(super) checks: Vec<TokenCheck>,
    pub(super) refusal: Option<AuthError>,
}

impl Explanation {
    /// Returns the error of [`Verifier::verify`](crate::Verifier::verify), or `None` if the token is accepted.
    #[must_use]
    pub fn refusal(&self) -> Option<&AuthError> {
        self.refusal.as_ref()
    }

    /// Returns the checks in their order.
    pub fn checks(&self) -> impl Iterator<Item = &TokenCheck> {
        self.checks.iter()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refusal {
            None => writeln!(f, "accepted")?,
            Some(error) => writeln!(f, "refused: {} ({error})", error.as_str())?,
        }
        for check in &self.checks {
            let mark = match check.passed {
                Some(true) => "ok  ",
                Some(false) => "FAIL",
                None => "-   ",
            };
            let TokenCheck {
                name,
                expected,
                found,
                ..
            } = check;
            writeln!(f, "{mark} {name:<11} expected: {expected}")?;
            writeln!(f, "     {:<11} found:    {found}", "")?;
        }
        Ok(())
    }
}

/// A check of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCheck {
    name: &'static str,
    passed: Option<bool>,
    expected: String,
    found: String,
}

impl TokenCheck {
    /// Returns the name of the checked part: a header parameter, a claim, or a word such as
    /// `signature`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns `true` if the token passes, and `None` if the check was not possible.
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        self.passed
    }

    /// Returns the expected value.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Returns the found value.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }
}

/// The checks so far.
#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<TokenCheck>);

impl Checks {
    pub(super) fn add(
        &mut self,
        name: &'static str,
        passed: bool,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.push(name, Some(passed), expected.into(), found.into());
    }

    pub(super) fn skip(
        &mut self,
        name: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.push(name, None, expected.into(), found.into());
    }

    fn push(&mut self, name: &'static str, passed: Option<bool>, expected: String, found: String) {
        self.0.push(TokenCheck {
            name,
            passed,
            expected,
            found,
        });
    }

    pub(super) fn passed(&self) -> bool {
        self.0.iter().all(|check| check.passed == Some(true))
    }
}
