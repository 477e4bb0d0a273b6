//! The caller of a request, and the parts of a token.
//!
//! A layer that authenticates inserts one of these values into the request's extensions:
//!
//! | value | inserted for |
//! |---|---|
//! | [`Principal`] | every authenticated caller, by a token or an API key |
//! | [`Verified<C>`](crate::Verified) | a caller with a token, in addition: its claims |
//! | [`Anonymous`] | a request without a credential, if the layer is optional |
//!
//! Handlers that serve one kind of caller use [`UserPrincipal`], [`GuestPrincipal`] or
//! [`AnyPrincipal`]. None of them accepts a service or an API key, whatever its subject is.
//! [`PrincipalKind`] distinguishes the kinds.
//!
//! Parts of a token: [`Claims`] holds all claims as JSON, for applications without a claims type.
//! [`Scope`] is a list of OAuth scopes. [`SessionId`] is the claim `sid` of tokens that this crate
//! issues.

mod claims;
mod facts;
mod identity;
mod scope;
mod session_id;

use std::{any::Any, fmt, sync::Arc};

pub(crate) use self::facts::{Facts, Field, HasFacts, List};
pub use self::{
    claims::Claims,
    identity::{AnyPrincipal, GuestPrincipal, UserPrincipal},
    scope::Scope,
    session_id::{ParseSessionIdError, SessionId},
};
use crate::time::{Timestamp, date::Date};

