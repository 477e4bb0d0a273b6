//! The rules for a new password.

use std::{fmt, sync::Arc};

use super::{Password, PasswordError};
use crate::error::ConfigError;

/// The rules for a new password: its length, its characters, and custom rules.
///
/// [`Login`](crate::server::login::Login) applies one policy to every password that is set: at a
/// registration, a change and a reset. Existing passwords are not checked at a login, so a stricter
/// policy locks no user out.
///
/// The defaults are those of [NIST SP 800-63B §3.1.1.2]. The minimum is 8 characters, which the
/// document requires if the password is used with a second factor. It requires 15 if the password
/// is the only factor. There is no rule about kinds of characters. The document also requires a
/// list of common passwords; add it as a custom [rule](Self::rule). Control characters are refused
/// (RFC 8265 §4.2). The maximum of 1024 bytes is enforced by [`Password`].
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::login::{
///     Password, PasswordError, PasswordPolicy, PasswordRule,
/// };
///
/// let policy = PasswordPolicy::new()
///     .min_chars(15)?
///     .rule("common", |password| !password.contains("password"));
/// let refused = |text: &str| policy.check(&Password::new(text.to_owned()).unwrap()).unwrap_err();
/// assert_eq!(refused("too short").as_str(), "too_short");
/// assert_eq!(refused("password password"), PasswordRule::Custom("common"));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
///
/// [NIST SP 800-63B §3.1.1.2]: https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver
#[derive(Clone)]
#[must_use]
pub struct PasswordPolicy {
    min_chars: usize,
    rules: Vec<(&'static str, Rule)>,
}

type Rule = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl PasswordPolicy {
    /// Creates a policy of at least 8 characters without control characters.
    pub const fn new() -> Self {
        Self {
            min_chars: LEAST,
            rules: Vec::new(),
        }
    }

    /// Sets the minimum length in Unicode code points, after NFKC.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: less than 8, or more than 64. A policy must accept passwords of 64
    /// characters (NIST SP 800-63B §3.1.1.2).
    pub fn min_chars(mut self, chars: usize) -> Result<Self, ConfigError> {
        if !(LEAST..=MOST).contains(&chars) {
            let problem = "the minimum length must be 8 to 64 characters";
            return Err(ConfigError::invalid("the password policy", problem));
        }
        self.min_chars = chars;
        Ok(self)
    }

    /// Sets any minimum length.
    ///
    /// # Security
    ///
    /// A password of less than 8 characters can be guessed within the limits of the throttle.
    pub fn dangerous_min_chars(mut self, chars: usize) -> Self {
        self.min_chars = chars;
        self
    }

    /// Adds a custom rule: a closure that returns `true` for acceptable passwords. May be called
    /// repeatedly.
    ///
    /// The closure receives the password in NFKC. It runs on the threads that serve requests, so it
    /// must not block: use a list in memory.
    ///
    /// # Security
    ///
    /// The closure must not store or log the password. The name of the rule is sent to the client.
    pub fn rule(
        mut self,
        name: &'static str,
        accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rules.push((name, Arc::new(accepts)));
        self
    }

    /// Checks a new password.
    ///
    /// # Errors
    ///
    /// The first [`PasswordRule`] that the password fails.
    pub fn check(&self, new: &Password) -> Result<(), PasswordRule> {
        let min = self.min_chars;
        if new.chars() < min {
            return Err(PasswordRule::TooShort { min });
        }
        let text = new.text();
        if text.chars().any(char::is_control) {
            return Err(PasswordRule::ControlCharacter);
        }
        let failed = self.rules.iter().find(|(_, accepts)| !accepts(text));
        failed.map_or(Ok(()), |(name, _)| Err(PasswordRule::Custom(name)))
    }
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PasswordPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rules.iter().map(|(name, _)| name);
        f.debug_struct("PasswordPolicy")
            .field("min_chars", &self.min_chars)
            .field("rules", &names.collect::<Vec<_>>())
            .finish()
    }
}

/// The rule of a [`PasswordPolicy`] that a new password fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordRule {
    /// The password has fewer characters than the minimum.
    #[error("the password needs at least {min} characters")]
    TooShort {
        /// The minimum, in Unicode code points.
        min: usize,
    },
    /// The password contains a control character.
    #[error("the password contains a control character")]
    ControlCharacter,
    /// The password fails the custom [rule](PasswordPolicy::rule) of this name.
    #[error("the password fails the rule {0}")]
    Custom(&'static str),
}

impl PasswordRule {
    /// Returns a stable name for clients.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::ControlCharacter => "control_character",
            Self::Custom(name) => name,
        }
    }
}

impl From<PasswordRule> for PasswordError {
    fn from(rule: PasswordRule) -> Self {
        Self::Refused(rule)
    }
}

const LEAST: usize = 8;
const MOST: usize = 64;
