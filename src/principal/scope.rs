//! Scopes, as defined in [RFC 6749 §3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3).

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::error::ConfigError;

/// A set of scope tokens, as in `scope="read write"`.
///
/// Whole tokens are compared byte by byte. Their order has no meaning (RFC 6749 §3.3).
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::principal::Scope;
///
/// let scope: Scope = "orders:write orders:read".parse()?;
/// assert!(scope.contains("orders:read"));
/// assert!(!scope.contains("orders"));
/// assert_eq!(scope.to_string(), "orders:read orders:write");
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    tokens: BTreeSet<Box<str>>,
}

impl Scope {
    /// Returns `true` if the set contains exactly this token.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.tokens.contains(token)
    }

    /// Returns the tokens in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(AsRef::as_ref)
    }

    /// Returns the number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns `true` if the set contains no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl FromStr for Scope {
    type Err = ConfigError;

    /// Parses scope tokens that are separated by spaces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if a token contains a character that RFC 6749 §3.3 does not allow
    /// (`%x21 / %x23-5B / %x5D-7E`).
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut tokens = BTreeSet::new();
        for token in text.split(' ').filter(|token| !token.is_empty()) {
            if !token.bytes().all(is_scope_byte) {
                return Err(ConfigError::invalid(
                    "scope",
                    "a scope token contains a character that RFC 6749 §3.3 does not allow",
                ));
            }
            tokens.insert(token.into());
        }
        Ok(Self { tokens })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, token) in self.tokens.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}
