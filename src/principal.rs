//! Who is calling, whatever the credential was.

use std::{any::Any, fmt, mem, ops::Range, sync::Arc};

use smallvec::SmallVec;
use time::OffsetDateTime;

use crate::token::date::Date;

/// An authenticated caller.
///
/// Every layer of this crate that authenticates puts one into the request's extensions; guards,
/// handlers and extractors read it. It does not depend on the claims type of the token, and it is
/// cheap to clone.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::principal::Principal;
///
/// let caller = Principal::builder().subject("alice").roles(["editor"]).scope("docs:read").build();
/// assert_eq!(caller.subject(), Some("alice"));
/// assert!(caller.has_role("editor"));
/// assert!(caller.has_scope("docs:read"));
/// ```
#[derive(Clone)]
pub struct Principal {
    facts: Arc<dyn HasFacts>,
    origin: Option<Origin>,
}

impl Principal {
    /// Starts a principal by hand: for a layer that authenticates by other means, and for tests.
    pub fn builder() -> PrincipalBuilder {
        PrincipalBuilder::default()
    }

    pub(crate) fn new(facts: Arc<dyn HasFacts>, origin: Option<Origin>) -> Self {
        Self { facts, origin }
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.facts.facts()
    }

    /// The same caller, as found by a layer with these answers.
    pub(crate) fn with_origin(&self, origin: Option<Origin>) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            origin,
        }
    }

    /// Whether an API key proved it, so that a layer for tokens leaves it where it is.
    pub(crate) fn is_by_key(&self) -> bool {
        self.facts().by_key
    }

    /// What kind of caller this is.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.facts().kind
    }

    /// The subject (`sub`). Outside RFC 9068 a token may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts().text(Field::Subject)
    }

    /// The issuer (`iss`) of the credential. A subject is unique within its issuer only.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts().text(Field::Issuer)
    }

    /// The OAuth client that the credential was issued to (`client_id`, else `azp`).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.facts().text(Field::ClientId)
    }

    /// The token's own identifier (`jti`), unique within its issuer.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.facts().text(Field::TokenId)
    }

    /// The session that the token belongs to (`sid`).
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.facts().text(Field::SessionId)
    }

    /// The epoch of the subject when the token was issued (`ep`), a claim of this crate's tokens.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.facts().epoch
    }

    /// The generation of the refresh token that came with the token (`rtg`), a claim of this
    /// crate's tokens.
    #[must_use]
    pub fn refresh_generation(&self) -> Option<u64> {
        self.facts().refresh_generation
    }

    /// When the credential expires (`exp`, without leeway).
    ///
    /// A WebSocket or a stream that outlives its request must end by then.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.facts().expires_at()
    }

    /// When the credential was issued (`iat`).
    #[must_use]
    pub fn issued_at(&self) -> Option<OffsetDateTime> {
        self.facts().issued.map(Date::to_calendar)
    }

    /// The roles, in the credential's order. They are compared byte for byte.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Roles)
    }

    /// The scope tokens (RFC 6749 §3.3), in the credential's order.
    pub fn scope(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Scope)
    }

    /// The permissions (`permissions`), in the credential's order.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Permissions)
    }

    /// The one conversation that the credential is for (`conv`), a claim of this crate's tokens;
    /// `None` where it is for all that its subject may do. A verifier refuses such tokens unless
    /// [told otherwise](crate::verify::VerifierBuilder::conversation_tokens).
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        self.facts().text(Field::Conversation)
    }

    /// Whether the credential grants this role. A scope of the same name does not count.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|granted| granted == role)
    }

    /// Whether the credential grants this scope token. A role of the same name does not count.
    #[must_use]
    pub fn has_scope(&self, token: &str) -> bool {
        self.scope().any(|granted| granted == token)
    }
}

impl fmt::Debug for Principal {
    // Subjects and identifiers are personal data, so only the shape is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

/// What kind of caller a [`Principal`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person, or whatever else the issuer calls a subject of its own.
    #[default]
    User,
    /// A client that acts for itself: the client credentials grant (RFC 6749 §4.4).
    ///
    /// Some issuers let clients choose an identifier that looks like a user's `sub`
    /// (RFC 9700 §4.15), so never treat a service as the user of the same name.
    Service,
    /// A visitor who has not signed in.
    Guest,
}

