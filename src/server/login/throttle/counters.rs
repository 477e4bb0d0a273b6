//! The counters over a store: load, decide, swap.

use std::time::Duration;

use tokio::time::Instant;

use super::{AttemptOutcome, Reserve, ThrottleKey, ThrottleRow, ThrottleRule, gate::Contender};
use crate::{
    error::StoreError, store::port::ErasedThrottleStore, task::Contention, time::Timestamp,
};

/// An attempt that was counted and granted.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Reservation {
    pub(super) key: ThrottleKey,
    pub(super) rule: ThrottleRule,
    batch: Timestamp,
}

/// The reason why a counter has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Other nodes changed the row until the deadline. Nothing was counted.
    Contended,
    Store(StoreError),
}

impl From<StoreError> for Unanswered {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Counts an attempt. A refusal writes nothing.
///
/// Only one contender of a node calls the store for a key, so that the number of swaps that meet is
/// at most the number of nodes.
pub(super) async fn reserve(
    store: &dyn ErasedThrottleStore,
    contender: &Contender<'_>,
    rule: &ThrottleRule,
    give_up: Instant,
) -> Result<Reserve<Reservation>, Unanswered> {
    let key = *contender.key();
    let mut contention = Contention::until(give_up);
    loop {
        let loaded = store.load(&key).await?;
        let mut row = loaded.row.unwrap_or_default();
        let batch = match row.reserve(rule, loaded.now) {
            Reserve::Granted(batch) => batch,
            Reserve::Pending(held) => return Ok(Reserve::Pending(held)),
            Reserve::Wait(wait) => return Ok(Reserve::Wait(wait)),
        };
        if store.swap(&key, loaded.row.as_ref(), Some(&row)).await? {
            let rule = *rule;
            return Ok(Reserve::Granted(Reservation { key, rule, batch }));
        }
        if !contention.wait().await {
            return Err(Unanswered::Contended);
        }
    }
}

/// Counts a use that is never given back, with one load and one swap. A refusal writes nothing.
pub(super) async fn count(
    store: &dyn ErasedThrottleStore,
    contender: &Contender<'_>,
    rule: &ThrottleRule,
    give_up: Instant,
) -> Result<Reserve<()>, Unanswered> {
    let key = *contender.key();
    let mut contention = Contention::until(give_up);
    loop {
        let loaded = store.load(&key).await?;
        let mut row = loaded.row.unwrap_or_default();
        match row.reserve(rule, loaded.now) {
            Reserve::Granted(batch) => {
                let _ = row.settle(rule, loaded.now, batch, AttemptOutcome::Failed);
            }
            Reserve::Pending(held) => return Ok(Reserve::Pending(held)),
            Reserve::Wait(wait) => return Ok(Reserve::Wait(wait)),
        }
        if store.swap(&key, loaded.row.as_ref(), Some(&row)).await? {
            return Ok(Reserve::Granted(()));
        }
        if !contention.wait().await {
            return Err(Unanswered::Contended);
        }
    }
}

/// Records the result of an attempt, and returns the wait that begins.
pub(super) async fn settle(
    store: &dyn ErasedThrottleStore,
    contender: &Contender<'_>,
    reservation: Reservation,
    outcome: AttemptOutcome,
    give_up: Instant,
) -> Result<Duration, Unanswered> {
    let Reservation { key, rule, batch } = reservation;
    debug_assert_eq!(contender.key(), &key);
    let mut contention = Contention::until(give_up);
    loop {
        let loaded = store.load(&key).await?;
        // A missing row was cleared or has expired.
        let Some(from) = loaded.row else {
            return Ok(Duration::ZERO);
        };
        let mut row = from;
        let wait = row.settle(&rule, loaded.now, batch, outcome);
        let to: Option<&ThrottleRow> = (!row.is_spent(loaded.now)).then_some(&row);
        if row == from || store.swap(&key, Some(&from), to).await? {
            return Ok(wait);
        }
        if !contention.wait().await {
            return Err(Unanswered::Contended);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: ThrottleRule = ThrottleRule::PAIR;

    /// The state of a node. Every change of it is one step, and time passes between the steps.
    #[derive(Clone, Copy, Debug)]
    enum Node {
        Idle,
        Reserving(Option<ThrottleRow>, Timestamp),
        Checking(Timestamp, AttemptOutcome),
        Settling(Timestamp, AttemptOutcome, Option<ThrottleRow>, Timestamp),
    }

    /// The nodes on one row, and what they did.
    #[derive(Debug)]
    struct Model {
        row: Option<ThrottleRow>,
        now: Timestamp,
        nodes: [Node; 4],
        granted: u32,
    }

    impl Model {
        fn new() -> Self {
            Self {
                row: None,
                now: Timestamp::from_millis(1_000_000),
                nodes: [Node::Idle; 4],
                granted: 0,
            }
        }

        fn swap(&mut self, from: Option<ThrottleRow>, to: ThrottleRow, at: Timestamp) -> bool {
            let swapped = self.row == from;
            if swapped {
                self.row = (!to.is_spent(at)).then_some(to);
            }
            swapped
        }

        fn step(&mut self, node: usize, outcome: AttemptOutcome, pause: Duration) {
            self.now = self.now.plus(pause);
            self.nodes[node] = match self.nodes[node] {
                Node::Idle => Node::Reserving(self.row, self.now),
                Node::Reserving(from, at) => {
                    let mut row = from.unwrap_or_default();
                    match row.reserve(&RULE, at) {
                        Reserve::Granted(batch) if self.swap(from, row, at) => {
                            assert!(row.open <= RULE.free.saturating_sub(row.failures).max(1));
                            self.granted += 1;
                            Node::Checking(batch, outcome)
                        }
                        _ => Node::Idle,
                    }
                }
                Node::Checking(batch, outcome) => {
                    Node::Settling(batch, outcome, self.row, self.now)
                }
                Node::Settling(batch, outcome, from, at) => {
                    let Some(mut row) = from else {
                        self.nodes[node] = Node::Idle;
                        return;
                    };
                    let _ = row.settle(&RULE, at, batch, outcome);
                    match self.swap(from, row, at) {
                        true => Node::Idle,
                        false => Node::Checking(batch, outcome),
                    }
                }
            };
        }
    }

    proptest! {
        /// However loads and swaps of four nodes interleave, and whatever time passes between them,
        /// guesses get no more than the free attempts and one for each wait that has passed.
        #[test]
        fn u3_guesses_on_four_nodes_get_no_more_than_the_free_attempts(
            steps in prop::collection::vec((0_usize..4, 0_u64..3_000), 1..250),
        ) {
            let mut model = Model::new();
            let start = model.now;
            for (node, millis) in steps {
                model.step(node, AttemptOutcome::Failed, Duration::from_millis(millis));
                let waits = (model.now.since(start).as_secs() + 1).ilog2();
                prop_assert!(model.granted <= RULE.free + waits, "{model:?}");
            }
        }

        /// Correct passwords are granted again and again, and leave no row.
        #[test]
        fn u4_correct_logins_on_four_nodes_leave_no_row(
            steps in prop::collection::vec((0_usize..4, 0_u64..20), 1..250),
        ) {
            let mut model = Model::new();
            for (node, millis) in steps {
                model.step(node, AttemptOutcome::Succeeded, Duration::from_millis(millis));
            }
            let granted = model.granted;
            for node in (0..4).cycle().take(200) {
                model.step(node, AttemptOutcome::Succeeded, Duration::ZERO);
            }
            prop_assert!(model.granted > granted);
            // Let every node finish its attempt, one after the other.
            for node in 0..4 {
                for _ in 0..8 {
                    if !matches!(model.nodes[node], Node::Idle | Node::Reserving(..)) {
                        model.step(node, AttemptOutcome::Succeeded, Duration::ZERO);
                    }
                }
            }
            prop_assert_eq!(model.row, None);
        }
    }
}
