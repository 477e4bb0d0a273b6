//! Builds an issuer.

use std::{fmt, sync::Arc, time::Duration};

use super::{Inner, KeyRing, MAX_TOKEN_LIFETIME, TokenIssuer};
use crate::error::ConfigError;

/// Builds a [`TokenIssuer`]. Mistakes in the input are reported by [`build`](Self::build).
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

    /// The claim `iss`: the URL under which the issuer is known. Required.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// The claim `aud`: for which service the tokens are. Required; may be repeated.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Adds a client of this server (RFC 6749 §2.2).
    ///
    /// The first is the claim `client_id` of tokens that name no client, `first-party` by default. A
    /// request to the endpoints may name any of them.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_ids.push(client_id.into());
        self
    }

    /// How long an access token lives, in whole seconds: 10 minutes by default, at most 30.
    ///
    /// So long does a stolen token work at most, and so long does a verifier that hears nothing of
    /// revocations go on accepting a signed-out user.
    pub fn access_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_lifetime = lifetime;
        self
    }

    /// The issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: no issuer, no audience, an empty name, a lifetime out of its range.
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

/// Short enough for nodes that hear of revocations, long enough for a refresh to be rare.
const DEFAULT_ACCESS_LIFETIME: Duration = Duration::from_secs(600);
