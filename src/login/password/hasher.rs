//! Makes and verifies hashes off the async threads.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Argon2Cost, Password, PasswordHash, PasswordHasherBuilder, PasswordRule,
    pepper::Peppers,
    pool::{Caller, Place, Pool},
    stored::{self, ReadHash},
};

/// Makes and verifies password hashes, off the async threads and only so many at a time.
///
/// New hashes are Argon2id. Argon2id, i and d and bcrypt (`2a`, `2b`, `2y`) are verified.
/// Clones share one pool.
///
/// # Security
///
/// - A stored hash that asks for more than 1 GiB, 20 passes, 16 lanes, 4 GiB of memory times passes,
///   or bcrypt's cost over 15 is refused before anything is allocated: imported hashes are input.
/// - bcrypt looks at 72 bytes only. A longer password is verified as such, by those 72, but its hash
///   is not replaced: nobody verified the rest.
/// - Argon2 is given the password in NFKC. An imported Argon2 hash of a password that was not in NFKC
///   never verifies; bcrypt is given the password as it was typed.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_jwt_auth::login::PasswordError> {
/// use tower_jwt_auth::login::{Password, PasswordHasher};
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
    /// 19 MiB, 2 passes, 1 lane; as many at a time as there are cores, 64 waiting for up to 2 s.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the defaults are in their range, a test builds them"
    )]
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults are valid")
    }

    /// To choose otherwise.
    pub fn builder() -> PasswordHasherBuilder {
        PasswordHasherBuilder::new()
    }

    pub(super) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Makes a hash with the current cost and pepper, of any password: the policy for new ones is
    /// [`Login::hash_new`](crate::login::Login::hash_new)'s.
    ///
    /// # Errors
    ///
    /// - [`PasswordError::Busy`]: too many others; HTTP says 503.
    /// - [`PasswordError::Failed`]: the operating system has no memory for it.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives a place in the queue back at once, and a place at work when the work
    /// is done.
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordError> {
        self.hash_for(Caller::UNKNOWN, password).await
    }

    /// As [`hash`](Self::hash), in the share of this caller.
    pub(in crate::login) async fn hash_for(
        &self,
        caller: Caller,
        password: &Password,
    ) -> Result<PasswordHash, PasswordError> {
        let place = self.place(caller)?;
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || stored::make(&password, inner.cost, inner.peppers.current());
        self.inner.pool.run(place, work).await?
    }

    /// Compares a password with what is stored; with nothing stored, takes the same time and says no.
    ///
    /// # Errors
    ///
    /// - [`PasswordError::UnusableHash`]: the stored text is no hash that is known here, asks for too
    ///   much, or names an unknown pepper. This is told at once: a caller who must not tell that the
    ///   user exists verifies against nothing then.
    /// - [`PasswordError::Busy`], [`PasswordError::Failed`]: as for [`hash`](Self::hash).
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with time.
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
        let place = self.place(Caller::UNKNOWN)?;
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || inner.compare(&password, stored.as_ref());
        self.inner.pool.run(place, work).await?
    }

    /// A place for [`verify_at`](Self::verify_at), where one is free.
    pub(in crate::login) fn place(&self, caller: Caller) -> Result<Place, PasswordError> {
        self.inner.pool.enter(caller)
    }

    /// Compares a password at this place; a hash that cannot be used is
    /// `None`, after as long as any other.
    pub(in crate::login) async fn verify_at(
        &self,
        place: Place,
        password: &Password,
        stored: Option<&PasswordHash>,
    ) -> Result<Option<Verification>, PasswordError> {
        let stored = stored.map(ReadHash::parse).transpose();
        let (inner, password) = (Arc::clone(&self.inner), password.clone());
        let work = move || {
            let compared = stored.and_then(|stored| inner.compare(&password, stored.as_ref()));
            match compared {
                // That was refused at once: take the time all the same.
                Err(PasswordError::UnusableHash) => inner.compare(&password, None).map(|_| None),
                compared => compared.map(Some),
            }
        };
        self.inner.pool.run(place, work).await?
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

/// What came of comparing a password with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verification {
    matches: bool,
    outdated: bool,
}

impl Verification {
    /// Whether the password is the right one.
    #[must_use]
    pub fn matches(self) -> bool {
        self.matches
    }

    /// Whether the password is right and a new hash of it should replace the stored one: bcrypt,
    /// another cost, an older pepper.
    #[must_use]
    pub fn is_outdated(self) -> bool {
        self.outdated
    }
}

/// Why a password could not be taken, hashed or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// There is no password.
    #[error("the password is empty")]
    Empty,
    /// More than 1024 bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// A new password that fails a rule of the [`PasswordPolicy`](super::PasswordPolicy).
    #[error(transparent)]
    Refused(PasswordRule),
    /// What is stored is no hash that can be used.
    #[error("the stored hash cannot be used")]
    UnusableHash,
    /// Too many others hash passwords now.
    #[error("too many passwords are being hashed")]
    Busy {
        /// After how long a new attempt may succeed.
        retry_after: Duration,
    },
    /// The operating system has no memory for it.
    #[error("the password could not be hashed")]
    Failed,
}
