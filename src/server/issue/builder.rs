//! The builder of an issuer.

use std::{fmt, sync::Arc, time::Duration};

use super::{Inner, KeyRing, MAX_TOKEN_LIFETIME, TokenIssuer};
use crate::error::ConfigError;

/// A builder of a [`TokenIssuer`]. [`build`](Self::build) reports invalid values.
#[must_use = "nothing is issued before `build` is called"]
pub struct TokenIssuerBuilder {
    keys: KeyRing,
    issuer: String,
    audiences: Vec<String>,
    client_ids: Vec<String>,
    access_lifetime: Duration,
}

impl TokenIssuerBuilder {
    pub(super) fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            issuer: String::new(),
            audiences: Vec::new(),
            client_ids: Vec::new(),
            access_lifetime: DEFAULT_ACCESS_LIFETIME,
        }
    }

    /// Sets the claim `iss`: the URL of the issuer. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Adds a value of the claim `aud`: a service for which the tokens are. At least one is
    /// required.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds a client of this server (RFC 6749 §2.2).
    ///
    /// The first one is the `client_id` of tokens without an explicit client. The default is
    /// `first-party`. A request to the endpoints may name any of the clients.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_ids.push(client_id.into());
        self
    }

    /// Sets the lifetime of access tokens, in whole seconds. The default is 10 minutes, the maximum
    /// 30 minutes.
    ///
    /// A stolen token works at most this long. A verifier without a revocation feed accepts the
    /// tokens of a signed-out user for at most this long.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = lifetime;
        self
    }

    /// Builds the issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there is no issuer or no audience, a name is empty, or the
    /// lifetime is out of range.
    pub fn build(self) -> Result<TokenIssuer, ConfigError> {
        if self.issuer.is_empty() {
            return Err(ConfigError::invalid("issuer", "an issuer is required"));
        }
        // RFC 9068 §2.2
        if self.audiences.is_empty() {
            return Err(ConfigError::invalid("audience", "an audience is required"));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::invalid("audience", "an empty string"));
        }
        if self.client_ids.iter().any(String::is_empty) {
            return Err(ConfigError::invalid("client_id", "an empty string"));
        }
        if !is_allowed(self.access_lifetime) {
            return Err(ConfigError::invalid(
                "access_lifetime",
                "not between 1 second and 30 minutes",
            ));
        }
        Ok(TokenIssuer {
            inner: Arc::new(Inner {
                keys: self.keys,
                issuer: self.issuer,
                audiences: self.audiences,
                client_ids: self.client_ids,
                access_lifetime: self.access_lifetime,
            }),
        })
    }
}

impl fmt::Debug for TokenIssuerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuerBuilder").finish_non_exhaustive()
    }
}

pub(super) fn is_allowed(lifetime: Duration) -> bool {
    (Duration::from_secs(1)..=MAX_TOKEN_LIFETIME).contains(&lifetime)
}

/// Short enough for nodes that receive revocations, long enough for refreshes to be rare.
const DEFAULT_ACCESS_LIFETIME: Duration = Duration::from_secs(600);
