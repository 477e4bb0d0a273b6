//! The rate limit of fetches for unknown `kid` values.

use std::time::{Duration, Instant};

/// A rate limit: a burst of two, then one per cooldown.
#[derive(Default)]
pub(super) struct Allowance {
    /// The remaining permits, and the time of the last refill.
    state: Option<(u32, Instant)>,
}

impl Allowance {
    /// Takes a permit. Returns `false` if none is left.
    pub(super) fn take(&mut self, now: Instant, cooldown: Duration) -> bool {
        let (left, since) = self.state.unwrap_or((BURST, now));
        let passed = now.saturating_duration_since(since);
        let earned = match passed.as_nanos().checked_div(cooldown.as_nanos()) {
            Some(earned) => u32::try_from(earned).unwrap_or(BURST),
            None => BURST,
        };
        let left = left.saturating_add(earned).min(BURST);
        let since = if left == BURST {
            now
        } else {
            since + cooldown * earned
        };
        self.state = Some((left.saturating_sub(1), since));
        left > 0
    }
}

const BURST: u32 = 2;
