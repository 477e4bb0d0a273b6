//! A claims source that reads the users' current roles.

use std::{fmt, sync::Arc};

use crate::{
    error::StoreError,
    principal::PrincipalKind,
    server::{
        login::Login,
        session::{ClaimsOrigin, ClaimsSource, Session, SessionClaims},
    },
    store::port::{ErasedUserStore, UserRecord, UserStanding, UserStore},
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
    email: EmailClaims,
}

/// The claims about the address of a user in access tokens (OpenID Connect Core §5.1).
///
/// They are read from the user's record at the start of a session and at every refresh. A token that was
/// issued before the address was verified or changed keeps its claims until the next refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailClaims {
    /// None.
    #[default]
    None,
    /// `email_verified`; `false` for a user without an address.
    Verified,
    /// `email` and `email_verified`. Everyone who reads the token learns the address.
    Address,
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
            email: EmailClaims::None,
        }
    }

    /// Adds claims about the user's address. A refresh then reads the user in a query of its own.
    #[must_use]
    pub fn email(mut self, claims: EmailClaims) -> Self {
        self.email = claims;
        self
    }
}

impl ClaimsSource for UserClaims {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        if session.kind() != PrincipalKind::User {
            return Ok(Some(session.claims().clone()));
        }
        let user = self.users.find_by_subject(session.subject()).await?;
        let address = user.as_ref().map(|user| self.email.of(user));
        let user = user.map(|user| UserStanding::new(user.roles, user.disabled));
        let claims = session.claims_of(user);
        Ok(claims.map(|claims| match address {
            Some(address) => address.add_to(claims),
            None => claims,
        }))
    }

    fn origin(&self) -> ClaimsOrigin {
        if self.email != EmailClaims::None {
            // The query that refreshes a session reads no address.
            return ClaimsOrigin::Elsewhere;
        }
        let users = self.users.store_id();
        users.map_or(ClaimsOrigin::Elsewhere, ClaimsOrigin::Users)
    }
}

impl EmailClaims {
    fn of(self, user: &UserRecord) -> AddressClaims {
        AddressClaims {
            email: match (self, &user.email) {
                (Self::Address, Some(address)) => Some(address.as_str().to_owned()),
                _ => None,
            },
            verified: (self != Self::None).then_some(user.email_verified),
        }
    }
}

/// The claims of one user.
struct AddressClaims {
    email: Option<String>,
    verified: Option<bool>,
}

impl AddressClaims {
    fn add_to(self, mut claims: SessionClaims) -> SessionClaims {
        if let Some(email) = self.email {
            claims = claims.claim("email", email);
        }
        match self.verified {
            Some(verified) => claims.claim("email_verified", verified),
            None => claims,
        }
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
            email: self.inner.email_claims,
        }
    }
}
