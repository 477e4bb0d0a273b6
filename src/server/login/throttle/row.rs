//! The state of one counter and its transitions.

use std::{num::TryFromIntError, time::Duration};

use super::ThrottleRule;
use crate::{error::StoreError, time::Timestamp};

/// The state of one login counter. Opaque to a store, except for its expiry.
///
/// The contents belong to this crate. They contain no name and no address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleRow {
    /// The number of failed attempts.
    pub(super) failures: u32,
    /// The number of attempts that were granted and are not settled yet.
    pub(super) open: u32,
    /// The time at which `open` last rose from zero. It identifies the attempts that `open` counts.
    batch: Timestamp,
    /// The time from which on the open attempts count as failed.
    open_until: Timestamp,
    /// The time until which every attempt is refused.
    blocked_until: Timestamp,
    /// The time at which the failures are cleared.
    forgotten_at: Timestamp,
    /// The time from which on the row limits nothing, even if its open attempts are never settled.
    expires_at: Timestamp,
}

/// The result of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve<T> {
    /// The attempt may proceed. It is settled afterwards.
    Granted(T),
    /// The open attempts decide. They are settled after this time at the latest.
    Pending(Duration),
    /// The attempt is refused for this time.
    Wait(Duration),
}

/// The outcome of a granted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// The password was wrong, or the account may not sign in.
    Failed,
    /// The password was right.
    Succeeded,
    /// The password was not checked.
    Undecided,
}

impl ThrottleRow {
    /// Returns the time from which on a store may delete the row, because it limits nothing.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns the text under which a store keeps the row: digits and colons, at most 160 bytes.
    /// Equal rows have equal texts.
    #[must_use]
    pub fn to_text(&self) -> String {
        let times = [
            self.batch,
            self.open_until,
            self.blocked_until,
            self.forgotten_at,
            self.expires_at,
        ];
        let head = format!("{FORMAT}:{}:{}", self.failures, self.open);
        times
            .iter()
            .fold(head, |text, time| format!("{text}:{}", time.as_millis()))
    }

    /// Reads a row from its text.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::StoreErrorKind::Invalid): the text is not the text of a row.
    pub fn from_text(text: &str) -> Result<Self, StoreError> {
        let numbers: Result<Vec<i64>, _> = text.split(':').map(str::parse).collect();
        let numbers = numbers.map_err(StoreError::invalid)?;
        let [FORMAT, failures, open, times @ ..] = numbers.as_slice() else {
            return Err(StoreError::invalid(UNKNOWN_FORMAT));
        };
        let [batch, open_until, blocked_until, forgotten_at, expires_at] = times else {
            return Err(StoreError::invalid(UNKNOWN_FORMAT));
        };
        let count = |number: &i64| {
            let count: Result<u32, TryFromIntError> = (*number).try_into();
            count.map_err(StoreError::invalid)
        };
        Ok(Self {
            failures: count(failures)?,
            open: count(open)?,
            batch: Timestamp::from_millis(*batch),
            open_until: Timestamp::from_millis(*open_until),
            blocked_until: Timestamp::from_millis(*blocked_until),
            forgotten_at: Timestamp::from_millis(*forgotten_at),
            expires_at: Timestamp::from_millis(*expires_at),
        })
    }

    /// Grants an attempt, or returns the time to wait.
    ///
    /// | first condition that holds | result | change |
    /// |---|---|---|
    /// | open > 0, and now ≥ `open_until` | – | the open attempts failed, as of `open_until`; continue |
    /// | failures > 0, and now ≥ `forgotten_at` | – | no failures, no block; continue |
    /// | now < `blocked_until` | [`Wait`](Reserve::Wait) | none |
    /// | open ≥ max(1, free − failures) | [`Pending`](Reserve::Pending) | none |
    /// | – | [`Granted`](Reserve::Granted) | one more open, until now + hold |
    pub(crate) fn reserve(&mut self, rule: &ThrottleRule, now: Timestamp) -> Reserve<Timestamp> {
        self.catch_up(rule, now);
        if now < self.blocked_until {
            return Reserve::Wait(self.blocked_until.since(now));
        }
        // Without free attempts, only one attempt may be open.
        if self.open >= rule.free.saturating_sub(self.failures).max(1) {
            return Reserve::Pending(self.open_until.since(now));
        }
        if self.open == 0 {
            self.batch = now;
        }
        self.open += 1;
        self.open_until = now.plus(rule.hold);
        self.date(rule);
        Reserve::Granted(self.batch)
    }

