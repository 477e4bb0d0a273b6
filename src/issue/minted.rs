//! What an issuer hands out.

use std::time::{Duration, SystemTime};

use crate::secret::Secret;

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct Minted {
    pub(super) token: Secret<String>,
    pub(super) token_id: String,
    pub(super) expires_at: SystemTime,
    pub(super) lifetime: Duration,
}

impl Minted {
    /// The token in compact serialization (RFC 7515 §7.1).
    #[must_use]
    pub fn token(&self) -> &Secret<String> {
        &self.token
    }

    /// The claim `exp`.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// From `iat` to `exp`: what an OAuth answer calls `expires_in`, in whole seconds.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The claim `jti`: 128 random bits in base64url.
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.token_id
    }
}
