//! Hashing and verification, off the async threads.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Argon2Cost, Password, PasswordHash, PasswordHasherBuilder, PasswordRule,
    pepper::Peppers,
    pool::{Caller, Permit, Pool},
    stored::{self, ReadHash},
};

/// Hashes and verifies passwords, off the async threads and with a limit on concurrent hashes.
///
/// New hashes are Argon2id. Argon2id, Argon2i, Argon2d and bcrypt (`2a`, `2b`, `2y`) are verified.
/// Clones share one pool.
///
/// # Security
///
/// - Imported hashes are untrusted input. A stored hash that requires more than 1 GiB, 20 passes,
///   16 lanes, 4 GiB of memory times passes, or a bcrypt cost above 15 is refused before any
///   allocation.
/// - bcrypt uses only the first 72 bytes. A longer password is verified by these, but its hash is
///   not replaced, because the remaining bytes were not verified.
/// - Argon2 receives the password in NFKC. An imported Argon2 hash of a password that was not in
///   NFKC never verifies. bcrypt receives the password as it was typed.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_jwt_auth::server::login::PasswordError> {
/// use tower_jwt_auth::server::login::{Password, PasswordHasher};
///
/// let hasher = PasswordHasher::new();
/// let password = Password::new("correct horse battery staple".to_owned())?;
/// let hash = hasher.hash(&password).await?;
/// assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
/// assert!(hasher.verify(&password, Some(&hash)).await?.matches());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PasswordHasher {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) cost: Argon2Cost,
    pub(super) peppers: Peppers,
    pub(super) dummy: ReadHash,
    pub(super) pool: Pool,
}

impl PasswordHasher {
    /// Creates a hasher with the defaults: 19 MiB, 2 passes, 1 lane, as many concurrent hashes as
    /// there are cores, and a queue of 64 with a maximum wait of 2 s.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the defaults are in their range, a test builds them"
    )]
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults are valid")
    }

    /// Creates a builder with the defaults.
    pub fn builder() -> PasswordHasherBuilder {
        PasswordHasherBuilder::new()
    }

    pub(super) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Hashes a password with the current cost and pepper.
    ///
    /// The policy for new passwords is not applied;
    /// [`Login::hash_new`](crate::server::login::Login::hash_new) applies it.
    ///
    /// # Errors
    ///
    /// - [`PasswordError::Busy`]: the queue is full or the wait was too long. The HTTP status is
    ///   503.
    /// - [`PasswordError::Failed`]: memory for the hash could not be allocated.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future frees its permit immediately while it waits. At work the permit is freed when
    /// the work is done.
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordError> {
        self.hash_for(Caller::UNKNOWN, password).await
    }

    /// Hashes as [`hash`](Self::hash) does, within the share of this caller.
    pub(in crate::server::login) async fn hash_for(
        &self,
        caller: Caller,
        password: &Password,
    ) -> Result<PasswordHash, PasswordError> {
        let permit = self.permit(caller)?;
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || stored::make(&password, inner.cost, inner.peppers.current());
        self.inner.pool.run(permit, work).await?
    }

    /// Returns a hash that no password matches. Nothing is hashed.
    pub(in crate::server::login) fn unmatched(&self) -> Result<PasswordHash, PasswordError> {
        stored::unmatched(self.inner.cost, self.inner.peppers.current())
    }

    /// Verifies a password against a stored hash. Without a hash it does the same work and returns
    /// a mismatch, so that timing does not reveal unknown users.
    ///
    /// # Errors
    ///
    /// - [`PasswordError::UnusableHash`]: the stored text is not a supported hash, exceeds the
    ///   limits, or names an unknown pepper. The error is returned without hashing. To hide that
    ///   the user exists, verify again without a hash.
    /// - [`PasswordError::Busy`], [`PasswordError::Failed`]: as for [`hash`](Self::hash).
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// As for [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: &Password,
        stored: Option<&PasswordHash>,
    ) -> Result<Verification, PasswordError> {
        let stored = stored.map(ReadHash::parse).transpose()?;
        let permit = self.permit(Caller::UNKNOWN)?;
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || inner.compare(&password, stored.as_ref());
        self.inner.pool.run(permit, work).await?
    }

    /// Returns a permit for [`verify_at`](Self::verify_at), if one is free.
    pub(in crate::server::login) fn permit(&self, caller: Caller) -> Result<Permit, PasswordError> {
        self.inner.pool.enter(caller)
    }

    /// Verifies a password with this permit. An unusable hash gives `None`, after the same time as any
    /// other.
    pub(in crate::server::login) async fn verify_at(
        &self,
        permit: Permit,
        password: &Password,
        stored: Option<&PasswordHash>,
    ) -> Result<Option<Verification>, PasswordError> {
        let stored = stored.map(ReadHash::parse).transpose();
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || {
            let compared = stored.and_then(|stored| inner.compare(&password, stored.as_ref()));
            match compared {
                // An unusable hash is detected without hashing: do the same work as for others.
                Err(PasswordError::UnusableHash) => inner.compare(&password, None).map(|_| None),
                compared => compared.map(Some),
            }
        };
        self.inner.pool.run(permit, work).await?
    }
}

impl Inner {
    fn compare(
        &self,
        password: &Password,
        stored: Option<&ReadHash>,
    ) -> Result<Verification, PasswordError> {
        let hash = stored.unwrap_or(&self.dummy);
        let matches = hash.verifies(password, &self.peppers)? && stored.is_some();
        Ok(Verification {
            matches,
            outdated: matches && hash.is_outdated(password, self.cost, self.peppers.current()),
        })
    }
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher")
            .field("cost", &self.inner.cost)
            .field("peppers", &self.inner.peppers)
            .field("pool", &self.inner.pool)
            .finish_non_exhaustive()
    }
}

/// The result of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verification {
    matches: bool,
    outdated: bool,
}

impl Verification {
    /// Returns `true` if the password is correct.
    #[must_use]
    pub fn matches(self) -> bool {
        self.matches
    }

    /// Returns `true` if the password is correct and the stored hash should be replaced, because it
    /// is bcrypt or has another cost or an older pepper.
    #[must_use]
    pub fn is_outdated(self) -> bool {
        self.outdated
    }
}

/// The reason why a password could not be accepted, hashed or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The password is empty.
    #[error("the password is empty")]
    Empty,
    /// The password exceeds 1024 bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// A new password fails a rule of the [`PasswordPolicy`](super::PasswordPolicy).
    #[error(transparent)]
    Refused(PasswordRule),
    /// The stored text is not a usable hash.
    #[error("the stored hash cannot be used")]
    UnusableHash,
    /// The queue for password hashing is full, or the wait was too long.
    #[error("too many passwords are being hashed")]
    Busy {
        /// The time after which a new attempt may succeed.
        retry_after: Duration,
    },
    /// Memory for the hash could not be allocated, or the computation failed.
    #[error("the password could not be hashed")]
    Failed,
}
