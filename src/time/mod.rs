//! Clocks and timestamps.
//!
//! | item | contents |
//! |---|---|
//! | [`Clock`] | the source of time of verifiers, key sets and issuers; tests replace it by a `test_util::TestClock` |
//! | [`SystemClock`] | the clocks of the operating system, the default |
//! | [`Timestamp`] | a point in time in milliseconds, as stores keep it |
//!
//! Claims are compared with the wall clock, ages and waits with the monotonic clock. Sessions,
//! revocations and counters use only the clock of their store, so that differing clocks of the nodes
//! have no effect.

pub(crate) mod date;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use time::OffsetDateTime;

/// A source of time.
///
/// The wall clock is used for claims (`exp`, `nbf`, `iat`). The monotonic clock is used for ages
/// and waits, so that setting the wall clock never extends the life of a cache entry.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of the wall clock.
    fn now(&self) -> SystemTime;

    /// Returns the time of the monotonic clock.
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

/// The clocks of the operating system. The default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// Creates the clock.
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

/// A point in time with the resolution of the stores: milliseconds since 1970, UTC.
///
/// Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the time that is `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Returns the time that is `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later than `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }

    /// Returns the same time as a calendar date, clamped to years with four digits.
    #[must_use]
    pub fn to_calendar(self) -> OffsetDateTime {
        let earliest = time::UtcDateTime::MIN.unix_timestamp_nanos();
        let latest = time::UtcDateTime::MAX.unix_timestamp_nanos();
        let nanos = i128::from(self.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos.clamp(earliest, latest))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        let millis = time.unix_timestamp_nanos() / 1_000_000;
        Self(i64::try_from(millis).unwrap_or_default())
    }
}
