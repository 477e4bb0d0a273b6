//! Issues access tokens, rotates the keys that sign them, publishes the public halves.
//!
//! A [`KeyRing`] holds the keys, a [`TokenIssuer`] mints tokens with the active one, a
//! [`JwksService`] publishes all of them. [`TokenIssuer::verifier`] gives the verifier that accepts
//! what the issuer mints, and follows the ring. The manual's chapter is [`crate::manual::issuing`].
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::{
//!     issue::{AccessToken, KeyRing, TokenIssuer},
//!     key::{Algorithm, SigningKey},
//! };
//!
//! let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?;
//! let issuer = TokenIssuer::builder(keys)
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .client_id("web")
//!     .build()?;
//!
//! let minted = issuer.access(
//!     AccessToken::for_subject("alice")
//!         .roles(["admin"])
//!         .scope("orders:read")
//!         .claim("tenant", 7),
//! )?;
//!
//! let verifier = issuer.verifier().build()?;
//! let token = verifier.verify_now(minted.token().expose())?;
//! assert_eq!(token.subject(), Some("alice"));
//! assert!(token.principal().has_role("admin"));
//! # Ok(())
//! # }
//! ```

mod access;
mod builder;
mod error;
mod jwks;
mod key_ring;
mod minted;
#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use self::access::Payload;
pub use self::{
    access::AccessToken,
    builder::TokenIssuerBuilder,
    error::{IssueError, RotationError},
    jwks::JwksService,
    key_ring::{KeyRing, KeyRingBuilder, KeyState, KeyStatus},
    minted::Minted,
};
use crate::{
    secret,
    verify::{Verifier, VerifierBuilder},
};

/// Mints access tokens after [RFC 9068]. Cheap to clone.
///
/// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
#[derive(Clone)]
pub struct TokenIssuer {
    inner: Arc<Inner>,
}

struct Inner {
    keys: KeyRing,
    issuer: String,
    audiences: Vec<String>,
    /// The first is the default.
    client_ids: Vec<String>,
    access_lifetime: Duration,
}

impl TokenIssuer {
    /// Starts an issuer that signs with the active key of this ring, by the ring's clock.
    pub fn builder(keys: KeyRing) -> TokenIssuerBuilder {
        TokenIssuerBuilder::new(keys)
    }

    /// Mints an access token.
    ///
    /// It lives as long as the issuer says or [`AccessToken::lifetime`] asks, less up to a
    /// twentieth at random, so that clients that came together do not refresh together; and never
    /// beyond [`AccessToken::not_after`].
    ///
    /// # Errors
    ///
    /// - [`IssueError::ReservedClaim`], [`IssueError::InvalidClaim`]: what was asked for.
    /// - [`IssueError::SessionEnded`]: there is no time left until `not_after`.
    /// - [`IssueError::SigningFailed`].
    pub fn access(&self, token: AccessToken) -> Result<Minted, IssueError> {
        let inner = &*self.inner;
        let asked = token.checked()?;
        // Read before the key: a key that a rotation replaces meanwhile verifies long enough then.
        let now = seconds(inner.keys.clock().now());
        let lifetime = shortened(asked.lifetime.unwrap_or(inner.access_lifetime));
        let mut expires = now.saturating_add(lifetime);
        if let Some(end) = asked.not_after {
            expires = expires.min(seconds(end));
        }
        if expires <= now {
            return Err(IssueError::SessionEnded);
        }
        let token_id = URL_SAFE_NO_PAD.encode(secret::random::<TOKEN_ID_BYTES>());
        let payload = serde_json::to_vec(&Payload {
            iss: &inner.issuer,
            aud: &inner.audiences,
            exp: expires,
            iat: now,
            jti: &token_id,
            client_id: asked.client_id.as_deref().unwrap_or(self.client_id()),
            asked: &asked,
        });
        let payload = payload.map_err(|_| IssueError::SigningFailed)?;
        Ok(Minted {
            token: inner
                .keys
                .sign(asked.is_for_conversation(), &payload)?
                .into(),
            token_id,
            expires_at: UNIX_EPOCH + Duration::from_secs(expires),
            lifetime: Duration::from_secs(expires - now),
        })
    }

    /// Starts the verifier of this issuer's tokens: its issuer, its audiences (one must match), the
    /// ring's keys of every moment, the ring's clock. Tokens for one conversation are refused
    /// unless [asked for](VerifierBuilder::conversation_tokens).
    ///
    /// Tokens must satisfy RFC 9068: the type `at+jwt`, and all claims that §2.2 requires.
    pub fn verifier(&self) -> VerifierBuilder {
        let inner = &*self.inner;
        let builder = Verifier::key_source(inner.keys.clone())
            .issuer(inner.issuer.as_str())
            .clock(Arc::clone(inner.keys.clock()));
        let builder = inner
            .audiences
            .iter()
            .fold(builder, |builder, audience| builder.audience(audience));
        let builder = match inner.keys.secrets() {
            // A secret never comes unasked.
            true => builder.algorithms(key_ring::HMAC),
            false => builder,
        };
        builder.rfc9068()
    }

    /// The service that publishes the ring's public keys.
    #[must_use]
    pub fn jwks(&self) -> JwksService {
        JwksService::new(self.inner.keys.clone())
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    /// The claim `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Returns the `client_id` of tokens that name no client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        let first = self.inner.client_ids.first();
        first.map_or(DEFAULT_CLIENT, |first| first)
    }

    /// Returns `true` if a request to the endpoints may name this client.
    #[must_use]
    pub fn knows_client(&self, client_id: &str) -> bool {
        let mut known = self.inner.client_ids.iter();
        client_id == self.client_id() || known.any(|known| known == client_id)
    }

    /// How long access tokens live that do not ask for less.
    #[must_use]
    pub fn access_lifetime(&self) -> Duration {
        self.inner.access_lifetime
    }
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("issuer", &self.inner.issuer)
            .field("audiences", &self.inner.audiences)
            .field("keys", &self.inner.keys)
            .finish_non_exhaustive()
    }
}

/// Whole seconds since 1970, rounded down. A clock before 1970 mints what has expired.
fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Less up to a twentieth, in seconds.
fn shortened(lifetime: Duration) -> u64 {
    let seconds = lifetime.as_secs();
    let most = u32::try_from(seconds / 20).unwrap_or(u32::MAX - 1);
    let chance = u32::from_le_bytes(secret::random()) % (most + 1);
    seconds - u64::from(chance)
}

/// RFC 9068 §2.2 requires a client also in the tokens of a server that has only its own.
const DEFAULT_CLIENT: &str = "first-party";

/// 128 random bits: no two tokens share an identifier (RFC 7519 §4.1.7).
const TOKEN_ID_BYTES: usize = 16;

/// The longest life of any token: what is remembered about revoked sessions, and for how long a
/// replaced key verifies, is measured by it.
pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 60);
