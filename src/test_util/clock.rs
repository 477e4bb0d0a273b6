//! A clock that a test moves.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::time::{Clock, Timestamp};

/// A clock that moves only when the test moves it.
///
/// Clones share their time: a test keeps one and passes the other on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_jwt_auth::{time::Clock, test_util::TestClock};
///
/// let clock = TestClock::new();
/// let (wall, monotonic) = (clock.now(), clock.monotonic());
///
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now(), wall.plus(Duration::from_secs(90)));
///
/// // An administrator sets the wall clock back: ages do not change.
/// clock.set(wall);
/// assert_eq!(clock.now(), wall);
/// assert_eq!(clock.monotonic(), monotonic + Duration::from_secs(90));
/// ```
#[derive(Clone, Debug)]
pub struct TestClock {
    time: Arc<Mutex<Time>>,
}

#[derive(Debug)]
struct Time {
    wall: Timestamp,
    monotonic: Instant,
}

impl TestClock {
    /// Creates a clock that is stopped at 2026-01-01 00:00:00 UTC.
    #[must_use]
    pub fn new() -> Self {
        Self::at(START)
    }

    /// Creates a clock that is stopped at this time.
    #[must_use]
    pub fn at(wall: impl Into<Timestamp>) -> Self {
        Self {
            time: Arc::new(Mutex::new(Time {
                wall: wall.into(),
                monotonic: Instant::now(),
            })),
        }
    }

    /// Moves the wall clock and the monotonic clock forward.
    ///
    /// # Panics
    ///
    /// If the operating system cannot represent the new time.
    pub fn advance(&self, by: Duration) {
        let mut time = self.lock();
        time.wall = time.wall.plus(by);
        time.monotonic += by;
    }

    /// Sets the wall clock, forward or back. The monotonic clock stays.
    pub fn set(&self, wall: impl Into<Timestamp>) {
        self.lock().wall = wall.into();
    }

    /// Returns the wall clock in seconds since 1970, in the form of a claim's `NumericDate` (RFC 7519
    /// §2).
    ///
    /// The value is negative before 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.now().as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.lock().wall
    }

    fn monotonic(&self) -> Instant {
        self.lock().monotonic
    }
}

const START: Timestamp = Timestamp::from_secs(1_767_225_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_time() {
        let clock = TestClock::new();
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.timestamp(), 1_767_225_605);
        assert_eq!(other.monotonic(), clock.monotonic());
    }

    #[test]
    fn the_wall_clock_may_go_back_before_1970_and_ages_stay() {
        let clock = TestClock::new();
        let start = clock.monotonic();
        clock.set(Timestamp::from_secs(-2));
        assert_eq!(clock.timestamp(), -2);
        assert_eq!(clock.monotonic(), start);
    }
}
