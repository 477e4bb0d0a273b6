//! What an administrator does with users.

use std::future::Future;

use crate::{
    clock::Timestamp,
    error::StoreError,
    login::{Identifier, PasswordHash, UserStore},
};

/// A user as lists show them: without a password's hash.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserEntry {
    /// What tokens name them by.
    pub subject: String,
    /// What they sign in with.
    pub identifier: Identifier,
    /// Their roles.
    pub roles: Vec<String>,
    /// Whether they may not sign in now.
    pub disabled: bool,
    /// When they were created.
    pub created_at: Timestamp,
}

impl UserEntry {
    /// Somebody without roles who may sign in.
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

/// What an administrator does with users, where this crate keeps them.
///
/// A project with a table of its own needs none of it.
///
/// # Security
///
/// None of these ends a session. Whoever is disabled, or has lost a role, loses it with the next
/// refresh where the sessions ask [`UserGrants`](crate::login::UserGrants); to end it at once, revoke
/// all of the subject's sessions after the change, not before it.
pub trait UserAdmin: UserStore {
    /// Users in the order of their identifiers' bytes, after this one; at most `limit`.
    fn users(
        &self,
        after: Option<&Identifier>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<UserEntry>, StoreError>> + Send;

    /// Sets the roles; `false` where there is no such user.
    fn set_roles(
        &self,
        subject: &str,
        roles: &[String],
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets whether they may not sign in; `false` where there is no such user.
    fn set_disabled(
        &self,
        subject: &str,
        disabled: bool,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Sets the password's hash, whatever it was; `false` where there is no such user.
    ///
    /// The method for a user with a password is
    /// [`Login::set_password`](crate::login::Login::set_password), which also applies the policy, ends the
    /// sessions and forgets the tokens for a reset.
    fn set_password(
        &self,
        subject: &str,
        hash: &PasswordHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
