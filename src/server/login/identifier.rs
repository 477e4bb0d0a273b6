//! The identifier with which a user signs in.

use std::{fmt, sync::Arc};

use precis_core::profile::PrecisFastInvocation as _;
use precis_profiles::UsernameCaseMapped;
use unicode_normalization::UnicodeNormalization as _;

/// A user name or an e-mail address in normalized form: NFKC, lower case, without surrounding white
/// space.
///
/// A new name must match the profile `UsernameCaseMapped` of RFC 8265 §3.3, so that invisible
/// characters cannot make it look like another name.
///
/// | part | rule |
/// |---|---|
/// | a name | letters and digits of any script, ASCII punctuation; parts are separated by single spaces |
/// | the local part of an address | the same, without spaces; `+`, `.` and `_` are ASCII punctuation |
/// | each label of an address's domain | the same, without spaces |
///
/// Format characters (`Cf`: zero-width, bidirectional, soft hyphen) are refused everywhere,
/// including the two joiners, which the profile allows in some scripts. Symbols such as emoji are
/// refused too, and so are letters newer than Unicode 6.3, the version of the profile's registry. A
/// part with right-to-left letters must satisfy the Bidi Rule (RFC 5893 §2).
///
/// `Debug` does not print the text, because users sometimes type a password into the wrong field.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identifier(Arc<str>);

impl Identifier {
    /// Normalizes a name and validates it as a new one.
    ///
    /// # Errors
    ///
    /// [`IdentifierError`]: the name is empty, exceeds 320 bytes, or contains a character that a
    /// new name must not have. The HTTP status is 400.
    pub fn new(typed: &str) -> Result<Self, IdentifierError> {
        let normalised = Self::existing(typed)?;
        // The lower case of a letter may be newer than the profile's registry (U+13A0).
        match is_username(typed.trim()) && is_username(normalised.as_str()) {
            true => Ok(normalised),
            false => Err(IdentifierError),
        }
    }

    /// Normalizes a name that may have been stored under other rules: for logins, and for
    /// identifiers in a store. The normalized form is that of [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`IdentifierError`]: the name is empty, exceeds 320 bytes, or contains a control character.
    /// The HTTP status is 400.
    pub fn existing(typed: &str) -> Result<Self, IdentifierError> {
        // Checked first, because normalization takes time in proportion to the length.
        if typed.len() > MAX_BYTES {
            return Err(IdentifierError);
        }
        // Lower-casing may undo the normal form, and normalizing may bring capitals back.
        let once = |text: &str| text.nfkc().flat_map(char::to_lowercase).collect::<String>();
        let text = once(&once(typed)).nfkc().collect::<String>();
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
            return Err(IdentifierError);
        }
        Ok(Self(text.into()))
    }

    /// Returns the normalized form.
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

/// The text is not an identifier: it is empty, exceeds 320 bytes, or contains a character that is
/// not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: 1 to 320 bytes of letters, digits and ASCII punctuation are needed")]
#[non_exhaustive]
pub struct IdentifierError;

/// Applies the profile to each part, so that the Bidi Rule applies to the letters of one part and
/// not across the `@`.
fn is_username(text: &str) -> bool {
    let (name, domain) = match text.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !local.contains(' ') => (local, domain),
        _ => (text, ""),
    };
    // An empty label comes from two dots or a dot at an end. It is harmless, and old tables contain
    // such names.
    let labels = domain.split('.').filter(|label| !label.is_empty());
    // RFC 8265 §3.1: `userpart *(1*SP userpart)`.
    let mut parts = name.split(' ').chain(labels);
    let joins = |c| matches!(c, '\u{200C}' | '\u{200D}');
    parts.all(|part| !part.contains(joins) && UsernameCaseMapped::enforce(part).is_ok())
}

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

    /// Fault 44: what is not seen makes no second name.
    #[test]
    fn u21_format_characters_make_no_name() {
        for unseen in [
            '\u{AD}',
            '\u{600}',
            '\u{61C}',
            '\u{200B}',
            '\u{200C}',
            '\u{200D}',
            '\u{200E}',
            '\u{200F}',
            '\u{202A}',
            '\u{202E}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{FEFF}',
            '\u{E0041}',
            // Not `Cf`, and not seen either.
            '\u{34F}',
            '\u{115F}',
            '\u{FE0F}',
            '\u{3164}',
        ] {
            for name in [
                format!("ada{unseen}@example.org"),
                format!("{unseen}ada"),
                format!("ada@exam{unseen}ple.org"),
                // In Persian and Malayalam the profile itself would let the joiners pass.
                format!("نامه{unseen}ای"),
                format!("ക്{unseen}ഷ"),
            ] {
                assert_eq!(Identifier::new(&name), Err(IdentifierError), "{name:?}");
            }
        }
    }

    /// RFC 8265 §3.5, and addresses.
    #[test]
    fn u21_names_obey_the_profile() {
        for good in [
            "juliet@example.com",
            "fussball",
            "fußball",
            "π",
            "Σ",
            "σ",
            "ς",
            "user name",
            "ADA.Lovelace+news@Example.ORG",
            "o'hara_1815%x{y}=/!#$&*^~`|?-z@example.org",
            "\"quoted\"@example.org",
            "jürgen@bücher.example",
            "用户@例子.中国",
            "אדה@example.org",
            "אדה.ב@דוגמה.example",
            "ＡＤＡ@example.org",
            "00012345",
            "@ada",
            "@",
        ] {
            let new = Identifier::new(good);
            assert_eq!(new, Identifier::existing(good), "{good}");
            assert!(new.is_ok(), "{good}");
        }
        for bad in [
            "henry\u{2163}",
            "\u{265A}",
            "ada 👩",
            "a  b",
            "ada@exa mple.org",
            "a\u{A0}b",
            "ﬁancé",
            "אa",
            "aא@example.org",
            "\u{301}אדה",
            "⒈",
            "\u{13A0}",
        ] {
            assert_eq!(Identifier::new(bad), Err(IdentifierError), "{bad:?}");
            assert!(Identifier::existing(bad).is_ok(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn u21_a_new_name_stays_as_it_is(typed in "\\PC{1,12}|[a-zA-Zä-öΑ-Ωа-я0-9@.+ ]{1,12}") {
            if let Ok(identifier) = Identifier::new(&typed) {
                proptest::prop_assert_eq!(Identifier::new(identifier.as_str()).unwrap(), identifier);
            }
        }

        #[test]
        fn a_normalised_identifier_stays_as_it_is(typed in "\\PC{1,40}") {
            if let Ok(identifier) = Identifier::existing(&typed) {
                proptest::prop_assert_eq!(Identifier::existing(identifier.as_str()).unwrap(), identifier);
            }
        }
    }
}
