//! What goes into a login and what comes out.

use std::{fmt, time::Duration};

use crate::{
    login::{Identifier, Network, Password, User},
    secret::Secret,
};

/// One attempt to sign in.
#[derive(Clone)]
#[must_use]
pub struct Attempt {
    pub(super) identifier: Identifier,
    pub(super) password: Password,
    pub(super) network: Network,
    pub(super) device: Option<Secret<String>>,
}

impl Attempt {
    /// An attempt from an unknown network, on a device that is not trusted.
    pub fn new(identifier: Identifier, password: Password) -> Self {
        Self {
            identifier,
            password,
            network: Network::UNKNOWN,
            device: None,
        }
    }

    /// Says where it comes from.
    ///
    /// # Security
    ///
    /// Only an address that can be trusted: of the connection itself, or as one's own proxy saw it. A
    /// header that the client sends by itself gives it as many attempts as it likes.
    pub fn from(mut self, network: impl Into<Network>) -> Self {
        self.network = network.into();
        self
    }

    /// Sets the [device token](crate::login::DeviceTokens) as the client sent it. A token that is not
    /// valid, or not the user's, counts as none.
    pub fn device(mut self, token: impl Into<Secret<String>>) -> Self {
        self.device = Some(token.into());
        self
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("network", &self.network)
            .field("has_device", &self.device.is_some())
            .finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoginOutcome {
    /// The password is right.
    Accepted(Accepted),
    /// No such user, a wrong password, a disabled or locked account: nobody is told which.
    Refused,
    /// Too many attempts; the same for names that exist and names that do not. HTTP says 429.
    Wait {
        /// When the next one is looked at; at least 1 s.
        retry_after: Duration,
    },
    /// Too many others sign in at this moment. HTTP says 503.
    Busy {
        /// When it may work again; at least 1 s.
        retry_after: Duration,
    },
    /// A store does not answer. HTTP says 503.
    Unavailable,
}

/// Somebody who signed in.
pub struct Accepted {
    pub(super) user: User,
    pub(super) device: Secret<String>,
}

impl Accepted {
    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Who it is, to be kept.
    #[must_use]
    pub fn into_user(self) -> User {
        self.user
    }

    /// The device token for the next attempt, valid for
    /// [a year](crate::login::DeviceTokens::MAX_AGE) or until the password changes.
    #[must_use]
    pub fn device_token(&self) -> &Secret<String> {
        &self.device
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
