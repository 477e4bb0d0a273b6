//! A claims source that reads the users' current roles.

use crate::{
    error::StoreError,
    principal::PrincipalKind,
    server::{
        login::Login,
        session::{ClaimsOrigin, ClaimsSource, Session, SessionClaims},
    },
    store::port::{ThrottleStore, UserStanding, UserStore},
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
#[derive(Clone, Debug)]
pub struct UserClaims<U> {
    users: U,
}

impl<U: UserStore> UserClaims<U> {
    /// Creates a claims source over these users.
    #[must_use]
    pub fn new(users: U) -> Self {
        Self { users }
    }
}

impl<U: UserStore> ClaimsSource for UserClaims<U> {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        of_users(&self.users, session).await
    }

    fn origin(&self) -> ClaimsOrigin {
        origin(&self.users)
    }
}

impl<U: UserStore, T: ThrottleStore> ClaimsSource for Login<U, T> {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        of_users(self.users(), session).await
    }

    fn origin(&self) -> ClaimsOrigin {
        origin(self.users())
    }
}

async fn of_users(
    users: &impl UserStore,
    session: &Session,
) -> Result<Option<SessionClaims>, StoreError> {
    if session.kind() != PrincipalKind::User {
        return Ok(Some(session.claims().clone()));
    }
    let user = users.find_by_subject(session.subject()).await?;
    let user = user.map(|user| UserStanding::new(user.roles, user.disabled));
    Ok(session.claims_of(user))
}

fn origin(users: &impl UserStore) -> ClaimsOrigin {
    users
        .store_id()
        .map_or(ClaimsOrigin::Elsewhere, ClaimsOrigin::Users)
}
