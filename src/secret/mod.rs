//! Secret values, and stores for them.

#[cfg(feature = "server")]
pub(crate) mod base62;
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
mod key;
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) mod mac;
#[cfg(all(feature = "server", feature = "aws-lc-rs"))]
pub(crate) mod seal;

use std::fmt;

use zeroize::Zeroize;

#[cfg(feature = "server")]
pub(crate) use self::key::DerivedKey;
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))))]
pub use self::key::SecretKey;

/// A value that is never printed and is wiped from memory when dropped.
///
/// `Secret` does not implement `Display`, and `Debug` prints a placeholder.
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
    /// Wraps a value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value. The caller is responsible for keeping it secret.
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

/// Returns random bytes from the operating system.
///
/// # Panics
///
/// Panics if the operating system provides no random bytes. Any other source would not be secure.
#[expect(clippy::expect_used, reason = "see above")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}
