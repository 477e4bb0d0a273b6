//! Issuing of access tokens, rotation of their signing keys, and publication of the public keys.
//!
//! - A [`KeyRing`] holds the keys.
//! - A [`TokenIssuer`] signs tokens with the active key.
//! - A [`JwksService`] publishes all public keys.
//! - [`TokenIssuer::verifier`] creates a verifier of the issuer's tokens, which follows the ring.
//!
//! See the chapter of the manual: [`crate::manual::issuing`].
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::{
//!     key::{Algorithm, SigningKey},
//!     server::issue::{AccessTokenClaims, KeyRing, TokenIssuer},
//! };
//!
//! let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?;
//! let issuer = TokenIssuer::builder(keys)
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .client_id("web")
//!     .build()?;
//!
//! let token = issuer.issue_access_token(
//!     AccessTokenClaims::for_subject("alice")
//!         .roles(["admin"])
//!         .scope("orders:read")
//!         .claim("tenant", 7),
//! )?;
//!
//! let verifier = issuer.verifier().build()?;
//! let verified = verifier.verify_now(token.token().expose())?;
//! assert_eq!(verified.subject(), Some("alice"));
//! assert!(verified.principal().has_role("admin"));
//! # Ok(())
//! # }
//! ```

mod access;
mod builder;
mod error;
mod jwks;
mod key_ring;
mod minted;
#[cfg(feature = "aws-lc-rs")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-lc-rs")))]
mod shared;
#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use self::access::Payload;
#[cfg(feature = "aws-lc-rs")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-lc-rs")))]
pub use self::shared::{SharedKeyRing, SharedKeyRingBuilder, SharedRingError};
pub use self::{
    access::AccessTokenClaims,
    builder::TokenIssuerBuilder,
    error::{IssueError, RotationError},
    jwks::JwksService,
    key_ring::{KeyRing, KeyRingBuilder, KeyState, KeyStatus},
    minted::AccessToken,
};
use crate::time::Timestamp;
use crate::{
    secret,
    verify::{Verifier, VerifierBuilder},
};

/// An issuer of access tokens as defined in [RFC 9068]. Cheap to clone.
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
    /// The first one is the default.
    client_ids: Vec<String>,
    access_lifetime: Duration,
}

impl TokenIssuer {
    /// Creates a builder of an issuer that signs with the active key of this ring and uses its
    /// clock.
    pub fn builder(keys: KeyRing) -> TokenIssuerBuilder {
        TokenIssuerBuilder::new(keys)
    }

    /// Mints an access token.
    ///
    /// The lifetime is that of [`AccessTokenClaims::lifetime`] or of the issuer, shortened at random by
    /// up to 5 %, so that clients that started together do not refresh together. The token expires
    /// at [`AccessTokenClaims::not_after`] at the latest.
    ///
    /// # Errors
    ///
    /// - [`IssueError::ReservedClaim`] or [`IssueError::InvalidClaim`] if the contents are invalid.
    /// - [`IssueError::SessionEnded`] if no time is left until `not_after`.
    /// - [`IssueError::SigningFailed`] if the cryptographic library fails.
    pub fn issue_access_token(&self, token: AccessTokenClaims) -> Result<AccessToken, IssueError> {
        let inner = &*self.inner;
        let contents = token.checked()?;
        // Read before the key: a key that is replaced in between still verifies long enough.
        let now = seconds(inner.keys.clock().now());
        // One call for both: it asks the operating system.
        let [a, b, c, d, id @ ..] = secret::random::<{ size_of::<u32>() + TOKEN_ID_BYTES }>();
        let lifetime = contents.lifetime.unwrap_or(inner.access_lifetime);
        let lifetime = shortened(lifetime, u32::from_le_bytes([a, b, c, d]));
        let mut expires = now.saturating_add(lifetime);
        if let Some(end) = contents.not_after {
            expires = expires.min(seconds(end));
        }
        if expires <= now {
            return Err(IssueError::SessionEnded);
        }
        let token_id = URL_SAFE_NO_PAD.encode(id);
        let payload = serde_json::to_vec(&Payload {
            iss: &inner.issuer,
            aud: &inner.audiences,
            exp: expires,
            iat: now,
            jti: &token_id,
            client_id: contents.client_id.as_deref().unwrap_or(self.client_id()),
            contents: &contents,
        });
        let payload = payload.map_err(|_| IssueError::SigningFailed)?;
        Ok(AccessToken {
            token: inner
                .keys
                .sign(contents.is_for_conversation(), &payload)?
                .into(),
            token_id,
            expires_at: Timestamp::from_secs(i64::try_from(expires).unwrap_or(i64::MAX)),
            lifetime: Duration::from_secs(expires - now),
        })
    }

    /// Creates a builder of a verifier of this issuer's tokens. It expects the issuer and one of
    /// its audiences, and uses the ring's current keys and its clock. Conversation tokens are
    /// refused unless [`allow_conversation_tokens`](VerifierBuilder::allow_conversation_tokens) is called.
    ///
    /// Tokens must satisfy RFC 9068: the type `at+jwt` and all claims that §2.2 requires.
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
            // HMAC must be listed explicitly.
            true => builder.algorithms(key_ring::HMAC),
            false => builder,
        };
        builder.rfc9068()
    }

    /// Returns the service that publishes the ring's public keys.
    #[must_use]
    pub fn jwks(&self) -> JwksService {
        JwksService::new(self.inner.keys.clone())
    }

    /// Returns the key ring.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    /// Returns the claim `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Returns the `client_id` of tokens without an explicit client.
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

    /// Returns the lifetime of access tokens without an explicit one.
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

/// Returns whole seconds since 1970, rounded down; 0 for times before 1970, so that tokens are
/// expired.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_secs()).unwrap_or_default()
}

/// Returns the lifetime in seconds, shortened by up to 5 %. `dice` is random.
fn shortened(lifetime: Duration, dice: u32) -> u64 {
    let seconds = lifetime.as_secs();
    let most = u32::try_from(seconds / 20).unwrap_or(u32::MAX - 1);
    seconds - u64::from(dice % (most + 1))
}

/// RFC 9068 §2.2 requires a client even if the server has only its own.
const DEFAULT_CLIENT: &str = "first-party";

/// 128 random bits, so that identifiers are unique (RFC 7519 §4.1.7).
const TOKEN_ID_BYTES: usize = 16;

/// The maximum lifetime of any token. It determines how long revocations are kept and how long a
/// replaced key verifies.
pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 60);
