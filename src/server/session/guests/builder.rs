//! The builder of [`Guests`].

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{ClaimHook, Guests, Inner};
use crate::{
    error::ConfigError,
    server::session::{Sessions, builder::in_range},
    store::port::ErasedGuestStore,
};

/// Builds [`Guests`]. Invalid settings are reported by [`build`](Self::build).
#[must_use = "nothing is built before `build` is called"]
pub struct GuestsBuilder(Inner);

impl GuestsBuilder {
    pub(super) fn new(sessions: Sessions, store: Arc<dyn ErasedGuestStore>) -> Self {
        Self(Inner {
            sessions,
            store,
            hook: None,
            patience: Duration::from_secs(2),
            hook_timeout: Duration::from_secs(20),
            link_within: Duration::from_secs(60 * 60),
            claims_every: Duration::from_secs(15),
        })
    }

    /// Sets the hook that runs after a user has claimed a guest; none by default.
    pub fn on_claim(mut self, hook: impl ClaimHook) -> Self {
        self.0.hook = Some(Arc::new(hook));
        self
    }

    /// Sets how long a login waits for the hook, 0 to 10 s; 2 s by default. The hook continues in
    /// the background after that.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.0.patience = patience;
        self
    }

    /// Sets the timeout of one call of the hook, 100 ms to 25 s; 20 s by default. A hook that
    /// exceeds it is dropped and called again later.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.0.hook_timeout = timeout;
        self
    }

    /// Sets the time after its last write during which a guest can be linked, a minute to a day; an
    /// hour by default.
    ///
    /// # Security
    ///
    /// On a shared computer, the next person can take over the previous person's conversation
    /// within this time.
    pub fn link_within(mut self, time: Duration) -> Self {
        self.0.link_within = time;
        self
    }

    /// Sets how often [`Guests::spawn_claim_worker`] runs the pending claims, 10 ms to an hour; 15 s by
    /// default.
    pub fn claims_every(mut self, interval: Duration) -> Self {
        self.0.claims_every = interval;
        self
    }

    /// Validates the settings and returns the guests.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a duration is out of its range, or the guests are known to be in
    /// another store than the sessions.
    pub fn build(self) -> Result<Guests, ConfigError> {
        let Self(guests) = self;
        let guests_of = guests.store.sessions();
        let sessions_of = guests.sessions.inner.store.users();
        if guests_of
            .zip(sessions_of)
            .is_some_and(|(one, other)| one != other)
        {
            return Err(ConfigError::invalid(
                "store",
                "must be the store of the sessions: a claim ends the guest's sessions in the same step",
            ));
        }
        in_range("patience", guests.patience, PATIENCE)?;
        in_range("hook_timeout", guests.hook_timeout, HOOK_TIMEOUTS)?;
        in_range("link_within", guests.link_within, LINK_WITHIN)?;
        in_range("claims_every", guests.claims_every, CLAIMS_EVERY)?;
        Ok(Guests {
            inner: Arc::new(guests),
        })
    }
}

impl fmt::Debug for GuestsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestsBuilder")
            .field("patience", &self.0.patience)
            .field("hook_timeout", &self.0.hook_timeout)
            .field("link_within", &self.0.link_within)
            .finish_non_exhaustive()
    }
}

const PATIENCE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);
/// Shorter than `FIRST_RETRY`, so that the same claim does not run twice concurrently.
const HOOK_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(25);
const CLAIMS_EVERY: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60 * 60);
const LINK_WITHIN: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);
