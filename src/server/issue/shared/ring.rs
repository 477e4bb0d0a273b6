//! The rules of rotation, as functions of the ring and the store's time.

use std::{cmp::Ordering, time::Duration};

use crate::{key::Algorithm, server::issue::key_ring::RETIREMENT, time::Timestamp};

/// The keys of a ring, in the order in which they sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ring<K> {
    entries: Vec<Entry<K>>,
}

/// A key and the time from which it signs. The key that follows ends that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<K> {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) activates_at: Timestamp,
    /// `true` if only the public part is left.
    pub(super) retired: bool,
    pub(super) key: K,
}

impl<K> Entry<K> {
    pub(super) fn with_key<L>(self, key: L) -> Entry<L> {
        Entry {
            kid: self.kid,
            algorithm: self.algorithm,
            activates_at: self.activates_at,
            retired: self.retired,
            key,
        }
    }
}

/// The times that control the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) rotate_every: Duration,
    /// The time for which a key is published before it signs.
    pub(super) publish_ahead: Duration,
    pub(super) max_age: Duration,
}

/// A due change of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A new key is published, which signs from this time on.
    Publish(Timestamp),
    /// The private part of the key with this index is dropped.
    Retire(usize),
    /// The key with this index is removed, because all of its tokens have expired.
    Remove(usize),
}

impl<K> Ring<K> {
    pub(super) fn new(entries: Vec<Entry<K>>) -> Self {
        let mut ring = Self { entries };
        ring.sort();
        ring
    }

    /// Returns the keys in the order in which they sign. All of them are published and verify.
    pub(super) fn entries(&self) -> &[Entry<K>] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry<K>] {
        &mut self.entries
    }

    /// Returns the index of the key that signs at this time.
    ///
    /// If the store's clock was set back before every activation, the first key signs.
    pub(super) fn signer(&self, now: Timestamp) -> Option<usize> {
        let signing = || self.entries.iter().enumerate().filter(|(_, e)| !e.retired);
        let active = signing()
            .filter(|(_, entry)| entry.activates_at <= now)
            .last();
        active.or_else(|| signing().next()).map(|(index, _)| index)
    }

    /// Returns the key that signs after the current one.
    pub(super) fn next(&self, now: Timestamp) -> Option<&Entry<K>> {
        let signer = self.signer(now)?;
        self.entries.get(signer + 1)
    }

    /// Returns a step that is due. After it was made, another one may be due.
    pub(super) fn due(&self, now: Timestamp, schedule: &Schedule) -> Option<Step> {
        let steps = self.steps(now, schedule);
        steps
            .into_iter()
            .find(|(at, _)| *at <= now)
            .map(|(_, step)| step)
    }

    /// Returns the earliest time after `now` at which another key signs or a step is due.
    pub(super) fn next_event(&self, now: Timestamp, schedule: &Schedule) -> Option<Timestamp> {
        let steps = self.steps(now, schedule).into_iter().map(|(at, _)| at);
        let activations = self.entries.iter().map(|entry| entry.activates_at);
        steps.chain(activations).filter(|at| *at > now).min()
    }

    /// Returns all steps that the current keys lead to, each with its time.
    fn steps(&self, now: Timestamp, schedule: &Schedule) -> Vec<(Timestamp, Step)> {
        let mut steps = Vec::new();
        let Some(signer) = self.signer(now) else {
            return steps;
        };
        let old = self.entries.iter().take(signer).enumerate();
        for (index, entry) in old {
            let Some(successor) = self.entries.get(index + 1) else {
                continue;
            };
            let replaced = successor.activates_at;
            steps.push((replaced.plus(RETIREMENT).plus(MARGIN), Step::Remove(index)));
            if !entry.retired {
                steps.push((replaced.plus(MARGIN), Step::Retire(index)));
            }
        }
        if let Some(active) = self.entries.get(signer)
            && self.entries.len() == signer + 1
        {
            let due = active.activates_at.plus(schedule.rotate_every);
            let activation = due.max(now.plus(schedule.publish_ahead));
            let publication = due.minus(schedule.publish_ahead);
            steps.push((publication, Step::Publish(activation)));
        }
        steps
    }

    pub(super) fn insert(&mut self, entry: Entry<K>) {
        self.entries.push(entry);
        self.sort();
    }

    pub(super) fn remove(&mut self, index: usize) {
        if index < self.entries.len() {
            self.entries.remove(index);
        }
    }

    /// Lets the next key sign sooner, but no sooner than verifiers have it. Returns `false` if there
    /// is no next key.
    pub(super) fn advance_next(&mut self, now: Timestamp, schedule: &Schedule) -> bool {
        let Some(signer) = self.signer(now) else {
            return false;
        };
        let Some(next) = self.entries.get_mut(signer + 1) else {
            return false;
        };
        let soonest = now.plus(schedule.publish_ahead);
        next.activates_at = next.activates_at.min(soonest);
        true
    }

    /// Removes a compromised key. If it signed, the next key signs from now on. Returns `None` if
    /// the ring does not contain the key, and otherwise `true` if a key that signs is left.
    pub(super) fn withdraw(&mut self, kid: &str, now: Timestamp) -> Option<bool> {
        let index = self.entries.iter().position(|entry| entry.kid == kid)?;
        let signed = self.signer(now) == Some(index);
        self.entries.remove(index);
        if !signed {
            return Some(true);
        }
        // An earlier key must not sign again: its tokens would outlive it.
        let Some(next) = self.entries.get_mut(index) else {
            return Some(false);
        };
        next.activates_at = next.activates_at.min(now);
        self.sort();
        Some(true)
    }

    fn sort(&mut self) {
        self.entries.sort_by(|one, other| {
            let by_time = one.activates_at.cmp(&other.activates_at);
            match by_time {
                Ordering::Equal => one.kid.cmp(&other.kid),
                unequal => unequal,
            }
        });
    }
}

