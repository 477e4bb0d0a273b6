//! The builder of a shared key ring.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    SharedKeyRing,
    error::SharedRingError,
    follow::{Follow, Following},
    live::{Live, Reading},
    ring::{Ring, Schedule},
    seal::Seals,
    sync::{Access, Node},
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    key::Algorithm,
    secret::SecretKey,
    store::port::ErasedKeyRingStore,
    task,
    time::{Clock, SystemClock},
};

/// A builder of a [`SharedKeyRing`]. [`open`](Self::open) reports invalid values.
#[must_use = "there is no ring before `open` is called"]
pub struct SharedKeyRingBuilder {
    store: Arc<dyn ErasedKeyRingStore>,
    secret: SecretKey,
    algorithm: Algorithm,
    rotate_every: Duration,
    publish_ahead: Option<Duration>,
    max_age: Option<Duration>,
    clock: Arc<dyn Clock>,
    events: Events,
}

impl SharedKeyRingBuilder {
    pub(super) fn new(store: Arc<dyn ErasedKeyRingStore>, secret: SecretKey) -> Self {
        Self {
            store,
            secret,
            algorithm: Algorithm::EdDsa,
            rotate_every: DEFAULT_ROTATE_EVERY,
            publish_ahead: None,
            max_age: None,
            clock: Arc::new(SystemClock::new()),
            events: Events::default(),
        }
    }

    /// Sets the algorithm of new keys. The default is `EdDSA`. A ring that exists changes with its
    /// next rotation.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets the time for which a key signs. The default is 30 days.
    pub fn rotate_every(mut self, period: Duration) -> Self {
        self.rotate_every = period;
        self
    }

    /// Sets the time for which a key is published before it signs. It is also the time after which a
    /// node that cannot read the ring stops signing. The minimum is [`max_age`](Self::max_age) plus
    /// a minute. The default is an hour, or half of the rotation period if that is shorter.
    pub fn publish_ahead(mut self, span: Duration) -> Self {
        self.publish_ahead = Some(span);
        self
    }

    /// Sets the time for which verifiers may cache the published set (`Cache-Control: max-age`). The
    /// maximum is a quarter of the rotation period. The default is 10 minutes, or that maximum if it
    /// is shorter.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Sets the local clock. Every time of the ring is the store's; the local clock measures the
    /// time since the last load, and is the clock of every issuer that uses the ring. The default is
    /// the operating system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the event sink. It receives an event when another key becomes active, and when the node
    /// loses and recovers the ring. The sink must not use the ring.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Loads the ring, creates it if the store has none, and starts a background task that follows
    /// it. The task ends with the last clone of the ring and of its [`KeyRing`](super::super::KeyRing).
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Invalid`] if a time is out of range or the algorithm uses secrets, if the
    ///   stored ring cannot be read (see [`SharedRingError::Unreadable`]), or if there is no tokio
    ///   runtime. A ring that cannot be read is never replaced.
    /// - [`ConfigError::Store`] if the store fails.
    /// - [`ConfigError::Algorithm`] if the algorithm is not supported.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. The ring may have been created, and the next call finds it.
    pub async fn open(self) -> Result<SharedKeyRing, ConfigError> {
        let schedule = self.schedule()?;
        if self.algorithm.is_hmac() {
            let problem = "a secret cannot be published; use the algorithm of a key pair";
            return Err(ConfigError::invalid("algorithm", problem));
        }
        let runtime = Handle::try_current()
            .map_err(|_| ConfigError::invalid("open", "must be called within a tokio runtime"))?;
        let access = Access {
            store: self.store,
            seals: Seals::new(&self.secret),
            algorithm: self.algorithm,
        };
        let refused = |error: SharedRingError| match error {
            SharedRingError::Store(error) => ConfigError::Store(error),
            other => ConfigError::invalid(RING, other.to_string()),
        };
        let stored = loop {
            let stored = access.load().await.map_err(refused)?;
            if stored.revision != 0 {
                break stored;
            }
            // Of several nodes that start, one creates the ring. No verifier has an older set.
            let first = access.generate(stored.now).map_err(refused)?;
            let ring = Ring::new(vec![first]);
            access.swap(0, 1, &ring, 0).await.map_err(refused)?;
        };
        let read = Reading::new(stored.now, &*self.clock);
        let keys = access.read(stored, schedule.max_age).map_err(refused)?;
        let live = Arc::new(Live::new(keys, read, schedule, self.clock, self.events));
        let node = Arc::new(Node::new(Arc::clone(&live), access));
        // A node that was away makes the changes that were due in the meantime.
        node.sync().await.map_err(refused)?;
        let task = task::spawn(&runtime, Follow::new(Arc::clone(&node)));
        Ok(SharedKeyRing::new(node, Following::new(live, task)))
    }

    fn schedule(&self) -> Result<Schedule, ConfigError> {
        let rotate_every = self.rotate_every;
        let most = rotate_every / 4;
        let max_age = self
            .max_age
            .unwrap_or_else(|| whole(most.min(DEFAULT_MAX_AGE)));
        if max_age < MIN_MAX_AGE || max_age > most {
            let problem = "not between a second and a quarter of the rotation period";
            return Err(ConfigError::invalid("max_age", problem));
        }
        let least = max_age + MARGIN;
        let publish_ahead = self
            .publish_ahead
            .unwrap_or_else(|| least.max(DEFAULT_PUBLISH_AHEAD.min(rotate_every / 2)));
        if publish_ahead < least {
            let problem = "less than `max_age` and a minute: verifiers would miss the key";
            return Err(ConfigError::invalid("publish_ahead", problem));
        }
        if rotate_every <= publish_ahead {
            let problem = "not longer than `publish_ahead`";
            return Err(ConfigError::invalid("rotate_every", problem));
        }
        Ok(Schedule {
            rotate_every,
            publish_ahead,
            max_age,
        })
    }
}

impl fmt::Debug for SharedKeyRingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyRingBuilder")
            .finish_non_exhaustive()
    }
}

/// Cuts off a fraction of a second, which a header cannot contain.
fn whole(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

const RING: &str = "the key ring";
const DEFAULT_ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
const DEFAULT_PUBLISH_AHEAD: Duration = Duration::from_secs(3600);
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
const MIN_MAX_AGE: Duration = Duration::from_secs(1);
/// Room for the way of a set to a verifier and for the latency of the feed.
const MARGIN: Duration = Duration::from_secs(60);
