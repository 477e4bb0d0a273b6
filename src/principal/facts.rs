//! The facts about a caller, in one buffer.

use std::{mem, ops::Range};

use smallvec::SmallVec;
use time::OffsetDateTime;

use super::PrincipalKind;
use crate::token::date::Date;

/// Whatever holds the facts about a caller: a verified token, or the facts alone.
pub(crate) trait HasFacts: Send + Sync + 'static {
    fn facts(&self) -> &Facts;
}

impl HasFacts for Facts {
    fn facts(&self) -> &Facts {
        self
    }
}

/// The facts about a caller, packed: one buffer for all text, which may be the document that the
/// facts were read from.
///
/// A principal is made for every verified token, so that its parts must not cost an allocation each.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) kind: PrincipalKind,
    pub(crate) by_key: bool,
    pub(crate) expires: Option<Date>,
    pub(crate) issued: Option<Date>,
    pub(crate) epoch: Option<u32>,
    pub(crate) refresh_generation: Option<u64>,
    pub(super) unreadable_roles: bool,
    pub(super) unreadable_scope: bool,
    text: String,
    /// Where in memory the document is that is being read.
    document: Range<usize>,
    fields: [Option<Span>; FIELDS],
    items: SmallVec<[(List, Span); INLINE_ITEMS]>,
}

/// A range of bytes of the packed text, never split inside a character.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// A token is at most some KiB long; past 4 GiB the span is empty, never another's text.
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
    /// `conv`: the one conversation that the credential is for.
    Conversation,
}

const FIELDS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Roles,
    Scope,
    Permissions,
}

impl Facts {
    /// Facts to be read from a document, which is to be [adopted](Self::adopt) at the end.
    pub(crate) fn reading(document: &str) -> Self {
        let start = document.as_ptr().addr();
        Self {
            document: start..start + document.len(),
            ..Self::default()
        }
    }

    /// Takes over the document that the facts were read from.
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

    /// Records that something in a list could not be read.
    pub(crate) fn set_unreadable(&mut self, list: List) {
        match list {
            List::Roles => self.unreadable_roles = true,
            List::Scope => self.unreadable_scope = true,
            List::Permissions => {}
        }
    }

    pub(crate) fn push(&mut self, list: List, value: &str) {
        let span = self.span(value);
        self.items.push((list, span));
    }

    /// Adds the words of a text that spaces separate.
    pub(crate) fn push_words(&mut self, list: List, text: &str) {
        let whole = self.span(text);
        let mut start = 0;
        // The spaces between the words are in nobody's span.
        for end in memchr::memchr_iter(b' ', text.as_bytes()).chain([text.len()]) {
            if start < end {
                let word = Span::new(whole.start as usize + start, end - start);
                self.items.push((list, word));
            }
            start = end + 1;
        }
    }

    pub(crate) fn expires_at(&self) -> Option<OffsetDateTime> {
        self.expires.map(Date::to_calendar)
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

    /// Where the value will be: in the document if it lies there, else behind it.
    fn span(&mut self, value: &str) -> Span {
        let address = value.as_ptr().addr();
        let inside = self.document.contains(&address) && self.document.end - address >= value.len();
        let start = if inside {
            address - self.document.start
        } else {
            self.text.push_str(value);
            self.document.len() + self.text.len() - value.len()
        };
        Span::new(start, value.len())
    }

    fn slice(&self, span: Span) -> &str {
        let (start, length) = (span.start as usize, span.length as usize);
        self.text
            .get(start..start.saturating_add(length))
            .unwrap_or_default()
    }
}

/// Room for a usual token's roles and scopes, without an allocation of its own.
const INLINE_ITEMS: usize = 12;
