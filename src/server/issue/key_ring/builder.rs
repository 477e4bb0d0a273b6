//! The builder of a key ring.

use std::{fmt, sync::Arc, time::Duration};

use super::{KeyRing, Kind, Local, Timing, phases::Phases};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    key::SigningKey,
    time::{Clock, SystemClock},
};

/// A builder of a [`KeyRing`]. [`build`](Self::build) reports invalid values.
#[must_use = "there is no ring before `build` is called"]
pub struct KeyRingBuilder {
    active: SigningKey,
    next: Option<SigningKey>,
    retiring: Vec<SigningKey>,
    timing: Timing,
    clock: Arc<dyn Clock>,
    events: Events,
}

impl KeyRingBuilder {
    pub(super) fn new(active: SigningKey) -> Self {
        Self {
            active,
            next: None,
            retiring: Vec::new(),
            timing: Timing {
                rotate_every: None,
                publish_ahead: DEFAULT_PUBLISH_AHEAD,
                max_age: DEFAULT_MAX_AGE,
            },
            clock: Arc::new(SystemClock::new()),
            events: Events::default(),
        }
    }

    /// Sets a key that is already published and will sign next.
    pub fn next(mut self, key: SigningKey) -> Self {
        self.next = Some(key);
        self
    }

    /// Adds a key that signed tokens before. May be called repeatedly. The private part is dropped.
    ///
    /// The key verifies until it is [withdrawn](KeyRing::withdraw), because the ring does not know
    /// if another process still signs with it.
    pub fn retiring(mut self, key: SigningKey) -> Self {
        self.retiring.push(key);
        self
    }

    /// Sets the rotation period, after which the active key is replaced by a generated key of the
    /// same algorithm. The minimum is an hour or [`publish_ahead`](Self::publish_ahead), whichever
    /// is longer. Not available for secrets.
    ///
    /// Rotation happens when the ring is used. The call that finds a new key due generates it,
    /// which takes less than a millisecond, or some tenths of a second for RSA.
    ///
    /// Generated keys exist only in this process. If several processes share the keys, rotate
    /// manually.
    pub fn rotate_every(mut self, period: Duration) -> Self {
        self.timing.rotate_every = Some(period);
        self
    }

    /// Sets the time for which a key is published before it signs, so that every verifier has
    /// fetched it. The default is an hour, the minimum is [`max_age`](Self::max_age).
    pub fn publish_ahead(mut self, span: Duration) -> Self {
        self.timing.publish_ahead = span;
        self
    }

    /// Sets the time for which verifiers may cache the published set (`Cache-Control: max-age`).
    /// The default is 10 minutes, the range a minute to a day.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.timing.max_age = max_age;
        self
    }

    /// Sets the clock of the ring and of every issuer that uses it. The default is the operating
    /// system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the event sink. It receives an event when another key becomes active. The sink must not
    /// use the ring.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Builds the ring.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::MixedFamilies`] if the ring has secrets and key pairs (RFC 8725 §3.1).
    /// - [`ConfigError::KeySet`] if two keys have the same `kid`, or there are more than three
    ///   secrets.
    /// - [`ConfigError::Invalid`] if a time is out of range, or a rotation period is set for
    ///   secrets.
    pub fn build(self) -> Result<KeyRing, ConfigError> {
        self.timing.check()?;
        if self.timing.rotate_every.is_some() && self.active.algorithm().is_hmac() {
            return Err(ConfigError::invalid(
                "rotate_every",
                "no verifier would have a generated secret; rotate secrets manually",
            ));
        }
        let now = self.clock.monotonic();
        let phases = Phases::new(self.active, self.next, &self.retiring, now);
        let local = Local::assemble(phases, self.timing, self.clock, self.events)?;
        Ok(KeyRing {
            kind: Kind::Local(local),
        })
    }
}

impl Timing {
    fn check(&self) -> Result<(), ConfigError> {
        if !(MIN_MAX_AGE..=MAX_MAX_AGE).contains(&self.max_age) {
            let problem = "not between a minute and a day";
            return Err(ConfigError::invalid("max_age", problem));
        }
        if self.publish_ahead < self.max_age {
            let problem = "less than `max_age`: verifiers would miss the key";
            return Err(ConfigError::invalid("publish_ahead", problem));
        }
        let shortest = MIN_PERIOD.max(self.publish_ahead);
        if self.rotate_every.is_some_and(|period| period < shortest) {
            let problem = "less than an hour, or than `publish_ahead`";
            return Err(ConfigError::invalid("rotate_every", problem));
        }
        Ok(())
    }
}

impl fmt::Debug for KeyRingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRingBuilder").finish_non_exhaustive()
    }
}

/// The longest time for which this crate's remote key sets, and most others, cache a set.
const DEFAULT_PUBLISH_AHEAD: Duration = Duration::from_secs(3600);
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
const MIN_MAX_AGE: Duration = Duration::from_secs(60);
const MAX_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Limits the number of retiring keys.
const MIN_PERIOD: Duration = Duration::from_secs(3600);
