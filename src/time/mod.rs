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
    fn now(&self) -> Timestamp;

    /// Returns the time of the monotonic clock.
    fn monotonic(&self) -> Instant;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
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
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
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

/// A point in time: milliseconds since 1970, UTC. It is the only type of times in this crate's API.
///
/// Methods that set a time accept a [`SystemTime`] and an [`OffsetDateTime`] too. Arithmetic
/// saturates.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use tower_jwt_auth::time::Timestamp;
///
/// let at = Timestamp::from_secs(1_700_000_000).plus(Duration::from_millis(250));
/// assert_eq!((at.as_secs(), at.as_millis()), (1_700_000_000, 1_700_000_000_250));
/// assert_eq!(at.to_calendar().year(), 2023);
/// assert_eq!(Timestamp::from(SystemTime::from(at)), at);
/// ```
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

    /// Creates a timestamp from seconds since 1970, the unit of a `NumericDate` (RFC 7519 §2).
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
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
        // Every request reads the clock, and `as_millis` has 128 bits.
        let millis = |duration: Duration| {
            let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
            let millis = seconds.saturating_mul(1000);
            millis.saturating_add(i64::from(duration.subsec_millis()))
        };
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

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_millis(time.0.unsigned_abs());
        let moved = match time.0 >= 0 {
            true => Self::UNIX_EPOCH.checked_add(distance),
            false => Self::UNIX_EPOCH.checked_sub(distance),
        };
        // A time that the operating system cannot represent, which no clock returns.
        moved.unwrap_or(Self::UNIX_EPOCH)
    }
}
