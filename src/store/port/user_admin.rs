//! Administration of users.

use std::future::Future;

use crate::{
    error::StoreError,
    server::login::{Identifier, PasswordHash},
    store::port::UserStore,
    time::Timestamp,
};

/// A user in a list, without the password hash.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserEntry {
    /// The subject in the user's tokens.
    pub subject: String,
    /// The identifier with which the user signs in.
    pub identifier: Identifier,
    /// The user's roles.
    pub roles: Vec<String>,
    /// `true` if the user may not sign in.
    pub disabled: bool,
    /// The time at which the user was created.
    pub created_at: Timestamp,
}

impl UserEntry {
    /// Creates an enabled user without roles.
    #[must_use]
    pub fn new(subject: impl Into<String>, identifier: Identifier, created_at: Timestamp) -> Self {
        Self {
            subject: subject.into(),
            identifier,
            roles: Vec::new(),
            disabled: false,
            created_at,
        }
    }
}

/// Administration of users, for the stores of this crate.
///
/// A project with a custom user table does not need this trait.
///
/// # Security
///
/// No method ends a session. A disabled user, or a user who lost a role, keeps the access until the
/// next refresh, if the sessions read the roles of their users
/// ([`UserClaims`](crate::server::login::UserClaims)). To end it immediately, revoke all sessions of the subject
/// after the change, not before it.
pub trait UserAdmin: UserStore {
    /// Returns at most `limit` users with identifiers after `after`, in the byte order of the
    /// identifiers.
    fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<UserEntry>, StoreError>> + Send;

    /// Sets the roles. Returns `false` if there is no such user.
    fn set_roles(
        &self,
        subject: &str,
        roles: &[String],
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Disables or enables a user. Returns `false` if there is no such user.
    fn set_disabled(
        &self,
        subject: &str,
        disabled: bool,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets the password hash unconditionally. Returns `false` if there is no such user.
    ///
    /// To set a user's password, call [`Login::set_password`](crate::server::login::Login::set_password),
    /// which also applies the policy, ends the sessions and invalidates the tokens for a reset.
    fn set_password(
        &self,
        subject: &str,
        hash: &PasswordHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
