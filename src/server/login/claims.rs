//! A claims source that reads the users' current roles.

use std::{fmt, sync::Arc};

use crate::{
    error::StoreError,
    principal::PrincipalKind,
    server::{
        login::Login,
        session::{ClaimsOrigin, ClaimsSource, Session, SessionClaims},
    },
    store::port::{ErasedUserStore, UserStanding, UserStore},
};

/// A claims source that reads a user's current roles at every refresh, and refuses disabled and
/// deleted users.
///
/// Scope, permissions and claims stay those of the start of the session. Sessions of guests and
/// services keep all their claims, because the user store does not contain them.
///
/// [`AuthEndpoints`](crate::server::endpoints::AuthEndpoints) do the same by default, with the users of
/// their [`Login`].
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{
///     key::{Algorithm, SigningKey},
///     server::{
///         issue::{KeyRing, TokenIssuer},
///         login::UserClaims,
///         session::Sessions,
///     },
///     store::MemoryStore,
/// };
///
/// let store = MemoryStore::new();
/// let issuer = TokenIssuer::builder(KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?)
///     .issuer("https://auth.example")
///     .audience("api")
///     .build()?;
/// let sessions = Sessions::builder(issuer, store.clone())
///     .claims_source(UserClaims::new(store))
///     .build()?;
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct UserClaims {
    users: Arc<dyn ErasedUserStore>,
}

impl UserClaims {
    /// Creates a claims source over these users.
    ///
    /// The users need not be in the store of the sessions. If they are, a refresh reads the user in the
    /// statement that changes the session.
    #[must_use]
    pub fn new(users: impl UserStore) -> Self {
        Self {
            users: Arc::new(users),
        }
    }
}

impl ClaimsSource for UserClaims {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        if session.kind() != PrincipalKind::User {
            return Ok(Some(session.claims().clone()));
        }
        let user = self.users.find_by_subject(session.subject()).await?;
        let user = user.map(|user| UserStanding::new(user.roles, user.disabled));
        Ok(session.claims_of(user))
    }

    fn origin(&self) -> ClaimsOrigin {
        let users = self.users.store_id();
        users.map_or(ClaimsOrigin::Elsewhere, ClaimsOrigin::Users)
    }
}

impl fmt::Debug for UserClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserClaims").finish_non_exhaustive()
    }
}

impl Login {
    /// Returns the claims source over the users of this login.
    pub(crate) fn user_claims(&self) -> UserClaims {
        UserClaims {
            users: Arc::clone(&self.inner.users),
        }
    }
}
