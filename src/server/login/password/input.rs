//! A password as it was typed.

use std::{fmt, sync::Arc};

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfkc_quick};

use super::PasswordError;
use crate::secret::Secret;

/// A password as it was typed: 1 to 1024 bytes, never trimmed, truncated or printed.
///
/// The NFKC form is kept as well, as [NIST SP 800-63B §3.1.1.2] recommends, so that a password does
/// not depend on how a keyboard composes an accent. Clones share one allocation, which is wiped
/// with the last clone.
///
/// [NIST SP 800-63B §3.1.1.2]: https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver
#[derive(Clone)]
pub struct Password {
    typed: Arc<Secret<String>>,
    normalised: Arc<Secret<String>>,
}

impl Password {
    /// Creates a password from the typed text.
    ///
    /// # Errors
    ///
    /// The HTTP status of both is 400, before any hashing.
    ///
    /// - [`PasswordError::Empty`]
    /// - [`PasswordError::TooLong`]: more than 1024 bytes.
    pub fn new(typed: impl Into<Secret<String>>) -> Result<Self, PasswordError> {
        let typed = typed.into();
        match typed.expose().len() {
            0 => return Err(PasswordError::Empty),
            1..=MAX_BYTES => {}
            _ => return Err(PasswordError::TooLong),
        }
        let typed = Arc::new(typed);
        let normalised = match is_nfkc_quick(typed.expose().chars()) {
            IsNormalized::Yes => Arc::clone(&typed),
            _ => {
                // The buffer never grows: a reallocation would leave a copy that is not wiped.
                let mut text = String::with_capacity(typed.expose().len() * NFKC_GROWTH);
                text.extend(typed.expose().nfkc());
                Arc::new(Secret::new(text))
            }
        };
        Ok(Self { typed, normalised })
    }

    /// Returns the number of characters in NFKC.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.normalised.expose().chars().count()
    }

    pub(super) fn text(&self) -> &str {
        self.normalised.expose()
    }

    /// Returns the input of Argon2.
    pub(super) fn normalised(&self) -> &[u8] {
        self.text().as_bytes()
    }

    /// Returns the input of bcrypt. bcrypt hashes are imported from systems that hash the password
    /// as typed.
    pub(super) fn typed(&self) -> &[u8] {
        self.typed.expose().as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

const MAX_BYTES: usize = 1024;
/// NFKC makes UTF-8 at most this many times longer (UAX #15 §12).
const NFKC_GROWTH: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_form_never_outgrows_its_memory() {
        let password = Password::new("\u{FDFA}".repeat(341)).unwrap();
        assert_eq!(password.normalised.expose().len(), 341 * 33);
        assert_eq!(password.normalised.expose().capacity(), 1023 * NFKC_GROWTH);
    }

    #[test]
    fn one_text_in_two_encodings_is_one_password() {
        let composed = Password::new("ﬁancé ".to_owned()).unwrap();
        let decomposed = Password::new("fiance\u{301} ".to_owned()).unwrap();
        assert_eq!(composed.normalised(), decomposed.normalised());
        assert_eq!(composed.normalised(), "fiancé ".as_bytes());
        assert_eq!(composed.typed(), "ﬁancé ".as_bytes());
    }
}
