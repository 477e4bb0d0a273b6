//! Who is calling, whatever the credential was.

mod facts;

use std::{any::Any, fmt, sync::Arc};

use time::OffsetDateTime;

pub(crate) use self::facts::{Facts, Field, HasFacts, List};
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

    /// Returns `true` for a user and a guest. A service and an API key are no person, whatever they
    /// are named (RFC 9700 §4.15).
    pub(crate) fn is_person(&self) -> bool {
        self.kind() != PrincipalKind::Service && !self.is_by_key()
    }

    /// What kind of caller this is.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.facts().kind
    }

    /// Returns the subject: `sub`, unless
    /// [another claim](crate::verify::VerifierBuilder::subject_claim) was chosen. Outside RFC 9068 a
    /// token may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts().text(Field::Subject)
    }

    /// The issuer (`iss`) of the credential. A subject is unique within its issuer only.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts().text(Field::Issuer)
    }

    /// Returns the OAuth client that the credential was issued to: `client_id`, else `azp`, unless
    /// [other claims](crate::verify::VerifierBuilder::client_id_claim) were chosen.
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

    /// Returns `true` if the credential has roles in a form that could not be read, all or some of
    /// them.
    ///
    /// It may then hold roles that [`roles`](Self::roles) does not return, so that no rule that
    /// forbids a role can be decided: [`Rule::none_of`](crate::role_guard::Rule::none_of) and
    /// `!rule` do not hold for this caller.
    #[must_use]
    pub fn has_unreadable_roles(&self) -> bool {
        self.facts().unreadable_roles
    }

    /// Returns `true` if the credential has scope tokens in a form that could not be read, all or
    /// some of them.
    #[must_use]
    pub fn has_unreadable_scope(&self) -> bool {
        self.facts().unreadable_scope
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

    /// Records that the credential has roles in a form that could not be read; see
    /// [`Principal::has_unreadable_roles`].
    pub fn unreadable_roles(mut self) -> Self {
        self.facts.set_unreadable(List::Roles);
        self
    }

    /// Records that the credential has scope tokens in a form that could not be read; see
    /// [`Principal::has_unreadable_scope`].
    pub fn unreadable_scope(mut self) -> Self {
        self.facts.set_unreadable(List::Scope);
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
