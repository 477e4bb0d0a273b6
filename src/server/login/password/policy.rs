//! The rules for a new password.

use std::{collections::HashSet, fmt, sync::Arc};

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::{Password, PasswordError};
use crate::error::ConfigError;

/// The rules for a new password: its length, its characters, common passwords, and custom rules.
///
/// [`Login`](crate::server::login::Login) applies one policy to every password that is set: at a
/// registration, a change and a reset, and to the users of `AUTH_SEED_USER`. Existing passwords are not checked at a login, so a stricter
/// policy locks no user out.
///
/// The defaults are those of [NIST SP 800-63B §3.1.1.2]. The minimum is 8 characters, which the
/// document requires if the password is used with a second factor. It requires 15 if the password
/// is the only factor. There is no rule about kinds of characters. Control characters are refused
/// (RFC 8265 §4.2). The maximum of 1024 bytes is enforced by [`Password`].
///
/// The document also requires a list of common passwords. The built-in list has about 500 entries: the
/// sequences, keyboard rows and words with which guessing starts. The throttle stops an attacker long
/// before the end of it. Add a list of leaked passwords with
/// [`common_passwords`](Self::common_passwords) to protect a stolen store as well. Upper and lower case
/// do not matter.
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
///     .common_passwords(["the name of our product"])
///     .rule("no_company", |password| !password.contains("example"));
/// let refused = |text: &str| policy.check(&Password::new(text.to_owned()).unwrap()).unwrap_err();
/// assert_eq!(refused("too short").as_str(), "too_short");
/// assert_eq!(refused("The Name of our Product"), PasswordRule::Common);
/// assert_eq!(refused("a password of example"), PasswordRule::Custom("no_company"));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
///
/// [NIST SP 800-63B §3.1.1.2]: https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver
#[derive(Clone)]
#[must_use]
pub struct PasswordPolicy {
    min_chars: usize,
    refuses_common: bool,
    common: Option<Arc<HashSet<String>>>,
    rules: Vec<(&'static str, Rule)>,
}

type Rule = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl PasswordPolicy {
    /// Creates a policy of at least 8 characters without control characters that are no common password.
    pub const fn new() -> Self {
        Self {
            min_chars: LEAST,
            refuses_common: true,
            common: None,
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

    /// Adds common passwords to the built-in list, such as the lines of a file of leaked passwords, or the
    /// name of your service. May be called repeatedly.
    ///
    /// The list is kept in memory: some 100 bytes for each entry. Entries that are shorter than the
    /// minimum length are left out.
    pub fn common_passwords<I>(mut self, passwords: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut common = self
            .common
            .take()
            .map_or_else(HashSet::new, Arc::unwrap_or_clone);
        let folded = passwords
            .into_iter()
            .map(|text| folded(text.as_ref().trim()));
        let long = folded.filter(|text| text.chars().count() >= self.min_chars);
        common.extend(long.map(|text| (*text).clone()));
        self.common = Some(Arc::new(common));
        self
    }

    /// Accepts common passwords.
    ///
    /// # Security
    ///
    /// The most common ones are guessed within the limits of the throttle.
    pub fn dangerous_accept_common(mut self) -> Self {
        self.refuses_common = false;
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
        if self.refuses_common && self.is_common(text) {
            return Err(PasswordRule::Common);
        }
        let failed = self.rules.iter().find(|(_, accepts)| !accepts(text));
        failed.map_or(Ok(()), |(name, _)| Err(PasswordRule::Custom(name)))
    }
}

impl PasswordPolicy {
    fn is_common(&self, text: &str) -> bool {
        let text = folded(text);
        let listed = self
            .common
            .as_ref()
            .is_some_and(|common| common.contains(&*text));
        listed || BUILT_IN.lines().any(|common| common == *text)
    }
}

/// Returns the form in which common passwords are compared. It is wiped, because it may be the password.
fn folded(text: &str) -> Zeroizing<String> {
    // The buffer never grows: a reallocation would leave a copy that is not wiped.
    let mut folded = Zeroizing::new(String::with_capacity(text.len() * GROWTH));
    folded.extend(text.nfkc().flat_map(char::to_lowercase));
    folded
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
            .field("refuses_common", &self.refuses_common)
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
    /// The password is one of those that are guessed first.
    #[error("the password is too common")]
    Common,
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
            Self::Common => "common",
            Self::Custom(name) => name,
        }
    }
}

impl From<PasswordRule> for PasswordError {
    fn from(rule: PasswordRule) -> Self {
        Self::Refused(rule)
    }
}

/// The most common passwords of at least eight characters, in lower case, one a line, in byte order.
const BUILT_IN: &str = include_str!("common.txt");
/// NFKC makes UTF-8 at most eleven times longer (UAX #15 §12), and lower case three times.
const GROWTH: usize = 33;
const LEAST: usize = 8;
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u23_the_built_in_list_is_sorted_folded_and_long_enough() {
        let list: Vec<_> = BUILT_IN.lines().collect();
        assert!(list.len() > 400 && list.is_sorted());
        for text in list {
            assert_eq!(*folded(text), text);
            assert!(text.chars().count() >= LEAST, "{text}");
        }
        let longest = "\u{FDFA}".repeat(341);
        assert!(folded(&longest).capacity() >= 341 * 33);
    }
}
