//! What a counter allows.

use std::time::Duration;

/// What a counter allows: the numbers that a store's atomic operation is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThrottleRule {
    /// How many attempts may fail before one has to wait.
    pub free: u32,
    /// The first wait; each one after it is twice as long.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// After how long the failures are forgotten.
    pub memory: Duration,
    /// Where `memory` begins: with the end of the last wait, or else with the first failure.
    pub memory_slides: bool,
    /// Whether a success forgets the failures. Otherwise it only gives its own attempt back.
    pub success_clears: bool,
    /// After how long an attempt that was never settled counts as failed.
    pub hold: Duration,
}

impl ThrottleRule {
    /// A wait that only [`ThrottleStore::clear`](super::ThrottleStore::clear) ends: a hundred years, so
    /// that a store can add it to a time.
    pub const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// For one name from one network, or on one trusted device.
    pub const PAIR: Self = Self {
        free: 5,
        first_wait: Duration::from_secs(1),
        longest_wait: QUARTER,
        memory: QUARTER,
        memory_slides: true,
        success_clears: true,
        hold: HOLD,
    };

    /// For one name from everywhere. A success must not clear it: whoever owns the account signs in
    /// while others guess.
    pub const NAME: Self = Self {
        free: 50,
        first_wait: Duration::from_secs(30),
        longest_wait: Duration::from_secs(30),
        memory: QUARTER,
        memory_slides: false,
        success_clears: false,
        hold: HOLD,
    };

    /// After so many failures within a day nothing is allowed until somebody unlocks.
    pub(super) fn lock(failures: u32) -> Self {
        Self {
            free: failures,
            first_wait: Self::FOREVER,
            longest_wait: Self::FOREVER,
            memory: Duration::from_secs(24 * 60 * 60),
            memory_slides: false,
            success_clears: true,
            hold: HOLD,
        }
    }

    /// The wait after so many failures.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first_wait
            .saturating_mul(factor)
            .min(self.longest_wait)
    }
}

const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Longer than any wait for a turn and a hash together, and short for who comes after a crash.
const HOLD: Duration = Duration::from_secs(10);
