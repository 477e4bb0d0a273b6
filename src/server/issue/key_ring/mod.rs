//! The signing keys of an issuer and their rotation.
//!
//! ```text
//! next ──activate──> active ──activate of another──> retiring ──35 min──> gone
//! published          signs                           verifies only
//! ```

mod builder;
mod local;
mod phases;
mod snapshot;

use std::{fmt, sync::Arc, time::Duration};

use self::local::Local;
pub(super) use self::snapshot::Document;
#[cfg(feature = "aws-lc-rs")]
pub(super) use self::snapshot::{Shown, Signer, cache_for, key_set};
pub use self::{
    builder::KeyRingBuilder,
    snapshot::{KeyState, KeyStatus},
};
#[cfg(feature = "aws-lc-rs")]
use super::shared::Following;
use super::{IssueError, MAX_TOKEN_LIFETIME, RotationError};
use crate::{
    error::ConfigError,
    key::{Algorithm, KeyLookup, KeyQuery, KeySource, KeyWait, SigningKey},
    time::Clock,
};

/// The signing keys of an issuer: the active key, the next one, and retiring keys that only verify.
///
/// Rotate keys manually ([`publish`](Self::publish), then [`activate`](Self::activate)) or by time
/// ([`KeyRingBuilder::rotate_every`]). In both cases a key is published before its first use, and
/// verifies until the last token that it signed has expired. No valid token is refused during the
/// rotation.
///
/// Cheap to clone; clones share their keys. As a [`KeySource`] the ring verifies with all of its
/// keys.
///
/// A ring of secrets works the same way, but publishes no keys and has at most three.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_jwt_auth::{server::issue::KeyRing, key::{Algorithm, SigningKey}};
///
/// let month = Duration::from_secs(30 * 24 * 3600);
/// let keys = KeyRing::builder(SigningKey::generate(Algorithm::EdDsa)?)
///     .rotate_every(month)
///     .build()?;
/// assert_eq!(keys.statuses().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyRing {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Local(Local),
    /// The ring of a store.
    #[cfg(feature = "aws-lc-rs")]
    Shared(Following),
}

/// The times that control the rotation.
#[derive(Clone, Copy, Debug)]
struct Timing {
    rotate_every: Option<Duration>,
    publish_ahead: Duration,
    max_age: Duration,
}

impl KeyRing {
    /// Creates a ring with a single key, without rotation by time.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCrypto`] in a build without cryptography.
    pub fn new(active: SigningKey) -> Result<Self, ConfigError> {
        Self::builder(active).build()
    }

    /// Creates a builder of a ring with this active key.
    pub fn builder(active: SigningKey) -> KeyRingBuilder {
        KeyRingBuilder::new(active)
    }

    /// Publishes the key that will sign next.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Shared`] if the keys are those of a [`SharedKeyRing`].
    /// - [`RotationError::NextPresent`] if a next key already exists.
    /// - [`RotationError::Key`] for a secret in a ring of key pairs or the reverse, for a `kid`
    ///   that another key of the ring has, and for a fourth secret.
    ///
    /// [`SharedKeyRing`]: super::SharedKeyRing
    pub fn publish(&self, next: SigningKey) -> Result<(), RotationError> {
        self.local()?.publish(next)
    }

    /// Activates the next key, which then signs all tokens. The previous key verifies for another
    /// 35 minutes: the maximum lifetime of a token plus the maximum leeway of a verifier.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Shared`], as for [`publish`](Self::publish).
    /// - [`RotationError::NoNext`] if there is no next key.
    /// - [`RotationError::TooEarly`] if it was published for less than
    ///   [`publish_ahead`](KeyRingBuilder::publish_ahead).
    pub fn activate(&self) -> Result<(), RotationError> {
        self.local()?.activate()
    }

