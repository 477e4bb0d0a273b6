//! How lenient a refresh is.

use std::time::Duration;

use crate::error::ConfigError;

/// What happens when a refresh token comes again that was used before.
///
/// Two tabs that refresh at once, and an answer lost on the way, look like theft to a server that
/// takes every refresh token once. A policy says how much of it is forgiven.
///
/// | policy | the same token again | the answer was lost, long ago | for |
/// |---|---|---|---|
/// | [`strict`](Self::strict) | theft | theft | confidential clients (the letter of RFC 9700 §4.14) |
/// | [`browser`](Self::browser) *(default)* | within 30 s the same answer | theft | browsers |
/// | [`balanced`](Self::balanced) | within 30 s the same answer | within 24 h a new answer, while nobody used the lost one | mobile apps; needs confirmations |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::refresh::RefreshPolicy;
///
/// let policy = RefreshPolicy::browser().grace(Duration::from_secs(10))?;
/// assert_eq!(policy.grace_window(), Duration::from_secs(10));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    grace: Duration,
    late_parent: Duration,
}

impl RefreshPolicy {
    /// Every refresh token works once; a second use ends the session.
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            grace: Duration::ZERO,
            late_parent: Duration::ZERO,
        }
    }

    /// For 30 seconds after a refresh the token and its successor are answered with that successor.
    #[must_use]
    pub const fn browser() -> Self {
        Self {
            grace: Duration::from_secs(30),
            late_parent: Duration::ZERO,
        }
    }

    /// As [`browser`](Self::browser), and for 24 hours the parent of a successor that was never
    /// used is answered with another successor, at most three times in a row.
    ///
    /// A thief's copy of a spent token is such a parent, so this needs to know which successors
    /// have arrived: it goes only with confirmations, by which the use of an access token proves
    /// that its refresh token arrived.
    #[must_use]
    pub const fn balanced() -> Self {
        Self {
            grace: Duration::from_secs(30),
            late_parent: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// The grace window: 1 to 300 seconds; 30 by default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: out of the range, or the policy is [`strict`](Self::strict), which
    /// has none.
    pub fn grace(self, window: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(300);
        if self.grace.is_zero() || !range.contains(&window) {
            return Err(ConfigError::invalid(
                "the grace window",
                "1 to 300 seconds, and none for the strict policy",
            ));
        }
        Ok(Self {
            grace: window,
            ..self
        })
    }

    /// How long a token and its successor are answered alike.
    #[must_use]
    pub fn grace_window(&self) -> Duration {
        self.grace
    }

    /// How long the parent of an unused successor is answered with another one; zero for never.
    #[must_use]
    pub fn late_parent_window(&self) -> Duration {
        self.late_parent
    }

    /// How many late parents in a row are answered, between two confirmed generations.
    #[must_use]
    pub fn max_reissues(&self) -> u32 {
        MAX_REISSUES
    }

    /// Whether it may only be used where confirmations are wired.
    #[must_use]
    pub fn needs_confirmations(&self) -> bool {
        !self.late_parent.is_zero()
    }
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self::browser()
    }
}

const MAX_REISSUES: u32 = 3;
