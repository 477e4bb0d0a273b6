//! Values that must not be seen, and where they come from.

mod key;
mod store;

use std::fmt;

use zeroize::Zeroize;

pub(crate) use self::key::DerivedKey;
pub use self::{key::SecretKey, store::SecretStore};

/// A value that is never printed and is wiped from memory when dropped.
///
/// There is no `Display`, and `Debug` prints a placeholder.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::secret::Secret;
///
/// let secret = Secret::new(String::from("correct horse battery staple"));
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(secret.expose().len(), 28);
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. What is done with it is the caller's responsibility.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Random bytes from the operating system.
///
/// # Panics
///
/// If the operating system has none: nothing secret could be made then, and going on with less
/// would be worse.
#[expect(clippy::expect_used, reason = "see above")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
