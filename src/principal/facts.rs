//! The facts about a caller, packed into one buffer.

use std::{any::Any, mem, ops::Range, sync::Arc};

use smallvec::SmallVec;

use super::PrincipalKind;
use crate::time::{Timestamp, date::Date};

/// A type that holds the facts about a caller: a verified token, or the facts alone.
pub(crate) trait HasFacts: Send + Sync + 'static {
    fn facts(&self) -> &Facts;
}

impl HasFacts for Facts {
    fn facts(&self) -> &Facts {
        self
    }
}

/// The facts about a caller. All text is in one buffer, which may be the document from which the
/// facts were read.
///
/// A principal is created for every verified token, so its parts must not need an allocation each.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) kind: PrincipalKind,
    pub(crate) by_key: bool,
    pub(crate) expires: Option<Date>,
    pub(crate) issued: Option<Date>,
    pub(crate) authenticated: Option<Date>,
    pub(crate) epoch: Option<u32>,
    pub(crate) refresh_generation: Option<u64>,
    /// The key that signed the token. Its type is erased, because keys are above principals.
    pub(crate) signer: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) unreadable_roles: bool,
    pub(super) unreadable_scope: bool,
    text: String,
    /// The address range of the document, while it is read.
    document: Range<usize>,
    fields: [Option<Span>; FIELDS],
    items: SmallVec<[(List, Span); INLINE_ITEMS]>,
}

/// A byte range of the packed text. It never splits a character.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// A token is at most a few KiB long. Beyond 4 GiB the span is empty, so that it never covers
    /// another value.
    fn new(start: usize, length: usize) -> Self {
        match (u32::try_from(start), u32::try_from(length)) {
            (Ok(start), Ok(length)) => Self { start, length },
            _ => Self {
                start: 0,
                length: 0,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Subject,
    Issuer,
    ClientId,
    TokenId,
    SessionId,
    /// `conv`: the only conversation for which the credential is valid.
    Conversation,
    /// `acr`: the class of the authentication.
    AuthContext,
}

const FIELDS: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Roles,
    Scope,
    Permissions,
    /// `amr`: the methods of the authentication.
    AuthMethods,
}

impl Facts {
    /// Creates facts to be read from a document. [Adopt](Self::adopt) the document afterwards.
    pub(crate) fn reading(document: &str) -> Self {
        let start = document.as_ptr().addr();
        Self {
            document: start..start + document.len(),
            ..Self::default()
        }
    }

    /// Takes ownership of the document from which the facts were read.
    #[inline]
    pub(crate) fn adopt(&mut self, document: String) {
        let added = mem::replace(&mut self.text, document);
        self.text.push_str(&added);
        self.document = 0..0;
    }

    pub(crate) fn set(&mut self, field: Field, value: &str) {
        let span = self.span(value);
        if let Some(slot) = self.fields.get_mut(field as usize) {
            *slot = Some(span);
        }
    }

    /// Records that an item of a list could not be read.
    pub(crate) fn set_unreadable(&mut self, list: List) {
        match list {
            List::Roles => self.unreadable_roles = true,
            List::Scope => self.unreadable_scope = true,
            List::Permissions | List::AuthMethods => {}
        }
    }

    pub(crate) fn push(&mut self, list: List, value: &str) {
        let span = self.span(value);
        self.items.push((list, span));
    }

    /// Adds the words of a text, which are separated by spaces.
    pub(crate) fn push_words(&mut self, list: List, text: &str) {
        let whole = self.span(text);
        let mut start = 0;
        let mut add = |end: usize| {
            // No span covers the spaces between the words.
            if start < end {
                let word = Span::new(whole.start as usize + start, end - start);
                self.items.push((list, word));
            }
            start = end + 1;
        };
        // Words are short: to search for each takes longer than to look at eight bytes at a time.
        let (eights, rest) = text.as_bytes().as_chunks();
        for (eight, bytes) in eights.iter().enumerate() {
            let mut spaces = spaces(*bytes);
            while spaces != 0 {
                add(eight * 8 + spaces.trailing_zeros() as usize / 8);
                spaces &= spaces - 1;
            }
        }
        for (at, byte) in rest.iter().enumerate() {
            if *byte == b' ' {
                add(text.len() - rest.len() + at);
            }
        }
        add(text.len());
    }

    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.expires.map(Date::to_timestamp)
    }

    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        let span = self.fields.get(field as usize)?;
        span.map(|span| self.slice(span))
    }

    pub(crate) fn list(&self, list: List) -> impl Iterator<Item = &str> {
        self.items
            .iter()
            .filter(move |(of, _)| *of == list)
            .map(|(_, span)| self.slice(*span))
    }

    /// Returns the span of a value: in the document if the value lies there, otherwise behind it.
    #[inline]
    fn span(&mut self, value: &str) -> Span {
        let address = value.as_ptr().addr();
        let inside = self.document.contains(&address) && self.document.end - address >= value.len();
        if inside {
            Span::new(address - self.document.start, value.len())
        } else {
            self.add(value)
        }
    }

    /// Copies a value behind the document.
    #[cold]
    fn add(&mut self, value: &str) -> Span {
        let start = self.document.len() + self.text.len();
        self.text.push_str(value);
        Span::new(start, value.len())
    }

    fn slice(&self, span: Span) -> &str {
        let (start, length) = (span.start as usize, span.length as usize);
        self.text
            .get(start..start.saturating_add(length))
            .unwrap_or_default()
    }
}

/// Returns a bit for each space among the bytes: the highest bit of its byte.
fn spaces(bytes: [u8; 8]) -> u64 {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    const LOW: u64 = u64::from_le_bytes([0x7F; 8]);
    let differences = u64::from_le_bytes(bytes) ^ SPACES;
    // Only a byte without a difference keeps its highest bit clear. No sum reaches the next byte.
    !(((differences & LOW) + LOW) | differences | LOW)
}

/// Enough for the roles and scopes of a usual token without a heap allocation.
const INLINE_ITEMS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_the_parts_between_spaces(text in "[ !a\u{a0}\u{2020}]{0,40}") {
            let mut facts = Facts::reading(&text);
            facts.push_words(List::Scope, &text);
            facts.adopt(text.clone());
            let words = text.split(' ').filter(|word| !word.is_empty());
            prop_assert!(facts.list(List::Scope).eq(words));
        }
    }

    #[test]
    fn a_space_is_told_from_every_other_byte() {
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                for others in [0, b' ' - 1, b' ' + 1, u8::MAX] {
                    let mut bytes = [others; 8];
                    bytes[at] = byte;
                    let expected = if byte == b' ' { 0x80 << (8 * at) } else { 0 };
                    assert_eq!(spaces(bytes), expected, "{bytes:?}");
                }
            }
        }
    }
}