    /// Records the result of an attempt, and returns the wait that begins.
    ///
    /// | outcome | change |
    /// |---|---|
    /// | failed | one more failure, and with it a new wait and a new time of clearing |
    /// | succeeded | the attempt is given back; failures and block are cleared if the rule has `success_clears` |
    /// | undecided | the attempt is given back |
    ///
    /// An attempt whose hold is over has already been counted as failed. A late failure then
    /// changes nothing.
    pub(crate) fn settle(
        &mut self,
        rule: &ThrottleRule,
        now: Timestamp,
        batch: Timestamp,
        outcome: AttemptOutcome,
    ) -> Duration {
        self.catch_up(rule, now);
        let was_open = self.open > 0 && self.batch == batch;
        if was_open {
            self.open -= 1;
        }
        let wait = match outcome {
            AttemptOutcome::Failed if was_open => self.fail(rule, now, 1),
            AttemptOutcome::Succeeded if rule.success_clears => {
                self.failures = 0;
                self.blocked_until = Timestamp::default();
                Duration::ZERO
            }
            _ => Duration::ZERO,
        };
        self.date(rule);
        wait
    }

    /// Returns `true` if the row can be deleted because it no longer limits anything.
    pub(super) fn is_spent(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Returns the failures that the row will have if its open attempts are never settled.
    pub(crate) fn weight(&self) -> u32 {
        match self.open {
            0 => self.failures,
            open if self.open_until >= self.forgotten_at => open,
            open => self.failures.saturating_add(open),
        }
    }

    /// Applies the changes that depend only on time: open attempts fail when their hold is over.
    fn catch_up(&mut self, rule: &ThrottleRule, now: Timestamp) {
        if self.open > 0 && now >= self.open_until {
            let (lost, then) = (self.open, self.open_until);
            self.open = 0;
            self.forget(then);
            let _ = self.fail(rule, then, lost);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Timestamp) {
        if self.failures > 0 && now >= self.forgotten_at {
            self.failures = 0;
            self.blocked_until = Timestamp::default();
        }
    }

    fn fail(&mut self, rule: &ThrottleRule, now: Timestamp, count: u32) -> Duration {
        let first = self.failures == 0;
        self.failures = self.failures.saturating_add(count);
        let wait = rule.wait(self.failures);
        if wait > Duration::ZERO {
            self.blocked_until = now.plus(wait);
        }
        if first || rule.memory_slides {
            self.forgotten_at = now.plus(wait).plus(rule.memory);
        }
        // A permanent wait never clears its failures.
        if wait >= ThrottleRule::FOREVER {
            self.forgotten_at = self.blocked_until;
        }
        wait
    }

    /// Sets the expiry. An open attempt counts as failed, because it may never be settled.
    fn date(&mut self, rule: &ThrottleRule) {
        let mut last = *self;
        if last.open > 0 {
            last.catch_up(rule, last.open_until);
        }
        self.expires_at = match last.failures {
            0 => Timestamp::default(),
            _ => last.forgotten_at,
        };
    }
}

/// The number of the text format. A later format gets another number.
const FORMAT: i64 = 1;
const UNKNOWN_FORMAT: &str = "a login counter in an unknown format";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_millis((seconds * 1000.0) as i64 + 1_000_000)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn try_once(
        row: &mut ThrottleRow,
        rule: &ThrottleRule,
        now: Timestamp,
        outcome: AttemptOutcome,
    ) -> Duration {
        let Reserve::Granted(batch) = row.reserve(rule, now) else {
            panic!("not granted at {now:?}: {row:?}");
        };
        row.settle(rule, now, batch, outcome)
    }

    #[test]
    fn u5_waits_double_and_what_comes_during_one_changes_nothing() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::PAIR);
        let mut now = at(0.0);
        for _ in 0..4 {
            assert_eq!(
                try_once(&mut row, &rule, now, AttemptOutcome::Failed),
                Duration::ZERO
            );
        }
        for doubling in 0..14 {
            let wait = seconds((1 << doubling).min(900));
            assert_eq!(try_once(&mut row, &rule, now, AttemptOutcome::Failed), wait);
            let before = row;
            for part in [1, 2, 3] {
                let during = now.plus(wait * part / 4);
                assert_eq!(
                    row.reserve(&rule, during),
                    Reserve::Wait(now.plus(wait).since(during))
                );
                assert_eq!(row, before);
            }
            now = now.plus(wait);
        }
        // The row outlives the longest wait: a failure at its end causes the same wait again.
        assert_eq!(
            try_once(&mut row, &rule, now, AttemptOutcome::Failed),
            seconds(900)
        );
        assert!(!row.is_spent(now.plus(seconds(1799))));
        assert!(row.is_spent(now.plus(seconds(1800))));
        let mut rested = row;
        assert_eq!(
            try_once(
                &mut rested,
                &rule,
                now.plus(seconds(1800)),
                AttemptOutcome::Failed
            ),
            Duration::ZERO
        );
        // A success resets the counter.
        let _ = try_once(
            &mut row,
            &rule,
            now.plus(seconds(900)),
            AttemptOutcome::Succeeded,
        );
        assert!(row.is_spent(now));
    }

    #[test]
    fn u3_no_more_are_let_through_at_once_than_are_free() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::PAIR);
        let _ = try_once(&mut row, &rule, at(0.0), AttemptOutcome::Failed);
        let granted: Vec<_> = (0..100).map(|_| row.reserve(&rule, at(1.0))).collect();
        assert_eq!(
            granted
                .iter()
                .filter(|one| matches!(one, Reserve::Granted(_)))
                .count(),
            4
        );
        assert_eq!(granted[99], Reserve::Pending(rule.hold));
        for _ in 0..4 {
            let _ = row.settle(&rule, at(2.0), at(1.0), AttemptOutcome::Failed);
        }
        assert_eq!(
            row.reserve(&rule, at(2.5)),
            Reserve::Wait(Duration::from_millis(500))
        );
        // After the wait it is one at a time.
        assert!(matches!(row.reserve(&rule, at(3.0)), Reserve::Granted(_)));
        assert!(matches!(row.reserve(&rule, at(3.0)), Reserve::Pending(_)));
    }

    #[test]
    fn what_was_never_settled_counts_as_failed_and_only_once() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::PAIR);
        let Reserve::Granted(batch) = row.reserve(&rule, at(0.0)) else {
            panic!()
        };
        assert!(matches!(row.reserve(&rule, at(9.9)), Reserve::Granted(again) if again == batch));
        // Both ran out; the late word about one changes nothing, and not the attempt after it.
        let Reserve::Granted(next) = row.reserve(&rule, at(20.0)) else {
            panic!()
        };
        assert_eq!((row.failures, row.open), (2, 1));
        let _ = row.settle(&rule, at(21.0), batch, AttemptOutcome::Failed);
        let _ = row.settle(&rule, at(21.0), batch, AttemptOutcome::Undecided);
        assert_eq!((row.failures, row.open), (2, 1));
        let _ = row.settle(&rule, at(21.0), next, AttemptOutcome::Failed);
        assert_eq!((row.failures, row.open), (3, 0));
        // A right password forgets, however late.
        let _ = row.settle(&rule, at(22.0), batch, AttemptOutcome::Succeeded);
        assert_eq!(row.failures, 0);
    }

    #[test]
    fn a_name_has_fifty_in_a_quarter_of_an_hour_and_then_one_in_thirty_seconds() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::NAME);
        for attempt in 0..50 {
            let settled = try_once(
                &mut row,
                &rule,
                at(f64::from(attempt)),
                AttemptOutcome::Failed,
            );
            assert_eq!(settled, seconds(if attempt < 49 { 0 } else { 30 }));
        }
        assert_eq!(row.reserve(&rule, at(50.0)), Reserve::Wait(seconds(29)));
        // The owner's own login gives back what it took and nothing more.
        let _ = try_once(&mut row, &rule, at(79.0), AttemptOutcome::Succeeded);
        assert_eq!(row.failures, 50);
        assert_eq!(
            try_once(&mut row, &rule, at(79.0), AttemptOutcome::Failed),
            seconds(30)
        );
        let _ = try_once(&mut row, &rule, at(900.0), AttemptOutcome::Failed);
        assert_eq!(row.failures, 1);
    }

    #[test]
    fn a_lock_stays_until_it_is_taken_away() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::lock(3));
        for _ in 0..3 {
            let _ = try_once(&mut row, &rule, at(0.0), AttemptOutcome::Failed);
        }
        for day in [1.0, 100.0, 36_000.0] {
            assert!(matches!(
                row.reserve(&rule, at(day * 86_400.0)),
                Reserve::Wait(_)
            ));
            assert!(!row.is_spent(at(day * 86_400.0)));
        }
    }

    #[test]
    fn the_text_of_a_row_is_the_row() {
        let (mut row, rule) = (ThrottleRow::default(), ThrottleRule::lock(1));
        assert_eq!(row.to_text(), "1:0:0:0:0:0:0:0");
        let _ = try_once(&mut row, &rule, at(0.0), AttemptOutcome::Failed);
        for row in [ThrottleRow::default(), row] {
            assert_eq!(ThrottleRow::from_text(&row.to_text()).unwrap(), row);
            assert!(row.to_text().len() <= 160);
        }
        for text in [
            "",
            "1",
            "2:0:0:0:0:0:0:0",
            "1:0:0:0:0:0:0",
            "1:0:0:0:0:0:0:0:0",
            "1:-1:0:0:0:0:0:0",
            "1:0:0:0:0:0:0:x",
        ] {
            let error = ThrottleRow::from_text(text).unwrap_err();
            assert_eq!(
                error.kind(),
                crate::error::StoreErrorKind::Invalid,
                "{text}"
            );
        }
    }

    mod model {
        use proptest::prelude::*;

        use super::*;

        #[derive(Clone, Debug)]
        enum Step {
            Reserve,
            Settle(usize, AttemptOutcome),
            Pass(u64),
        }

        fn step() -> impl Strategy<Value = Step> {
            let outcome = prop_oneof![
                3 => Just(AttemptOutcome::Failed),
                1 => Just(AttemptOutcome::Succeeded),
                1 => Just(AttemptOutcome::Undecided),
            ];
            prop_oneof![
                6 => Just(Step::Reserve),
                4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
                1 => (0_u64..20_000).prop_map(Step::Pass),
                1 => (0_u64..2_000_000).prop_map(Step::Pass),
            ]
        }

        proptest! {
            /// In any order of events: no more concurrent attempts than are free, none during a wait, a
            /// refusal changes nothing, and no wait lasts for ever.
            #[test]
            fn u3_u5_hold_in_any_order_of_attempts(steps in prop::collection::vec(step(), 1..200)) {
                let rule = ThrottleRule::PAIR;
                let mut row = ThrottleRow::default();
                let mut now = at(0.0);
                let mut open: Vec<Timestamp> = Vec::new();
                for step in steps {
                    match step {
                        Step::Pass(millis) => now = now.plus(Duration::from_millis(millis)),
                        Step::Reserve => {
                            let before = row;
                            match row.reserve(&rule, now) {
                                Reserve::Granted(batch) => {
                                    // No more concurrent attempts than free ones, or one.
                                    prop_assert!(row.open <= 5_u32.saturating_sub(row.failures).max(1));
                                    prop_assert!(row.open == 1 || row.failures + row.open <= 5);
                                    // And none before a wait is over.
                                    prop_assert!(now >= before.blocked_until);
                                    open.push(batch);
                                }
                                Reserve::Wait(wait) => {
                                    prop_assert!(wait > Duration::ZERO && wait <= seconds(900));
                                    // A refusal changes nothing but what time itself had changed.
                                    let mut again = before;
                                    prop_assert_eq!(again.reserve(&rule, now), Reserve::Wait(wait));
                                    prop_assert_eq!(again, row);
                                }
                                Reserve::Pending(_) => prop_assert!(row.open > 0),
                            }
                        }
                        Step::Settle(which, outcome) if !open.is_empty() => {
                            let batch = open.swap_remove(which % open.len());
                            let _ = row.settle(&rule, now, batch, outcome);
                            if outcome == AttemptOutcome::Succeeded {
                                prop_assert_eq!(row.failures, 0);
                            }
                        }
                        Step::Settle(..) => {}
                    }
                }
                // No wait lasts for ever.
                let later = now.plus(seconds(1800 + 10));
                prop_assert!(matches!(row.reserve(&rule, later), Reserve::Granted(_)));
            }
        }
    }
}