/// An authenticated caller.
///
/// Every authenticating layer of this crate inserts a `Principal` into the request's extensions,
/// where guards, handlers and extractors read it. It does not depend on the claims type of the
/// token. Cheap to clone.
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
    /// Creates a builder, for tests and for layers that authenticate by other means.
    pub fn builder() -> PrincipalBuilder {
        PrincipalBuilder::default()
    }

    #[inline]
    pub(crate) fn new(facts: Arc<dyn HasFacts>, origin: Option<Origin>) -> Self {
        Self { facts, origin }
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.facts.facts()
    }

    /// Returns the same caller with another origin.
    #[cfg(feature = "server")]
    pub(crate) fn with_origin(&self, origin: Option<Origin>) -> Self {
        Self {
            facts: Arc::clone(&self.facts),
            origin,
        }
    }

    /// Returns `true` if an API key authenticated the caller. A layer for tokens keeps such a
    /// principal.
    pub(crate) fn is_by_key(&self) -> bool {
        self.facts().by_key
    }

    /// Returns `true` for a user or a guest. A service or an API key is not a person, whatever its
    /// subject is (RFC 9700 §4.15).
    pub(crate) fn is_person(&self) -> bool {
        self.kind() != PrincipalKind::Service && !self.is_by_key()
    }

    /// Returns the kind of caller.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.facts().kind
    }

    /// Returns the subject: `sub`, or the claim set by
    /// [`subject_claim`](crate::verify::VerifierBuilder::subject_claim). Only RFC 9068 requires
    /// one, so other tokens may have none.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.facts().text(Field::Subject)
    }

    /// Returns the issuer (`iss`) of the credential. A subject is unique only within its issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.facts().text(Field::Issuer)
    }

    /// Returns the OAuth client to which the credential was issued: `client_id`, else `azp`, or the
    /// claims set by [`client_id_claim`](crate::verify::VerifierBuilder::client_id_claim).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.facts().text(Field::ClientId)
    }

    /// Returns the identifier of the token (`jti`), unique within its issuer.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.facts().text(Field::TokenId)
    }

    /// Returns the session of the token (`sid`).
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.facts().text(Field::SessionId)
    }

    /// Returns the subject's epoch at the time of issue (`ep`), a claim of this crate's tokens.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.facts().epoch
    }

    /// Returns the generation of the refresh token that was issued with the token (`rtg`), a claim
    /// of this crate's tokens.
    #[must_use]
    pub fn refresh_generation(&self) -> Option<u64> {
        self.facts().refresh_generation
    }

    /// Returns the time at which the credential expires (`exp`, without leeway).
    ///
    /// End a WebSocket or a stream that outlives its request at this time.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.facts().expires_at()
    }

    /// Returns the time at which the credential was issued (`iat`).
    #[must_use]
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.facts().issued.map(Date::to_timestamp)
    }

    /// Returns the methods by which the user authenticated (`amr`, RFC 8176), such as `pwd` and `otp`.
    /// Empty if the credential states none.
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::AuthMethods)
    }

    /// Returns the class of the authentication (`acr`, OpenID Connect Core §2). Its values are defined
    /// by the issuer.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.facts().text(Field::AuthContext)
    }

    /// Returns the time at which the user authenticated (`auth_time`, OpenID Connect Core §2). A refresh
    /// does not change it. To require a recent login, compare it with the current time.
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.facts().authenticated.map(Date::to_timestamp)
    }

    /// Returns the roles, in the order of the credential. Roles are compared byte by byte.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Roles)
    }

    /// Returns the scope tokens (RFC 6749 §3.3), in the order of the credential.
    pub fn scope(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Scope)
    }

    /// Returns the permissions (`permissions`), in the order of the credential.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.facts().list(List::Permissions)
    }

    /// Returns the only conversation for which the credential is valid (`conv`, a claim of this
    /// crate's tokens), or `None` for a credential without that limit. By default a verifier
    /// refuses tokens with this claim; see
    /// [`allow_conversation_tokens`](crate::verify::VerifierBuilder::allow_conversation_tokens).
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        self.facts().text(Field::Conversation)
    }

    /// Returns `true` if some or all of the credential's roles have an unreadable form.
    ///
    /// The credential may then contain roles that [`roles`](Self::roles) does not return. A rule
    /// that forbids a role cannot be decided, so
    /// [`Rule::none_of`](crate::layer::role_guard::Rule::none_of) and `!rule` do not hold for this caller.
    #[must_use]
    pub fn has_unreadable_roles(&self) -> bool {
        self.facts().unreadable_roles
    }

    /// Returns `true` if some or all of the credential's scope tokens have an unreadable form.
    #[must_use]
    pub fn has_unreadable_scope(&self) -> bool {
        self.facts().unreadable_scope
    }

    /// Returns `true` if the credential grants this role. A scope token of the same name does not
    /// count.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|granted| granted == role)
    }

    /// Returns `true` if the credential grants this scope token. A role of the same name does not
    /// count.
    #[must_use]
    pub fn has_scope(&self, token: &str) -> bool {
        self.scope().any(|granted| granted == token)
    }
}

impl fmt::Debug for Principal {
    // Subjects and identifiers are personal data and are not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

/// The kind of a [`Principal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person, or any other subject that is neither a service nor a guest. The default.
    #[default]
    User,
    /// A client that acts on its own behalf: the client credentials grant (RFC 6749 §4.4).
    ///
    /// No standard claim marks a token of a service. A verifier counts a token as a service's if one of
    /// these conditions holds:
    ///
    /// - The client is also the subject: `sub` equals `client_id` (or `azp`), or there is no `sub`. This
    ///   is the form of RFC 9068 §2.2, and of this crate's issuer.
    /// - `gty` is `client-credentials` (Auth0), or `idtyp` is `app` (Entra ID).
    /// - With a [`Provider`](crate::verify::Provider), also by the provider's mark: the subject
    ///   `<client>@clients` (Auth0), no `scp` (Entra ID), or `clientHost` (Keycloak).
    ///
    /// API keys have the kind that their [builder](../layer/api_key/struct.ApiKeysBuilder.html#method.kind) sets, a
    /// service by default.
    ///
    /// # Security
    ///
    /// Some issuers let clients choose an identifier that looks like a user's `sub` (RFC 9700
    /// §4.15). Never treat a service as the user with the same subject.
    /// [`UserPrincipal`] and [`require_kind`](Principal::require_kind) do not.
    Service,
    /// A visitor who has not signed in.
    Guest,
}

