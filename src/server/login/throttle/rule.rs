//! The limits of a counter.

use std::time::Duration;

/// The limits of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThrottleRule {
    /// The number of failures without a wait.
    pub(super) free: u32,
    /// The first wait. Each further one is twice as long.
    pub(super) first_wait: Duration,
    /// The longest wait.
    pub(super) longest_wait: Duration,
    /// The time after which the failures are cleared.
    pub(super) memory: Duration,
    /// The start of `memory`: if `true`, the end of the last wait, otherwise the first failure.
    pub(super) memory_slides: bool,
    /// `true` if a success clears the failures. Otherwise it gives back only its own attempt.
    pub(super) success_clears: bool,
    /// The time after which an attempt that was never settled counts as failed.
    pub(super) hold: Duration,
}

impl ThrottleRule {
    /// A wait that only an unlock ends: a hundred years, so that it can be added to a time.
    pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// The rule for a name from one network, and for a trusted device.
    pub(crate) const PAIR: Self = Self {
        free: 5,
        first_wait: Duration::from_secs(1),
        longest_wait: QUARTER,
        memory: QUARTER,
        memory_slides: true,
        success_clears: true,
        hold: HOLD,
    };

    /// The rule for a name from all networks. A success does not clear it, because the owner of the
    /// account signs in while others guess.
    pub(crate) const NAME: Self = Self {
        free: 50,
        first_wait: Duration::from_secs(30),
        longest_wait: Duration::from_secs(30),
        memory: QUARTER,
        memory_slides: false,
        success_clears: false,
        hold: HOLD,
    };

    /// The rule for mails of one purpose to one address. The count is independent of the account, so
    /// that it reveals nothing.
    pub(crate) const MAIL: Self = Self {
        free: 5,
        first_wait: HOUR,
        longest_wait: HOUR,
        memory: HOUR,
        memory_slides: false,
        success_clears: false,
        hold: HOLD,
    };

    /// The rule for codes of a second factor, which have few digits: for a subject, over all networks. A
    /// success does not clear it.
    pub(super) const CODE: Self = Self {
        free: 100,
        first_wait: DAY,
        longest_wait: DAY,
        memory: DAY,
        memory_slides: false,
        success_clears: false,
        hold: HOLD,
    };

    /// The rule for a code that was sent by mail: five guesses. The code expires before the wait ends.
    pub(crate) const MAIL_CODE: Self = Self::MAIL;

    /// Returns the rule of a hard lock: after this many failures within a day, every attempt is
    /// refused until the name is unlocked.
    pub(super) fn lock(failures: u32) -> Self {
        Self {
            free: failures,
            first_wait: Self::FOREVER,
            longest_wait: Self::FOREVER,
            memory: DAY,
            memory_slides: false,
            success_clears: true,
            hold: HOLD,
        }
    }

    /// Returns the wait after this many failures.
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

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Longer than the maximum wait for a turn and a hash together, and short for clients after a crash
/// of the server.
const HOLD: Duration = Duration::from_secs(10);
