//! Who may sign in, and the port to where they are kept.

use std::future::Future;

use crate::{
    error::StoreError,
    login::{Identifier, PasswordHash},
};

/// Somebody who may sign in, as a store knows them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct User {
    /// What tokens name them by; it never changes and is never given to anybody else.
    pub subject: String,
    /// The hash of their password; `None` for those who sign in otherwise.
    pub password: Option<PasswordHash>,
    /// Their roles.
    pub roles: Vec<String>,
    /// Whether they may not sign in now.
    pub disabled: bool,
    /// Their epoch in the session store, where `find` reads it along; else it is asked for.
    pub epoch: Option<u32>,
}

impl User {
    /// Somebody without a password and without roles.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            password: None,
            roles: Vec::new(),
            disabled: false,
            epoch: None,
        }
    }

    /// Sets the password's hash.
    #[must_use]
    pub fn password(mut self, hash: PasswordHash) -> Self {
        self.password = Some(hash);
        self
    }

    /// Sets the roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether they may not sign in.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Sets the epoch, as the session store has it at the same moment.
    #[must_use]
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

/// Somebody who registers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUser {
    /// What tokens will name them by.
    pub subject: String,
    /// What they will sign in with.
    pub identifier: Identifier,
    /// The hash of their password.
    pub password: PasswordHash,
    /// Their roles.
    pub roles: Vec<String>,
}

impl NewUser {
    /// Somebody without roles.
    #[must_use]
    pub fn new(subject: impl Into<String>, identifier: Identifier, password: PasswordHash) -> Self {
        Self {
            subject: subject.into(),
            identifier,
            password,
            roles: Vec::new(),
        }
    }

    /// Sets the roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }
}

/// Where users are kept.
///
/// A project with a table of its own implements this on it; `find` and `replace_hash` are enough
/// for signing in, `find_by_subject` serves refreshes and changes of the password, and a project that
/// registers people elsewhere answers `false` to `create`. The stores of this crate implement
/// [`UserAdmin`](crate::login::UserAdmin) as well.
///
/// # Security
///
/// - `find` compares byte by byte with identifiers that were brought to the same form
///   ([`Identifier::new`] for a new one, [`Identifier::existing`] for what was there before) when they
///   were stored. A collation that finds `ada` under `ÁDA` or under
///   `ada ` gives a guesser fresh counters for each spelling.
/// - `find` takes the same way whether there is such a user or not: what only one of the two does (a
///   second query, a join over many rows) can be measured from outside.
/// - The text of a hash is written nowhere but into its column.
pub trait UserStore: Send + Sync + 'static {
    /// The user who signs in with this identifier, disabled ones included.
    fn find(
        &self,
        identifier: &Identifier,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// The user of this subject, disabled ones included.
    fn find_by_subject(
        &self,
        subject: &str,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// Replaces the hash of a user's password where it still is `old`, byte by byte; `false` where it
    /// is not, or there is no such user, and nothing was written.
    ///
    /// One statement: `UPDATE … SET hash = $new WHERE subject = $subject AND hash = $old`. A password
    /// that is changed at the same time thus wins over the upgrade of the old one's hash.
    fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Keeps a new user; `false` where the subject or the identifier is taken. Never overwrites.
    fn create(&self, user: NewUser) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
