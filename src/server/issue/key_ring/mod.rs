//! The signing keys of an issuer and their rotation.
//!
//! ```text
//! next ──activate──> active ──activate of another──> retiring ──35 min──> gone
//! published          signs                           verifies only
//! ```

mod builder;
mod phases;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(super) use self::snapshot::Document;
pub use self::{
    builder::KeyRingBuilder,
    snapshot::{KeyState, KeyStatus},
};
use self::{phases::Phases, snapshot::Snapshot};
use super::{IssueError, MAX_TOKEN_LIFETIME, RotationError};
use crate::{
    error::ConfigError,
    event::{AuthEvent, Events},
    key::{Algorithm, KeyLookup, KeyQuery, KeySource, SigningKey},
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
    inner: Arc<Inner>,
}

struct Inner {
    current: ArcSwap<Snapshot>,
    /// The source of `current`. Locked for changes, not for reads.
    phases: Mutex<Phases>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    secrets: bool,
    events: Events,
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
    /// - [`RotationError::NextPresent`] if a next key already exists.
    /// - [`RotationError::Key`] for a secret in a ring of key pairs or the reverse, for a `kid`
    ///   that another key of the ring has, and for a fourth secret.
    pub fn publish(&self, next: SigningKey) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.publish(next, ring.clock.monotonic()))
    }

    /// Activates the next key, which then signs all tokens. The previous key verifies for another
    /// 35 minutes: the maximum lifetime of a token plus the maximum leeway of a verifier.
    ///
    /// # Errors
    ///
    /// - [`RotationError::NoNext`] if there is no next key.
    /// - [`RotationError::TooEarly`] if it was published for less than
    ///   [`publish_ahead`](KeyRingBuilder::publish_ahead).
    pub fn activate(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| {
            phases.activate(ring.clock.monotonic(), ring.timing.publish_ahead)
        })
    }

    /// Activates the next key without waiting for [`publish_ahead`](KeyRingBuilder::publish_ahead).
    /// Use it if the active key was stolen, and then [`withdraw`](Self::withdraw) the stolen key.
    ///
    /// Other verifiers refuse the new tokens until they fetch the key set again.
    ///
    /// # Errors
    ///
    /// [`RotationError::NoNext`] if there is no next key.
    pub fn activate_now(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.activate(ring.clock.monotonic(), Duration::ZERO))
    }

    /// Removes a next or retiring key immediately. This process then refuses the key's tokens.
    /// Other verifiers refuse them after their next fetch of the key set.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Active`] if the key is the active one.
    /// - [`RotationError::UnknownKey`] if the ring does not contain the key.
    pub fn withdraw(&self, kid: &str) -> Result<(), RotationError> {
        self.change(|phases, _| phases.withdraw(kid))
    }

    /// Removes every key except the active one immediately. Use it for secrets, which have no
    /// `kid`.
    pub fn withdraw_others(&self) {
        // Cannot fail: a ring with fewer keys is valid.
        let _ = self.change(|phases, _| {
            phases.withdraw_others();
            Ok(())
        });
    }

    /// Returns the current keys with their states, the active one first.
    #[must_use]
    pub fn statuses(&self) -> Vec<KeyStatus> {
        self.settled().statuses.clone()
    }

    /// Returns the current JWK Set (RFC 7517 §5): the public part of every key, without secrets.
    #[must_use]
    pub fn jwks(&self) -> String {
        String::from_utf8_lossy(&self.settled().document.json).into_owned()
    }

    pub(super) fn document(&self) -> Document {
        self.settled().document.clone()
    }

    /// Signs the claims of an access token or a conversation token with the active key.
    pub(super) fn sign(&self, conversation: bool, claims: &[u8]) -> Result<String, IssueError> {
        let snapshot = self.settled();
        let header = match conversation {
            true => &snapshot.conversation_header,
            false => &snapshot.header,
        };
        let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 704);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = snapshot.active.sign(token.as_bytes());
        let signature = signature.map_err(|_| IssueError::SigningFailed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Returns `true` if the keys are secrets.
    pub(super) fn secrets(&self) -> bool {
        self.inner.secrets
    }

    fn assemble(
        phases: Phases,
        timing: Timing,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Result<Self, ConfigError> {
        let first = Snapshot::of(&phases, &timing, 0)?;
        Ok(Self {
            inner: Arc::new(Inner {
                secrets: phases.active.key.algorithm().is_hmac(),
                current: ArcSwap::from_pointee(first),
                phases: Mutex::new(phases),
                timing,
                clock,
                events,
            }),
        })
    }

    /// Returns the current keys, after any rotation that is due.
    fn settled(&self) -> Guard<Arc<Snapshot>> {
        let current = self.inner.current.load();
        let is_due = |due| self.inner.clock.monotonic() >= due;
        if !current.due.is_some_and(is_due) {
            return current;
        }
        // A concurrent caller uses the previous keys, which are still valid.
        let mut phases = match self.inner.phases.try_lock() {
            Ok(phases) => phases,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return current,
        };
        drop(current);
        self.inner.pass_time(&mut phases);
        self.inner.current.load()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Phases, &Inner) -> Result<(), RotationError>,
    ) -> Result<(), RotationError> {
        let mut phases = self.inner.lock();
        self.inner.pass_time(&mut phases);
        let mut changed = phases.clone();
        change(&mut changed, &self.inner)?;
        self.inner.show(&changed)?;
        *phases = changed;
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_time(&self, phases: &mut Phases) {
        let due = self.current.load().due;
        let now = self.clock.monotonic();
        if due.is_none_or(|due| now < due) {
            return;
        }
        phases.pass_time(now, &self.timing);
        // Stored before the next key is generated, which may take a while. Until then requests use
        // this state, in which the retirement of the old key has started.
        self.show_or_keep(phases);
        if phases.lacks_next(now, &self.timing) {
            phases.generate_next(&*self.clock);
            self.show_or_keep(phases);
        }
    }

    fn show(&self, phases: &Phases) -> Result<(), ConfigError> {
        let before = self.current.load();
        let generation = before.generation.wrapping_add(1);
        let snapshot = Arc::new(Snapshot::of(phases, &self.timing, generation)?);
        self.current.store(Arc::clone(&snapshot));
        if !Arc::ptr_eq(&before.active, &snapshot.active) {
            let kid = snapshot.active.kid();
            self.events.emit(|| AuthEvent::KeyRotated { kid });
        }
        Ok(())
    }

    fn show_or_keep(&self, phases: &Phases) {
        // Cannot fail: the previous keys were valid for a ring. With fewer keys, or a new key of
        // the same kind with another thumbprint, they still are.
        let shown = self.show(phases);
        debug_assert!(shown.is_ok(), "{shown:?}");
    }
}

impl KeySource for KeyRing {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.settled().set.lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        Some(self.settled().generation)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.inner.current.load();
        f.debug_struct("KeyRing")
            .field("keys", &current.statuses)
            .field("timing", &self.inner.timing)
            .finish_non_exhaustive()
    }
}

pub(super) const HMAC: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

/// The time for which a replaced key verifies: the maximum lifetime of a token plus the maximum
/// leeway of a verifier.
const RETIREMENT: Duration = Duration::from_secs(MAX_TOKEN_LIFETIME.as_secs() + GREATEST_LEEWAY);
const GREATEST_LEEWAY: u64 = 300;