    /// Activates the next key without waiting for [`publish_ahead`](KeyRingBuilder::publish_ahead).
    /// Use it if the active key was stolen, and then [`withdraw`](Self::withdraw) the stolen key.
    ///
    /// Other verifiers refuse the new tokens until they fetch the key set again.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Shared`], as for [`publish`](Self::publish).
    /// - [`RotationError::NoNext`] if there is no next key.
    pub fn activate_now(&self) -> Result<(), RotationError> {
        self.local()?.activate_now()
    }

    /// Removes a next or retiring key immediately. This process then refuses the key's tokens.
    /// Other verifiers refuse them after their next fetch of the key set.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Shared`], as for [`publish`](Self::publish).
    /// - [`RotationError::Active`] if the key is the active one.
    /// - [`RotationError::UnknownKey`] if the ring does not contain the key.
    pub fn withdraw(&self, kid: &str) -> Result<(), RotationError> {
        self.local()?.withdraw(kid)
    }

    /// Removes every key except the active one immediately. Use it for secrets, which have no
    /// `kid`.
    ///
    /// # Errors
    ///
    /// [`RotationError::Shared`], as for [`publish`](Self::publish).
    pub fn withdraw_others(&self) -> Result<(), RotationError> {
        self.local()?.withdraw_others();
        Ok(())
    }

    /// Returns the current keys with their states, the active one first.
    #[must_use]
    pub fn statuses(&self) -> Vec<KeyStatus> {
        match &self.kind {
            Kind::Local(ring) => ring.statuses(),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().statuses(),
        }
    }

    /// Returns the current JWK Set (RFC 7517 §5): the public part of every key, without secrets.
    #[must_use]
    pub fn jwks(&self) -> String {
        let json = match &self.kind {
            Kind::Local(ring) => ring.document().json,
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().json(),
        };
        String::from_utf8_lossy(&json).into_owned()
    }

    /// Returns the document to publish. `None` if it may lack a key in use.
    pub(super) fn document(&self) -> Option<Document> {
        match &self.kind {
            Kind::Local(ring) => Some(ring.document()),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().document(),
        }
    }

    /// Signs the claims of an access token or a conversation token with the active key.
    pub(super) fn sign(&self, conversation: bool, claims: &[u8]) -> Result<String, IssueError> {
        match &self.kind {
            Kind::Local(ring) => ring.sign(conversation, claims),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().sign(conversation, claims),
        }
    }

    /// Returns `false` if this node's keys are out of date, so that it does not sign.
    pub(crate) fn may_sign(&self) -> bool {
        match &self.kind {
            Kind::Local(_) => true,
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().may_sign(),
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        match &self.kind {
            Kind::Local(ring) => ring.clock(),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => ring.live().clock(),
        }
    }

    /// Returns `true` if the keys are secrets.
    pub(super) fn secrets(&self) -> bool {
        match &self.kind {
            Kind::Local(ring) => ring.secrets(),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(_) => false,
        }
    }

    #[cfg(feature = "aws-lc-rs")]
    pub(super) fn shared(ring: Following) -> Self {
        Self {
            kind: Kind::Shared(ring),
        }
    }

    fn local(&self) -> Result<&Local, RotationError> {
        match &self.kind {
            Kind::Local(ring) => Ok(ring),
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(_) => Err(RotationError::Shared),
        }
    }

    fn source(&self) -> &dyn KeySource {
        match &self.kind {
            Kind::Local(ring) => ring,
            #[cfg(feature = "aws-lc-rs")]
            Kind::Shared(ring) => &**ring.live(),
        }
    }
}

impl KeySource for KeyRing {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.source().lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        self.source().generation()
    }

    fn is_ready(&self) -> bool {
        self.source().is_ready()
    }

    fn wait_ready(&self) -> Option<KeyWait> {
        self.source().wait_ready()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.statuses())
            .finish_non_exhaustive()
    }
}

pub(super) const HMAC: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

/// The time for which a replaced key verifies: the maximum lifetime of a token plus the maximum
/// leeway of a verifier.
pub(super) const RETIREMENT: Duration =
    Duration::from_secs(MAX_TOKEN_LIFETIME.as_secs() + GREATEST_LEEWAY);
const GREATEST_LEEWAY: u64 = 300;
