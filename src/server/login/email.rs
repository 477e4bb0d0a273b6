//! An address to which mails are sent.

use std::fmt;

use super::{Identifier, IdentifierError};

/// An e-mail address in the normalized form of an [`Identifier`].
///
/// Only addresses that need no quoting are accepted: one `@`, a local part of letters, digits and the
/// ASCII punctuation of an `atom` (RFC 5322 §3.2.3), and a domain of labels. One text therefore never
/// becomes two recipients, or a header, in any mail library. The local part is in lower case, as
/// identifiers are.
///
/// `Debug` does not print the address.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::login::EmailAddress;
///
/// let address = EmailAddress::new(" Ada@Example.org ")?;
/// assert_eq!(address.as_str(), "ada@example.org");
/// for refused in ["ada", "ada@", "a@b,c@d", "\"a b\"@example.org", "ada@[127.0.0.1]"] {
///     assert!(EmailAddress::new(refused).is_err(), "{refused}");
/// }
/// # Ok::<(), tower_jwt_auth::server::login::IdentifierError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(Identifier);

impl EmailAddress {
    /// Normalizes a new address and validates it, as [`Identifier::new`] does.
    ///
    /// # Errors
    ///
    /// [`IdentifierError`]: the text is not a valid new identifier, or not an address. The HTTP status
    /// is 400.
    pub fn new(typed: &str) -> Result<Self, IdentifierError> {
        Self::of(&Identifier::new(typed)?).ok_or(IdentifierError)
    }

    /// Returns the address that an identifier is; `None` if it is another kind of name.
    #[must_use]
    pub fn of(identifier: &Identifier) -> Option<Self> {
        is_address(identifier.as_str()).then(|| Self(identifier.clone()))
    }

    /// Returns the normalized address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the address as an identifier.
    #[must_use]
    pub fn identifier(&self) -> &Identifier {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(..)")
    }
}

fn is_address(text: &str) -> bool {
    // RFC 5321 §4.5.3.1
    let Some((local, domain)) = text.split_once('@').filter(|_| text.len() <= 254) else {
        return false;
    };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let is_atom = |part: &str| !part.is_empty() && part.chars().all(atom);
    let is_label = |label: &str| {
        let sound = |c: char| c.is_alphanumeric() || c == '-';
        let edge = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && !edge && label.chars().all(sound)
    };
    local.len() <= 64 && local.split('.').all(is_atom) && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_recipient_in_every_spelling() {
        for good in [
            "ada@example.org",
            "ada.lovelace+news@mail.example.org",
            "o'hara_{x}@example.org",
            "jürgen@bücher.example",
            "root@localhost",
        ] {
            let address = EmailAddress::new(good).unwrap();
            assert_eq!(address.as_str(), good);
            assert_eq!(EmailAddress::of(address.identifier()), Some(address));
        }
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@@example.org",
            "ada@example.org,eve@example.org",
            "ada,eve@example.org",
            "ada <eve@example.org>",
            "<ada@example.org>",
            "ada@example.org>",
            "ada;eve@example.org",
            "\"ada\"@example.org",
            "ada eve@example.org",
            ".ada@example.org",
            "ada..b@example.org",
            "ada@example..org",
            "ada@-example.org",
            "ada@[192.0.2.1]",
            "ada@example.org:25",
            "ada%eve@example.org\r\nBcc: mallory",
            "a\u{301}da\u{200b}@example.org",
            &long,
        ] {
            assert!(EmailAddress::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            format!("{:?}", EmailAddress::new("a@b").unwrap()),
            "EmailAddress(..)"
        );
    }
}