impl PrincipalKind {
    /// Returns the name of the kind: `user`, `service` or `guest`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Guest => "guest",
        }
    }
}

/// A marker for requests without a caller. An optional layer inserts it into the request's
/// extensions.
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

/// The responder and events of the authenticating layer, for the guards inside it.
///
/// The type is erased because responses belong to HTTP, and a principal does not depend on HTTP.
#[derive(Clone)]
pub(crate) struct Origin(pub(crate) Arc<dyn Any + Send + Sync>);

/// A builder of a [`Principal`].
#[derive(Default)]
#[must_use = "nothing is built before `build` is called"]
pub struct PrincipalBuilder {
    facts: Facts,
}

impl PrincipalBuilder {
    /// Sets the kind of caller. The default is a user.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.facts.kind = kind;
        self
    }

    /// Sets the subject.
    pub fn subject(mut self, subject: &str) -> Self {
        self.facts.set(Field::Subject, subject);
        self
    }

    /// Sets the issuer, within which the subject is unique.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.facts.set(Field::Issuer, issuer);
        self
    }

    /// Sets the OAuth client.
    pub fn client_id(mut self, client_id: &str) -> Self {
        self.facts.set(Field::ClientId, client_id);
        self
    }

    /// Sets the session.
    pub fn session_id(mut self, session_id: &str) -> Self {
        self.facts.set(Field::SessionId, session_id);
        self
    }

    /// Sets the subject's epoch at the time of issue.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.facts.epoch = Some(epoch);
        self
    }

    /// Sets the generation of the refresh token that was issued with the credential.
    pub fn refresh_generation(mut self, generation: u64) -> Self {
        self.facts.refresh_generation = Some(generation);
        self
    }

    /// Limits the credential to a single conversation.
    pub fn conversation(mut self, conversation: &str) -> Self {
        self.facts.set(Field::Conversation, conversation);
        self
    }

    /// Sets the identifier of the credential.
    pub fn token_id(mut self, token_id: &str) -> Self {
        self.facts.set(Field::TokenId, token_id);
        self
    }

    /// Sets the time at which the credential expires.
    pub fn expires_at(mut self, at: impl Into<Timestamp>) -> Self {
        self.facts.expires = Some(Date::of(at.into()));
        self
    }

    /// Sets the time at which the credential was issued.
    pub fn issued_at(mut self, at: impl Into<Timestamp>) -> Self {
        self.facts.issued = Some(Date::of(at.into()));
        self
    }

    /// Adds methods by which the user authenticated.
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for method in methods {
            self.facts.push(List::AuthMethods, method.as_ref());
        }
        self
    }

    /// Sets the class of the authentication.
    pub fn acr(mut self, class: &str) -> Self {
        self.facts.set(Field::AuthContext, class);
        self
    }

    /// Sets the time at which the user authenticated.
    pub fn auth_time(mut self, at: impl Into<Timestamp>) -> Self {
        self.facts.authenticated = Some(Date::of(at.into()));
        self
    }

    /// Adds roles.
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

    /// Adds scope tokens, separated by spaces.
    pub fn scope(mut self, scope: &str) -> Self {
        self.facts.push_words(List::Scope, scope);
        self
    }

    /// Records that the credential has roles in an unreadable form; see
    /// [`Principal::has_unreadable_roles`].
    pub fn unreadable_roles(mut self) -> Self {
        self.facts.set_unreadable(List::Roles);
        self
    }

    /// Records that the credential has scope tokens in an unreadable form; see
    /// [`Principal::has_unreadable_scope`].
    pub fn unreadable_scope(mut self) -> Self {
        self.facts.set_unreadable(List::Scope);
        self
    }

    #[cfg(feature = "server")]
    pub(crate) fn by_key(mut self) -> Self {
        self.facts.by_key = true;
        self
    }

    /// Adds permissions.
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

    /// Builds the principal.
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
