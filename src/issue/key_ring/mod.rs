//! The keys of an issuer, through their lives.
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
    clock::Clock,
    error::ConfigError,
    event::{AuthEvent, Events},
    key::{Algorithm, KeyLookup, KeyQuery, KeySource, SigningKey},
};

/// The keys of an issuer: one signs, one may be about to, some only verify what they signed.
///
/// Keys are rotated by hand ([`publish`](Self::publish), then [`activate`](Self::activate)), or by
/// time ([`KeyRingBuilder::rotate_every`]). Either way a key is published for a while before its
/// first use, and verifies until the last token that it signed has expired, so that nobody is
/// refused on the way.
///
/// Cheap to clone; clones share their keys. As a [`KeySource`] it verifies with all of them.
///
/// A ring of secrets works alike, but publishes nothing, and holds three at most.
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
/// use tower_jwt_auth::{
///     issue::KeyRing,
///     key::{Algorithm, SigningKey},
/// };
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
    /// What `current` is made from. Locked while it changes, never while it is only read.
    phases: Mutex<Phases>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    secrets: bool,
    events: Events,
}

/// When keys change.
#[derive(Clone, Copy, Debug)]
struct Timing {
    rotate_every: Option<Duration>,
    publish_ahead: Duration,
    max_age: Duration,
}

impl KeyRing {
    /// A ring of one key, which is rotated by hand if at all.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCrypto`].
    pub fn new(active: SigningKey) -> Result<Self, ConfigError> {
        Self::builder(active).build()
    }

    /// Starts a ring whose tokens are signed with this key.
    pub fn builder(active: SigningKey) -> KeyRingBuilder {
        KeyRingBuilder::new(active)
    }

    /// Publishes the key that will sign next.
    ///
    /// # Errors
    ///
    /// - [`RotationError::NextPresent`].
    /// - [`RotationError::Key`]: a secret among key pairs or the reverse, a `kid` that another key
    ///   of the ring has, a fourth secret.
    pub fn publish(&self, next: SigningKey) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.publish(next, ring.clock.monotonic()))
    }

    /// Signs with the next key from now on. The one before verifies for another 35 minutes: as
    /// long as a token can live, and the greatest leeway that a verifier may have.
    ///
    /// # Errors
    ///
    /// - [`RotationError::NoNext`].
    /// - [`RotationError::TooEarly`]: it was published for less than
    ///   [`publish_ahead`](KeyRingBuilder::publish_ahead).
    pub fn activate(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| {
            phases.activate(ring.clock.monotonic(), ring.timing.publish_ahead)
        })
    }

    /// As [`activate`](Self::activate), however short the key was published: for the day on which
    /// the active key is known to be stolen. [`withdraw`](Self::withdraw) that one next.
    ///
    /// Verifiers elsewhere refuse the new tokens until they fetch the key set again.
    ///
    /// # Errors
    ///
    /// [`RotationError::NoNext`].
    pub fn activate_now(&self) -> Result<(), RotationError> {
        self.change(|phases, ring| phases.activate(ring.clock.monotonic(), Duration::ZERO))
    }

    /// Takes a next or retiring key away at once. Here its tokens are refused from now on,
    /// elsewhere after the next fetch of the key set.
    ///
    /// # Errors
    ///
    /// - [`RotationError::Active`]: it is the one that signs.
    /// - [`RotationError::UnknownKey`].
    pub fn withdraw(&self, kid: &str) -> Result<(), RotationError> {
        self.change(|phases, _| phases.withdraw(kid))
    }

    /// Takes every key but the active one away at once: for secrets, which have no `kid`.
    pub fn withdraw_others(&self) {
        // Fewer keys always make a ring.
        let _ = self.change(|phases, _| {
            phases.withdraw_others();
            Ok(())
        });
    }

    /// The keys and their states of this moment, the active one first.
    #[must_use]
    pub fn statuses(&self) -> Vec<KeyStatus> {
        self.settled().statuses.clone()
    }

    /// The JWK Set (RFC 7517 §5) of this moment: every key's public half, no secret.
    #[must_use]
    pub fn jwks(&self) -> String {
        String::from_utf8_lossy(&self.settled().document.json).into_owned()
    }

    pub(super) fn document(&self) -> Document {
        self.settled().document.clone()
    }

    /// Signs the claims of an access token, or of one for a conversation, with the active key.
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

    /// Whether the keys are secrets.
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

    /// The keys, after what time has done to them.
    fn settled(&self) -> Guard<Arc<Snapshot>> {
        let current = self.inner.current.load();
        let is_due = |due| self.inner.clock.monotonic() >= due;
        if !current.due.is_some_and(is_due) {
            return current;
        }
        // Whoever comes second goes on with the keys of before, which are still good.
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
        // Shown before the next key is made, which may take a while: until then the old one signs,
        // and its time to verify is running.
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
            self.events.tell(|| AuthEvent::KeyRotated { kid });
        }
        Ok(())
    }

    fn show_or_keep(&self, phases: &Phases) {
        // The keys were fit for a ring before; with fewer of them, or one more of the same kind and
        // another thumbprint, they are again.
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

/// How long a key verifies after it signed for the last time: the longest life of a token, and the
/// greatest leeway that a verifier may have.
const RETIREMENT: Duration = Duration::from_secs(MAX_TOKEN_LIFETIME.as_secs() + GREATEST_LEEWAY);
const GREATEST_LEEWAY: u64 = 300;
