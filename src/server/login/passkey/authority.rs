//! The port of WebAuthn.

use std::{error::Error, fmt};

use serde_json::Value;

/// The server side of WebAuthn, by a library of your choice: it creates challenges, and verifies the
/// responses of authenticators.
///
/// The [endpoints](crate::server::endpoints#passkeys) do the rest: the browser to which a challenge is bound,
/// the store, and the sign-in.
///
/// # Implementing
///
/// - A challenge is random, and a response to another challenge, of another origin or another relying party
///   is refused (WebAuthn §7.1 and §7.2).
/// - Require user verification: a passkey signs in without a password.
/// - Options are those of `navigator.credentials`, in JSON (WebAuthn §5.1.8 and §5.1.10). States and passkeys
///   are texts that only the implementation reads. A state has room for about 2000 bytes.
/// - The methods compute, and wait for nothing.
pub trait PasskeyAuthority: Send + Sync + 'static {
    /// Returns the options of `navigator.credentials.create`, and the state of the registration. `known` are
    /// the user's passkeys, which are excluded.
    ///
    /// # Errors
    ///
    /// [`PasskeyError`].
    fn start_registration(
        &self,
        user: &PasskeyUser,
        known: &[String],
    ) -> Result<(Value, String), PasskeyError>;

    /// Verifies the response of an authenticator. Returns the identifier of the credential, as the
    /// authenticator has signed it, and the passkey.
    ///
    /// # Errors
    ///
    /// [`PasskeyError`]: the response is not that of a new passkey for this state.
    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError>;

    /// Returns the options of `navigator.credentials.get` for a passkey that the authenticator finds
    /// (a discoverable credential), and the state of the sign-in.
    ///
    /// # Errors
    ///
    /// [`PasskeyError`].
    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError>;

    /// Verifies the response of an authenticator with this passkey of the user. Returns the passkey with its
    /// new counter and flags.
    ///
    /// # Errors
    ///
    /// [`PasskeyError`]: the response does not fit the state, the user or the passkey, or its counter is not
    /// greater than the last one.
    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        user: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError>;
}

/// The user of a passkey.
#[derive(Clone)]
#[non_exhaustive]
pub struct PasskeyUser {
    /// The subject.
    pub subject: String,
    /// The name that the authenticator shows: the user's address, or the subject.
    pub name: String,
    /// The user handle: 16 bytes that are derived from the subject and do not reveal it (WebAuthn §14.6.1).
    pub handle: [u8; 16],
}

impl fmt::Debug for PasskeyUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyUser")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// The error of a [`PasskeyAuthority`]. The cause is logged. The client does not receive it.
#[derive(Debug)]
pub struct PasskeyError(Box<dyn Error + Send + Sync>);

impl PasskeyError {
    /// Creates an error with this cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for PasskeyError {
    fn from(cause: E) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for PasskeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a passkey is refused: {}", self.0)
    }
}