/// Room for the time that a node is behind the store: the latency of a load.
const MARGIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCHEDULE: Schedule = Schedule {
        rotate_every: DAY,
        publish_ahead: HOUR,
        max_age: Duration::from_secs(600),
    };
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn entry(kid: &str, activates_at: Timestamp) -> Entry<()> {
        Entry {
            kid: kid.to_owned(),
            algorithm: Algorithm::EdDsa,
            activates_at,
            retired: false,
            key: (),
        }
    }

    fn signer(ring: &Ring<()>, now: Timestamp) -> &str {
        &ring.entries()[ring.signer(now).unwrap()].kid
    }

    /// Makes the steps that are due, with names for new keys.
    fn settle(ring: &mut Ring<()>, now: Timestamp, names: &mut u32) -> Vec<Step> {
        let mut made = Vec::new();
        while let Some(step) = ring.due(now, &SCHEDULE) {
            match step {
                Step::Publish(at) => {
                    *names += 1;
                    ring.insert(entry(&names.to_string(), at));
                }
                Step::Retire(index) => ring.entries[index].retired = true,
                Step::Remove(index) => ring.remove(index),
            }
            made.push(step);
            assert!(made.len() < 20, "{ring:?} at {now:?}");
        }
        made
    }

    #[test]
    fn s8_a_rotation_publishes_then_signs_then_retires_then_removes() {
        let mut ring = Ring::new(vec![entry("old", START)]);
        let mut names = 0;
        let last = |duration: Duration| START.plus(duration).minus(Duration::from_millis(1));
        assert_eq!(settle(&mut ring, last(DAY - HOUR), &mut names), []);
        let published = START.plus(DAY - HOUR);
        assert_eq!(ring.next_event(START, &SCHEDULE), Some(published));
        let activation = START.plus(DAY);
        let made = settle(&mut ring, published, &mut names);
        assert_eq!(made, [Step::Publish(activation)]);
        assert_eq!(ring.next_event(published, &SCHEDULE), Some(activation));
        assert_eq!(signer(&ring, last(DAY)), "old");
        assert_eq!(signer(&ring, activation), "1");
        assert_eq!(settle(&mut ring, activation, &mut names), []);
        let made = settle(&mut ring, activation.plus(MINUTE), &mut names);
        assert_eq!(made, [Step::Retire(0)]);
        let over = activation.plus(RETIREMENT).plus(MINUTE);
        assert_eq!(
            settle(&mut ring, over.minus(Duration::from_millis(1)), &mut names),
            []
        );
        assert_eq!(settle(&mut ring, over, &mut names), [Step::Remove(0)]);
        assert_eq!(ring.entries().len(), 1);
    }

    #[test]
    fn s8_a_ring_that_nobody_used_for_a_year_publishes_before_it_changes() {
        let mut ring = Ring::new(vec![entry("old", START)]);
        let now = START.plus(365 * DAY);
        let made = settle(&mut ring, now, &mut 0);
        assert_eq!(made, [Step::Publish(now.plus(HOUR))]);
        assert_eq!(signer(&ring, now), "old");
    }

    #[test]
    fn s8_a_clock_that_was_set_back_brings_no_retired_key_back() {
        let mut old = entry("old", START);
        old.retired = true;
        let ring = Ring::new(vec![old, entry("new", START.plus(DAY))]);
        assert_eq!(signer(&ring, START.plus(HOUR)), "new");
        assert_eq!(signer(&ring, START.minus(DAY)), "new");
    }

    #[test]
    fn s8_a_withdrawn_key_is_replaced_by_the_next_one_and_never_by_an_old_one() {
        let keys = || {
            let soon = entry("soon", START.plus(DAY));
            Ring::new(vec![
                entry("old", START.minus(DAY)),
                entry("now", START),
                soon,
            ])
        };
        let now = START.plus(HOUR);
        let mut ring = keys();
        assert_eq!(ring.withdraw("unknown", now), None);
        assert_eq!(ring.withdraw("now", now), Some(true));
        assert_eq!(signer(&ring, now), "soon");
        // No other one is published: a new key has to sign.
        let mut ring = keys();
        assert_eq!(ring.withdraw("soon", now), Some(true));
        assert_eq!(ring.withdraw("now", now), Some(false));
        ring.insert(entry("made", now));
        assert_eq!(signer(&ring, now), "made");
        assert_eq!(ring.withdraw("old", now), Some(true));
        assert_eq!(ring.entries().len(), 1);
    }

    #[test]
    fn s8_a_rotation_by_hand_keeps_the_lead() {
        let mut ring = Ring::new(vec![entry("old", START)]);
        assert!(!ring.advance_next(START, &SCHEDULE), "there is no next key");
        ring.insert(entry("next", START.plus(DAY)));
        assert!(ring.advance_next(START, &SCHEDULE));
        assert_eq!(ring.entries()[1].activates_at, START.plus(HOUR));
        let later = START.plus(HOUR / 2);
        assert!(ring.advance_next(later, &SCHEDULE));
        assert_eq!(ring.entries()[1].activates_at, START.plus(HOUR), "it stays");
    }

    proptest! {
        /// Whatever happens in whatever order, a key signs only after the lead, and stays until its
        /// last token has expired.
        #[test]
        fn s8_no_history_shortens_the_lead_or_the_retirement(
            events in prop::collection::vec((0_u64..100_000, prop::bool::weighted(0.2)), 1..20)
        ) {
            let mut ring = Ring::new(vec![entry("0", START)]);
            let (mut now, mut names) = (START, 0);
            let mut seen = std::collections::HashMap::from([("0".to_owned(), START.minus(DAY))]);
            let mut signed = std::collections::HashMap::new();
            for (seconds, rotate) in events {
                // Nodes look at least once in the lead, or they do not sign.
                for _ in 0..=seconds / 1800 {
                    now = now.plus(Duration::from_secs(seconds.min(1800)));
                    settle(&mut ring, now, &mut names);
                    if rotate && !ring.advance_next(now, &SCHEDULE) {
                        names += 1;
                        ring.insert(entry(&names.to_string(), now.plus(HOUR)));
                    }
                    for entry in ring.entries() {
                        seen.entry(entry.kid.clone()).or_insert(now);
                    }
                    let kid = signer(&ring, now).to_owned();
                    prop_assert!(now >= seen[&kid].plus(HOUR), "{kid} signs too early");
                    signed.insert(kid, now);
                    for (kid, last) in &signed {
                        let there = ring.entries().iter().any(|entry| entry.kid == *kid);
                        prop_assert!(there || now > last.plus(RETIREMENT), "{kid} went too early");
                    }
                    prop_assert!(ring.entries().iter().filter(|one| one.activates_at > now).count() <= 1);
                }
            }
        }
    }
}
