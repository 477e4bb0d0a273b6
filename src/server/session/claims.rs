//! The claims of a session, and their source.

use std::{collections::BTreeMap, fmt, future::Future};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Session;
use crate::{
    erased::erased,
    error::StoreError,
    principal::PrincipalKind,
    store::port::{StoreId, UserStanding},
};

/// The roles, scope, permissions and custom claims in the access tokens of a session.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::session::SessionClaims;
///
/// let claims = SessionClaims::new()
///     .roles(["editor"])
///     .scope("orders:read orders:write")
///     .claim("tenant", 7);
/// assert_eq!(claims.scope_text(), "orders:read orders:write");
/// ```
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[must_use = "claims do nothing before a session is started with them"]
pub struct SessionClaims {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, Value>,
}

impl SessionClaims {
    /// Creates claims without roles, scope or permissions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds roles, the claim `roles`.
    pub fn roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// Replaces all roles with these.
    pub fn with_roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.roles.clear();
        self.roles(roles)
    }

    /// Sets the scope, space separated (RFC 6749 §3.3): the claim `scope`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Adds permissions, the claim `permissions`.
    pub fn permissions<I>(mut self, permissions: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let permissions = permissions.into_iter().map(Into::into);
        self.permissions.extend(permissions);
        self
    }

    /// Adds a custom claim.
    ///
    /// A claim that the issuer sets (`sub`, `roles`, `exp`, …) is refused when the token is issued,
    /// before anything is written.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Returns the scope as it is written in tokens and responses.
    #[must_use]
    pub fn scope_text(&self) -> &str {
        &self.scope
    }

    pub(super) fn apply_to(
        &self,
        token: crate::server::issue::AccessTokenClaims,
    ) -> crate::server::issue::AccessTokenClaims {
        token
            .roles(&self.roles)
            .scope(&self.scope)
            .permissions(&self.permissions)
            .claims(&self.claims)
    }
}

impl fmt::Debug for SessionClaims {
    // Claims are personal data: their names are shown, their values are not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionClaims")
            .field("roles", &self.roles)
            .field("scope", &self.scope)
            .field("permissions", &self.permissions)
            .field("claims", &self.claims.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A source of the current claims of a session's subject.
///
/// It is called before every access token: at the start of a session and at each refresh, and before
/// anything is written. A role that was removed is therefore missing from the next access token,
/// and a disabled account gets no further token.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{
///     error::StoreError,
///     server::session::{ClaimsSource, Session, SessionClaims},
/// };
///
/// struct Staff;
///
/// impl ClaimsSource for Staff {
///     async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
///         Ok(match session.subject() {
///             "alice" => Some(SessionClaims::new().roles(["editor"])),
///             _ => None,
///         })
///     }
/// }
/// ```
pub trait ClaimsSource: Send + Sync + 'static {
    /// Returns the subject's current claims; `None` if the subject is disabled or deleted.
    ///
    /// `None` uses no refresh token up: if the subject is enabled again, its session continues.
    ///
    /// # Errors
    ///
    /// Any error makes the refresh fail with 503, and nothing is written. A call that exceeds
    /// [`claims_timeout`](super::SessionsBuilder::claims_timeout) counts as an error.
    fn claims(
        &self,
        session: &Session,
    ) -> impl Future<Output = Result<Option<SessionClaims>, StoreError>> + Send;

    /// Returns the origin of the claims. It decides how many queries a refresh needs.
    #[doc(hidden)]
    fn origin(&self) -> ClaimsOrigin {
        ClaimsOrigin::Elsewhere
    }
}

/// The origin of the claims of a session.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsOrigin {
    /// From the session itself.
    Session,
    /// From the user table of this store, as [`Session::claims_of`].
    Users(StoreId),
    /// From somewhere that has to be called.
    Elsewhere,
}

impl Session {
    /// Returns the claims of a session whose subject has this standing in the user table; `None` if
    /// the subject may not refresh. Guests and services are not in the table and keep their claims.
    pub(crate) fn claims_of(&self, user: Option<UserStanding>) -> Option<SessionClaims> {
        let kept = self.claims().clone();
        if self.kind() != PrincipalKind::User {
            return Some(kept);
        }
        let user = user.filter(|user| !user.disabled)?;
        Some(kept.with_roles(user.roles))
    }
}

erased! {
    pub(crate) trait ErasedClaimsSource: ClaimsSource {
        async fn claims(&self, session: &'a Session) -> Result<Option<SessionClaims>, StoreError>;
        fn origin(&self) -> ClaimsOrigin;
    }
}

/// The source that returns the claims with which the session was started.
///
/// [`Sessions`](super::Sessions) use it if they have neither a claims source nor endpoints. Pass it
/// to [`SessionsBuilder::claims_source`](super::SessionsBuilder::claims_source) to keep the claims of
/// the login with [`AuthEndpoints`](crate::server::endpoints::AuthEndpoints) too.
///
/// # Security
///
/// A user who is disabled or loses a role keeps the access until the session ends: for 90 days by
/// default.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct StaticClaims;

impl ClaimsSource for StaticClaims {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        Ok(Some(session.claims().clone()))
    }

    fn origin(&self) -> ClaimsOrigin {
        ClaimsOrigin::Session
    }
}
