//! The input and the result of a login.

use std::{fmt, time::Duration};

use crate::{
    secret::Secret,
    server::login::{Identifier, Network, Password},
    store::port::UserRecord,
};

/// One attempt to sign in.
#[derive(Clone)]
#[must_use]
pub struct LoginAttempt {
    pub(super) identifier: Identifier,
    pub(super) password: Password,
    pub(super) network: Network,
    pub(super) device: Option<Secret<String>>,
}

impl LoginAttempt {
    /// Creates an attempt from an unknown network, without a trusted device.
    pub fn new(identifier: Identifier, password: Password) -> Self {
        Self {
            identifier,
            password,
            network: Network::UNKNOWN,
            device: None,
        }
    }

    /// Sets the client's network.
    ///
    /// # Security
    ///
    /// Pass only an address that you can trust: that of the connection, or the one that your proxy
    /// reports. A client that sets the address with a header gets an unlimited number of attempts.
    pub fn from(mut self, network: impl Into<Network>) -> Self {
        self.network = network.into();
        self
    }

    /// Sets the [device token](crate::server::login::DeviceTokens) that the client sent. An invalid token,
    /// or a token of another user, is ignored.
    pub fn device(mut self, token: impl Into<Secret<String>>) -> Self {
        self.device = Some(token.into());
        self
    }
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAttempt")
            .field("network", &self.network)
            .field("has_device", &self.device.is_some())
            .finish_non_exhaustive()
    }
}

/// The result of an attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoginOutcome {
    /// The password is correct.
    Success(LoginSuccess),
    /// The user is unknown, disabled or locked, or the password is wrong. The client cannot
    /// distinguish these cases.
    InvalidCredentials,
    /// Too many attempts. The result is the same for existing and unknown names. The HTTP status is
    /// 429.
    Throttled {
        /// The time until the next attempt is accepted; at least 1 s.
        retry_after: Duration,
    },
    /// The queue for password hashing is full, or other nodes keep changing the counter of the same
    /// name. The attempt is not counted. The HTTP status is 503.
    Overloaded {
        /// The time after which a new attempt may succeed; at least 1 s.
        retry_after: Duration,
    },
    /// A store failed. The HTTP status is 503.
    Unavailable,
}

/// A user who signed in.
pub struct LoginSuccess {
    pub(super) user: UserRecord,
    pub(super) device: Secret<String>,
}

impl LoginSuccess {
    /// Returns the user.
    #[must_use]
    pub fn user(&self) -> &UserRecord {
        &self.user
    }

    /// Consumes the result and returns the user.
    #[must_use]
    pub fn into_user(self) -> UserRecord {
        self.user
    }

    /// Returns the device token for the next attempt. It is valid for [a
    /// year](crate::server::login::DeviceTokens::MAX_AGE), or until the password changes.
    #[must_use]
    pub fn device_token(&self) -> &Secret<String> {
        &self.device
    }
}

impl fmt::Debug for LoginSuccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginSuccess")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
