//! Where the crate takes the time from.

use std::{
    fmt,
    sync::Arc,
    time::{Instant, SystemTime},
};

/// A source of time.
///
/// The wall clock decides about claims (`exp`, `nbf`, `iat`), the monotonic clock about ages and
/// waits, so that a stepped wall clock never keeps a cache alive.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> SystemTime;

    /// The monotonic clock.
    fn monotonic(&self) -> Instant;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn monotonic(&self) -> Instant {
        (**self).monotonic()
    }
}

/// The clocks of the operating system: the default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The clocks of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
