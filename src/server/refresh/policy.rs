//! The leniency of refreshes.

use std::time::Duration;

use crate::error::ConfigError;

/// The treatment of a refresh token that is presented again after its use.
///
/// Two tabs that refresh concurrently, and a response lost in transit, look like theft to a server
/// that accepts every refresh token once. A policy sets how much repetition is accepted.
///
/// | policy | same token again | after a lost response, much later | use for |
/// |---|---|---|---|
/// | [`strict`](Self::strict) | theft | theft | confidential clients (RFC 9700 §4.14 to the letter) |
/// | [`browser`](Self::browser) *(default)* | the same response within 30 s | theft | browsers |
/// | [`balanced`](Self::balanced) | the same response within 30 s | a new response within 24 h, while the lost token is unused | mobile apps; needs confirmations |
///
/// Sessions that are bound to a key follow [`of_bound_sessions`](Self::of_bound_sessions), whatever the
/// policy is.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::server::refresh::RefreshPolicy;
///
/// let policy = RefreshPolicy::browser().grace(Duration::from_secs(10))?;
/// assert_eq!(policy.grace_window(), Duration::from_secs(10));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    grace: Duration,
    late_parent: Duration,
    is_of_bound: bool,
}

impl RefreshPolicy {
    /// Accepts every refresh token once. A second use revokes the session.
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            grace: Duration::ZERO,
            late_parent: Duration::ZERO,
            is_of_bound: false,
        }
    }

    /// For 30 s after a refresh, both the old and the new token return the new one.
    #[must_use]
    pub const fn browser() -> Self {
        Self {
            grace: GRACE,
            late_parent: Duration::ZERO,
            is_of_bound: false,
        }
    }

    /// Extends [`browser`](Self::browser): for 24 hours, the parent of a successor that was never
    /// used returns another successor, at most three times in a row.
    ///
    /// A thief's copy of a spent token is such a parent too. The policy therefore needs
    /// [`Confirmations`](crate::layer::Confirmations), which record that a successor has arrived once its
    /// access token is used.
    #[must_use]
    pub const fn balanced() -> Self {
        Self {
            grace: GRACE,
            late_parent: LATE_PARENT,
            is_of_bound: false,
        }
    }

    /// Returns the policy of sessions that are bound to a key of their client, under this policy.
    ///
    /// A copied refresh token is of no use without the key, so that a late parent is a lost response and not
    /// a theft. The policy is as lenient as [`balanced`](Self::balanced), needs no confirmations, and has no
    /// maximum number of repetitions. The grace window is that of this policy, or 30 s if it has none.
    #[must_use]
    pub const fn of_bound_sessions(self) -> Self {
        Self {
            grace: match self.grace.is_zero() {
                true => GRACE,
                false => self.grace,
            },
            late_parent: LATE_PARENT,
            is_of_bound: true,
        }
    }

    /// A policy with this grace window alone.
    pub(crate) const fn within(grace: Duration) -> Self {
        Self {
            grace,
            late_parent: Duration::ZERO,
            is_of_bound: false,
        }
    }

    /// Sets the grace window, 1 to 300 seconds; 30 by default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: `window` is out of the range, or the policy is
    /// [`strict`](Self::strict), which has no grace window.
    pub fn grace(self, window: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(300);
        if self.grace.is_zero() || !range.contains(&window) {
            return Err(ConfigError::invalid(
                "the grace window",
                "must be 1 to 300 seconds; the strict policy has none",
            ));
        }
        Ok(Self {
            grace: window,
            ..self
        })
    }

    /// Returns the time after a refresh during which the old and the new token get the same response.
    #[must_use]
    pub fn grace_window(&self) -> Duration {
        self.grace
    }

    /// Returns the time after a refresh during which the parent of an unused successor gets another
    /// successor; zero if never.
    #[must_use]
    pub fn late_parent_window(&self) -> Duration {
        self.late_parent
    }

    /// Returns the maximum number of consecutive responses to late parents between two confirmed
    /// generations.
    #[must_use]
    pub fn max_reissues(&self) -> u32 {
        match self.is_of_bound {
            true => u32::MAX,
            false => MAX_REISSUES,
        }
    }

    /// Returns `true` if the policy requires confirmations.
    #[must_use]
    pub fn needs_confirmations(&self) -> bool {
        !self.late_parent.is_zero() && !self.is_of_bound
    }
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        Self::browser()
    }
}

const GRACE: Duration = Duration::from_secs(30);
const LATE_PARENT: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_REISSUES: u32 = 3;
