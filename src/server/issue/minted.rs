//! A minted token.

use std::time::Duration;

use crate::{secret::Secret, time::Timestamp};

/// A token that was just minted.
#[derive(Clone, Debug)]
pub struct AccessToken {
    pub(super) token: Secret<String>,
    pub(super) token_id: String,
    pub(super) expires_at: Timestamp,
    pub(super) lifetime: Duration,
}

impl AccessToken {
    /// Returns the token in compact serialization (RFC 7515 §7.1).
    #[must_use]
    pub fn token(&self) -> &Secret<String> {
        &self.token
    }

    /// Returns the expiry: the claim `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns the time from `iat` to `exp`, in whole seconds: `expires_in` in an OAuth response.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Returns the claim `jti`: 128 random bits in base64url.
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.token_id
    }
}