/// Nobody is signed in, and the route allows that: what an optional layer leaves in the extensions.
#[derive(Clone, Default)]
pub struct Anonymous {
    origin: Option<Origin>,
}

impl Anonymous {
    pub(crate) fn new(origin: Option<Origin>) -> Self {
        Self { origin }
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl fmt::Debug for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anonymous")
    }
}

/// How the layer that authenticated answers refusals, carried along for the guards inside it.
///
/// The type is erased because answers are a matter of HTTP, and a principal is not.
#[derive(Clone)]
pub(crate) struct Origin(pub(crate) Arc<dyn Any + Send + Sync>);

/// Builds a [`Principal`] by hand.
#[derive(Default)]
#[must_use = "nothing is built before `build` is called"]
pub struct PrincipalBuilder {
    facts: Facts,
}

impl PrincipalBuilder {
    /// What kind of caller it is; a user by default.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.facts.kind = kind;
        self
    }

    /// The subject.
    pub fn subject(mut self, subject: &str) -> Self {
        self.facts.set(Field::Subject, subject);
        self
    }

    /// The issuer that the subject is unique within.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.facts.set(Field::Issuer, issuer);
        self
    }

    /// The OAuth client.
    pub fn client_id(mut self, client_id: &str) -> Self {
        self.facts.set(Field::ClientId, client_id);
        self
    }

    /// The session.
    pub fn session_id(mut self, session_id: &str) -> Self {
        self.facts.set(Field::SessionId, session_id);
        self
    }

    /// The subject's epoch when the credential was issued.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.facts.epoch = Some(epoch);
        self
    }

    /// The generation of the refresh token that came with the credential.
    pub fn refresh_generation(mut self, generation: u64) -> Self {
        self.facts.refresh_generation = Some(generation);
        self
    }

    /// The one conversation that the credential is for.
    pub fn conversation(mut self, conversation: &str) -> Self {
        self.facts.set(Field::Conversation, conversation);
        self
    }

    /// The credential's own identifier.
    pub fn token_id(mut self, token_id: &str) -> Self {
        self.facts.set(Field::TokenId, token_id);
        self
    }

    /// When the credential expires.
    pub fn expires_at(mut self, at: OffsetDateTime) -> Self {
        self.facts.expires = Some(at.into());
        self
    }

    /// When the credential was issued.
    pub fn issued_at(mut self, at: OffsetDateTime) -> Self {
        self.facts.issued = Some(at.into());
        self
    }

    /// Roles, added to those already named.
    pub fn roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for role in roles {
            self.facts.push(List::Roles, role.as_ref());
        }
        self
    }

    /// Scope tokens, separated by spaces, added to those already named.
    pub fn scope(mut self, scope: &str) -> Self {
        self.facts.push_words(List::Scope, scope);
        self
    }

    pub(crate) fn by_key(mut self) -> Self {
        self.facts.by_key = true;
        self
    }

    /// Permissions, added to those already named.
    pub fn permissions<I>(mut self, permissions: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for permission in permissions {
            self.facts.push(List::Permissions, permission.as_ref());
        }
        self
    }

    /// The principal.
    #[must_use]
    pub fn build(self) -> Principal {
        Principal::new(Arc::new(self.facts), None)
    }
}

impl fmt::Debug for PrincipalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalBuilder").finish_non_exhaustive()
    }
}

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
    /// `azp`, which stands in for a missing `client_id`.
    AuthorizedParty,
    /// `cid`, which stands in for both in the tokens of Okta.
    Cid,
    /// `conv`: the one conversation that the credential is for.
    Conversation,
}

const FIELDS: usize = 8;

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

    /// Makes `to` say what `from` says.
    pub(crate) fn copy(&mut self, from: Field, to: Field) {
        let span = self.fields.get(from as usize).copied().unwrap_or_default();
        if let Some(slot) = self.fields.get_mut(to as usize) {
            *slot = span;
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
