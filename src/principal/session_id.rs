//! The identifier of a session.

use std::{fmt, str::FromStr};

/// The identifier of a session: the `sid` of its access tokens and the key of its row in the store.
///
/// 16 bytes, written as 32 hexadecimal digits. The identifier is not secret and grants no access.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::principal::SessionId;
///
/// let id: SessionId = "1f0953f2e859f2e1f589274be44a2338".parse()?;
/// assert_eq!(id.to_string(), "1f0953f2e859f2e1f589274be44a2338");
/// assert!("1F0953F2E859F2E1F589274BE44A2338".parse::<SessionId>().is_err());
/// # Ok::<(), tower_jwt_auth::principal::ParseSessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Creates an identifier from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written with every refresh: a call of the formatter for each byte takes longer.
        let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
        let digits = self.0.map(|byte| [digit(byte >> 4), digit(byte & 0xF)]);
        f.write_str(str::from_utf8(digits.as_flattened()).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    // Lower case only, so that each identifier has a single text and texts can be compared.
    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(ParseSessionIdError),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 16 || !rest.is_empty() {
            return Err(ParseSessionIdError);
        }
        let mut bytes = [0; 16];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

/// The error for a text that is not a session identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session identifier: 32 lower-case hexadecimal digits")]
#[non_exhaustive]
pub struct ParseSessionIdError;
