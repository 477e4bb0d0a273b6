//! What a session may do.

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Session;
use crate::error::StoreError;

/// What the access tokens of a session grant.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::session::Grants;
///
/// let grants = Grants::new()
///     .roles(["editor"])
///     .scope("orders:read orders:write")
///     .claim("tenant", 7);
/// assert_eq!(grants.scope_text(), "orders:read orders:write");
/// ```
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[must_use = "grants do nothing before a session is started with them"]
pub struct Grants {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, Value>,
}

impl Grants {
    /// Grants nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds roles: the claim `roles`.
    pub fn roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// The same with these roles and no others.
    pub fn with_roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.roles.clear();
        self.roles(roles)
    }

    /// The scope, space separated (RFC 6749 §3.3): the claim `scope`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Adds permissions: the claim `permissions`.
    pub fn permissions<I>(mut self, permissions: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let permissions = permissions.into_iter().map(Into::into);
        self.permissions.extend(permissions);
        self
    }

    /// A claim of the application's own. A claim that has a meaning of its own (`sub`, `roles`,
    /// `exp`, …) is refused when a token is minted, and nothing is written then.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// The scope as it is written in tokens and answers.
    #[must_use]
    pub fn scope_text(&self) -> &str {
        &self.scope
    }

    pub(super) fn apply_to(&self, token: crate::issue::AccessToken) -> crate::issue::AccessToken {
        token
            .roles(&self.roles)
            .scope(&self.scope)
            .permissions(&self.permissions)
            .claims(&self.claims)
    }
}

impl fmt::Debug for Grants {
    // Claims are personal data: their names are shown, their values are not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("roles", &self.roles)
            .field("scope", &self.scope)
            .field("permissions", &self.permissions)
            .field("claims", &self.claims.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Says what a session's subject may do now.
///
/// It is asked before every token is minted and before anything is written: at the start of a
/// session and at each refresh. So a role that was taken away is gone with the next access token,
/// and an account that was disabled gets none.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{error::StoreError, session::{GrantSource, Grants, Session}};
///
/// struct Staff;
///
/// impl GrantSource for Staff {
///     async fn grants(&self, session: &Session) -> Result<Option<Grants>, StoreError> {
///         Ok(match session.subject() {
///             "alice" => Some(Grants::new().roles(["editor"])),
///             _ => None,
///         })
///     }
/// }
/// ```
pub trait GrantSource: Send + Sync + 'static {
    /// What the session's subject may do; `None`: nothing at all, it is disabled or gone.
    ///
    /// A `None` uses nothing up: should the subject be enabled again, its session goes on.
    ///
    /// # Errors
    ///
    /// Any: the client is told to try again (503), and nothing was written. An answer that takes
    /// too long counts as one.
    fn grants(
        &self,
        session: &Session,
    ) -> impl Future<Output = Result<Option<Grants>, StoreError>> + Send;
}

/// A grant source whose answer is boxed, so that its type needs no name.
pub(crate) trait AnyGrantSource: Send + Sync {
    fn ask<'a>(&'a self, session: &'a Session) -> Asked<'a>;
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Option<Grants>, StoreError>> + Send + 'a>>;

impl<G: GrantSource> AnyGrantSource for G {
    fn ask<'a>(&'a self, session: &'a Session) -> Asked<'a> {
        Box::pin(self.grants(session))
    }
}

/// The grants that the session was started with.
///
/// It is what [`Sessions`](super::Sessions) use without a grant source and without endpoints. Pass it to
/// [`SessionsBuilder::grant_source`](super::SessionsBuilder::grant_source) to keep the grants of the
/// login beside [`AuthEndpoints`](crate::endpoints::AuthEndpoints) too.
///
/// # Security
///
/// A user who is disabled, or loses a role, keeps both until the session ends: for 90 days by default.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct KeptGrants;

impl GrantSource for KeptGrants {
    async fn grants(&self, session: &Session) -> Result<Option<Grants>, StoreError> {
        Ok(Some(session.grants().clone()))
    }
}
