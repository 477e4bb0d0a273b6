//! Statements as values.

use std::sync::OnceLock;

/// One SQL statement, written once for every dialect.
///
/// The text contains `{name}` where the dialects differ ([`Dialect::WORDS`](super::Dialect::WORDS)).
/// Arguments are `$1`, `$2`, … in every dialect.
pub(in crate::store) struct Statement {
    template: &'static str,
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "one pool serves all statements")
    )]
    does: Does,
    texts: [OnceLock<String>; DIALECTS],
}

/// The effect of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Does {
    /// Changes nothing.
    Read,
    /// Changes rows.
    Write,
    /// Changes rows and may write revocations: the feeds of this process are woken afterwards.
    Revoke,
}

impl Statement {
    pub(in crate::store) const fn read(template: &'static str) -> Self {
        Self::new(template, Does::Read)
    }

    pub(in crate::store) const fn write(template: &'static str) -> Self {
        Self::new(template, Does::Write)
    }

    pub(in crate::store) const fn revoke(template: &'static str) -> Self {
        Self::new(template, Does::Revoke)
    }

    const fn new(template: &'static str, does: Does) -> Self {
        Self {
            template,
            does,
            texts: [const { OnceLock::new() }; DIALECTS],
        }
    }

    #[cfg(feature = "sqlite")]
    pub(in crate::store) fn does(&self) -> Does {
        self.does
    }

    /// Returns the text in one dialect. The first call builds it.
    pub(in crate::store) fn text(&'static self, place: usize, words: Words) -> &'static str {
        let build = || {
            let mut text = self.template.to_owned();
            for (name, word) in words {
                text = text.replace(name, word);
            }
            text
        };
        match self.texts.get(place) {
            Some(text) => text.get_or_init(build),
            None => self.template,
        }
    }
}

/// The texts of a dialect for the names in statements.
pub(in crate::store) type Words = &'static [(&'static str, &'static str)];

const DIALECTS: usize = 2;

/// An argument of a statement.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Value<'a> {
    /// A number, or NULL.
    Number(Option<i64>),
    /// A text, or NULL.
    Text(Option<&'a str>),
    /// Bytes, or NULL.
    Bytes(Option<&'a [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(Some(bytes))
    }
}
