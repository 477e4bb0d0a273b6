//! What a person calls themselves when they sign in.

use std::{fmt, sync::Arc};

use unicode_normalization::UnicodeNormalization as _;

/// A name or an e-mail address as a person typed it, brought to one form: NFKC, lower case, no space
/// around it.
///
/// Not printed by `Debug`: people type passwords into the wrong field.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identifier(Arc<str>);

impl Identifier {
    /// Normalises what was typed.
    ///
    /// # Errors
    ///
    /// [`IdentifierError`]: nothing, more than 320 bytes, or a control character. HTTP says 400.
    pub fn new(typed: &str) -> Result<Self, IdentifierError> {
        // Before the work that grows with the length.
        if typed.len() > MAX_BYTES {
            return Err(IdentifierError);
        }
        // Lower case may undo the normal form, and the normal form may bring capitals back.
        let once = |text: &str| text.nfkc().flat_map(char::to_lowercase).collect::<String>();
        let text = once(&once(typed)).nfkc().collect::<String>();
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(IdentifierError);
        }
        Ok(Self(text.into()))
    }

    /// The normalised form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identifier(..)")
    }
}

/// What was typed cannot be an identifier: empty, over 320 bytes, or with control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: 1 to 320 bytes without control characters are needed")]
#[non_exhaustive]
pub struct IdentifierError;

/// RFC 3696 erratum 1690 allows an e-mail address 254; older systems stored up to 320.
const MAX_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_identifier_are_one() {
        let same = |spellings: &[&str]| {
            let first = Identifier::new(spellings[0]).unwrap();
            for spelling in spellings {
                assert_eq!(Identifier::new(spelling).unwrap(), first, "{spelling}");
            }
        };
        same(&[
            "ada@example.org",
            " Ada@Example.ORG\t",
            "ＡＤＡ@example.org",
        ]);
        same(&["josé", "jose\u{301}", "JOSÉ"]);
    }

    #[test]
    fn what_cannot_be_an_identifier_is_refused() {
        for bad in [
            "",
            "  ",
            "a\0b",
            "a\nb",
            &"x".repeat(321),
            &"\u{FDFA}".repeat(100),
        ] {
            assert_eq!(Identifier::new(bad), Err(IdentifierError), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_normalised_identifier_stays_as_it_is(typed in "\\PC{1,40}") {
            if let Ok(identifier) = Identifier::new(&typed) {
                proptest::prop_assert_eq!(Identifier::new(identifier.as_str()).unwrap(), identifier);
            }
        }
    }
}
