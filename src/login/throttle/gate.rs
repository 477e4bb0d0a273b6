//! Lets those of this process who ask about one counter do it one after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{self, Notify};

use super::ThrottleKey;

/// One lane for each counter that somebody asks about.
///
/// Only whoever is first in a lane asks the store, and asks again while open attempts decide; however
/// many there are behind them, they cost the store nothing until it is their turn.
#[derive(Debug, Default)]
pub(super) struct Gate {
    lanes: Mutex<HashMap<ThrottleKey, (usize, Arc<Queue>)>>,
}

#[derive(Debug, Default)]
struct Queue {
    turn: sync::Mutex<()>,
    settled: Notify,
}

impl Gate {
    /// A place in a counter's lane, unless it is full. The lane is there while somebody is in it.
    pub(super) fn lane(&self, key: &ThrottleKey) -> Option<Lane<'_>> {
        let mut lanes = self.lanes();
        let (users, queue) = lanes.entry(*key).or_default();
        if *users >= LONGEST {
            return None;
        }
        *users += 1;
        Some(Lane {
            gate: self,
            key: *key,
            queue: Arc::clone(queue),
        })
    }

    /// An attempt at this counter was settled. Whoever asks about it just now hears of it as well.
    pub(super) fn wake(&self, key: &ThrottleKey) {
        if let Some((_, queue)) = self.lanes().get(key) {
            queue.settled.notify_one();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<ThrottleKey, (usize, Arc<Queue>)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a lane.
pub(super) struct Lane<'a> {
    gate: &'a Gate,
    key: ThrottleKey,
    queue: Arc<Queue>,
}

impl Lane<'_> {
    /// The turn, where nobody is before us.
    pub(super) fn try_turn(&self) -> Option<sync::MutexGuard<'_, ()>> {
        self.queue.turn.try_lock().ok()
    }

    /// Waits for the turn, first come, first served.
    pub(super) async fn turn(&self) -> sync::MutexGuard<'_, ()> {
        self.queue.turn.lock().await
    }

    /// Waits for an attempt that is settled by this process.
    pub(super) async fn settled(&self) {
        self.queue.settled.notified().await;
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let mut lanes = self.gate.lanes();
        if let Some((users, _)) = lanes.get_mut(&self.key) {
            *users -= 1;
            if *users == 0 {
                lanes.remove(&self.key);
            }
        }
    }
}

/// More than that many sign in by one name at once in no honest crowd, and other names need the places.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_is_there_while_somebody_is_in_it_and_gone_with_the_last() {
        let gate = Gate::default();
        let keys = [1, 2].map(|byte| ThrottleKey::from_bytes([byte; 16]));
        for _ in 0..2 {
            let (first, second) = (gate.lane(&keys[0]).unwrap(), gate.lane(&keys[0]).unwrap());
            let turn = first.try_turn().unwrap();
            assert!(second.try_turn().is_none());
            assert!(
                gate.lane(&keys[1]).unwrap().try_turn().is_some(),
                "another counter"
            );
            drop(turn);
            drop(first);
            assert!(second.try_turn().is_some());
            assert_eq!(gate.lanes().len(), 1);
        }
        assert!(gate.lanes().is_empty());
    }

    #[test]
    fn a_lane_that_is_full_takes_nobody_until_somebody_leaves() {
        let gate = Gate::default();
        let key = ThrottleKey::from_bytes([1; 16]);
        let mut lane: Vec<_> = (0..LONGEST).map(|_| gate.lane(&key).unwrap()).collect();
        assert!(gate.lane(&key).is_none());
        lane.pop();
        assert!(gate.lane(&key).is_some());
        lane.clear();
        assert!(gate.lanes().is_empty());
    }

    /// Between the store's answer and the wait for it.
    #[tokio::test]
    async fn what_is_settled_before_the_wait_begins_is_heard_of() {
        let gate = Gate::default();
        let key = ThrottleKey::from_bytes([1; 16]);
        let lane = gate.lane(&key).unwrap();
        gate.wake(&key);
        lane.settled().await;
    }
}
