//! Presented codes, and what they prove.

use std::fmt;

use crate::{secret::Secret, server::login::Network};

/// A presented code, of an authenticator or a recovery code.
#[derive(Clone)]
#[must_use]
pub struct CodeAttempt {
    pub(super) code: Secret<String>,
    pub(super) device: Option<Secret<String>>,
    pub(super) network: Network,
}

impl CodeAttempt {
    /// Creates an attempt from an unknown device and an unknown network.
    pub fn new(code: impl Into<Secret<String>>) -> Self {
        Self {
            code: code.into(),
            device: None,
            network: Network::UNKNOWN,
        }
    }

    /// Sets the [device token](crate::server::login::DeviceTokens) that the client sent. It has an effect if
    /// the user has proved a second factor on that device before.
    pub fn device(mut self, token: impl Into<Secret<String>>) -> Self {
        self.device = Some(token.into());
        self
    }

    /// Sets the client's network, for events.
    pub fn from(mut self, network: impl Into<Network>) -> Self {
        self.network = network.into();
        self
    }
}

impl fmt::Debug for CodeAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeAttempt")
            .field("network", &self.network)
            .field("has_device", &self.device.is_some())
            .finish_non_exhaustive()
    }
}

/// The factor of an accepted code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsedFactor {
    /// The user's authenticator app.
    Totp,
    /// A recovery code, which is spent now.
    RecoveryCode {
        /// The number of unused codes.
        left: usize,
    },
}

impl UsedFactor {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Totp => super::TOTP,
            Self::RecoveryCode { .. } => super::RECOVERY_CODE,
        }
    }
}

/// The second factors of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FactorStatus {
    /// `true` if the user has an authenticator. Sign-ins then need a second step.
    pub totp: bool,
    /// The number of unused recovery codes.
    pub recovery_codes: usize,
}
