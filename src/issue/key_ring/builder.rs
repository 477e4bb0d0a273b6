//! Builds a key ring.

use std::{fmt, sync::Arc, time::Duration};

use super::{KeyRing, Timing, phases::Phases};
use crate::{
    clock::{Clock, SystemClock},
    error::ConfigError,
    event::{EventSink, Events},
    key::SigningKey,
};

/// Builds a [`KeyRing`]. Mistakes in the input are reported by [`build`](Self::build).
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

    /// A key that is published already and will sign next.
    pub fn next(mut self, key: SigningKey) -> Self {
        self.next = Some(key);
        self
    }

    /// A key that signed before. May be repeated. Its private half is dropped.
    ///
    /// It verifies until it is [withdrawn](KeyRing::withdraw): when it signed last, and whether
    /// another process still does, is not known here.
    pub fn retiring(mut self, key: SigningKey) -> Self {
        self.retiring.push(key);
        self
    }

    /// Replaces the active key by a generated one of its algorithm whenever it has signed for this
    /// long; at least an hour, and at least [`publish_ahead`](Self::publish_ahead). Not for secrets.
    ///
    /// Time passes when the ring is used. The call that finds a key due generates it: under a
    /// millisecond, but some tenths of a second for RSA.
    ///
    /// Generated keys live in this process: where several share the keys, rotate by hand.
    pub fn rotate_every(mut self, period: Duration) -> Self {
        self.timing.rotate_every = Some(period);
        self
    }

    /// How long a key is published before it signs: an hour by default, never less than
    /// [`max_age`](Self::max_age), so that every verifier has fetched it.
    pub fn publish_ahead(mut self, span: Duration) -> Self {
        self.timing.publish_ahead = span;
        self
    }

    /// How long verifiers may keep the published set (`Cache-Control: max-age`): 10 minutes by
    /// default, a minute to a day.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.timing.max_age = max_age;
        self
    }

    /// The clock, of the ring and of every issuer that uses it; the operating system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who is told when another key signs. It must not use the ring.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// The ring.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::MixedFamilies`]: secrets and key pairs in one ring (RFC 8725 §3.1).
    /// - [`ConfigError::KeySet`]: two keys of one `kid`, more than three secrets.
    /// - [`ConfigError::Invalid`]: a time out of its range, or rotation of secrets by time.
    pub fn build(self) -> Result<KeyRing, ConfigError> {
        self.timing.check()?;
        if self.timing.rotate_every.is_some() && self.active.algorithm().is_hmac() {
            return Err(ConfigError::invalid(
                "rotate_every",
                "a generated secret would be known to no verifier; rotate secrets by hand",
            ));
        }
        let now = self.clock.monotonic();
        let phases = Phases::new(self.active, self.next, &self.retiring, now);
        KeyRing::assemble(phases, self.timing, self.clock, self.events)
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

/// The longest that this crate's own remote key sets, and most others, keep a set.
const DEFAULT_PUBLISH_AHEAD: Duration = Duration::from_secs(3600);
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
const MIN_MAX_AGE: Duration = Duration::from_secs(60);
const MAX_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Keeps the number of retiring keys small.
const MIN_PERIOD: Duration = Duration::from_secs(3600);
