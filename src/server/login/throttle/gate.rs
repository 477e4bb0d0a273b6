//! Serializes the attempts at one counter within this process, and limits the number of waiting attempts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{self, Notify};

use super::{Network, ThrottleKey};
use crate::server::login::password::Caller;

/// One queue for each counter in use.
///
/// Only the first attempt in a queue calls the store, and repeats the call while open attempts are
/// undecided. The attempts behind it cause no store calls until it is their turn.
#[derive(Debug, Default)]
pub(super) struct Gate {
    queues: Mutex<HashMap<ThrottleKey, Users>>,
}

/// The users of a counter in this process. Those that settle are never refused.
#[derive(Debug, Default)]
struct Users {
    attempts: usize,
    all: usize,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    turn: sync::Mutex<()>,
    /// Held during a load and the swap after it, so that one node is one contender for the row.
    contender: sync::Mutex<()>,
    settled: Notify,
}

impl Gate {
    /// Returns a place in a counter's queue, unless the queue is full. A queue exists while it has users.
    pub(super) fn enqueue(&self, key: &ThrottleKey) -> Option<Queued<'_>> {
        let mut queues = self.queues();
        let users = queues.entry(*key).or_default();
        if users.attempts >= LONGEST {
            return None;
        }
        users.attempts += 1;
        Some(self.queued(key, users, true))
    }

    /// Returns a place for an attempt to settle, which does not queue for a turn.
    pub(super) fn exit(&self, key: &ThrottleKey) -> Queued<'_> {
        let mut queues = self.queues();
        self.queued(key, queues.entry(*key).or_default(), false)
    }

    fn queued(&self, key: &ThrottleKey, users: &mut Users, is_attempt: bool) -> Queued<'_> {
        users.all += 1;
        Queued {
            gate: self,
            key: *key,
            is_attempt,
            queue: Arc::clone(&users.queue),
        }
    }

    /// Wakes the attempt at the head of the queue after an attempt at this counter was settled.
    pub(super) fn wake(&self, key: &ThrottleKey) {
        if let Some(users) = self.queues().get(key) {
            users.queue.settled.notify_one();
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<ThrottleKey, Users>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt in a counter's queue.
pub(super) struct Queued<'a> {
    gate: &'a Gate,
    key: ThrottleKey,
    is_attempt: bool,
    queue: Arc<Queue>,
}

/// The right to load and swap a counter's row for this process.
pub(super) struct Contender<'a> {
    key: &'a ThrottleKey,
    _only: sync::MutexGuard<'a, ()>,
}

impl Contender<'_> {
    pub(super) fn key(&self) -> &ThrottleKey {
        self.key
    }
}

impl Queued<'_> {
    /// Returns the turn if no other attempt has it.
    pub(super) fn try_turn(&self) -> Option<sync::MutexGuard<'_, ()>> {
        self.queue.turn.try_lock().ok()
    }

    /// Waits for the turn, in order of arrival.
    pub(super) async fn turn(&self) -> sync::MutexGuard<'_, ()> {
        self.queue.turn.lock().await
    }

    /// Waits until no other attempt of this process loads and swaps the row.
    pub(super) async fn contender(&self) -> Contender<'_> {
        Contender {
            key: &self.key,
            _only: self.queue.contender.lock().await,
        }
    }

    /// Waits until this process settles an attempt at the counter.
    pub(super) async fn settled(&self) {
        self.queue.settled.notified().await;
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queues = self.gate.queues();
        if let Some(users) = queues.get_mut(&self.key) {
            users.all -= 1;
            users.attempts -= usize::from(self.is_attempt);
            if users.all == 0 {
                queues.remove(&self.key);
            }
        }
    }
}

/// The limit on waiting attempts. As in the hashing pool, one network takes at most half of the seats,
/// and unknown callers take at most three quarters.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Taken,
    of_networks: HashMap<Network, Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    unknown: usize,
}

impl Taken {
    fn has_room(&self, caller: Caller, most: usize) -> bool {
        self.all < most && (caller.is_known || self.unknown < most - most / 4)
    }

    fn sit(&mut self, caller: Caller) {
        self.all += 1;
        self.unknown += usize::from(!caller.is_known);
    }

    fn rise(&mut self, caller: Caller) {
        self.all -= 1;
        self.unknown -= usize::from(!caller.is_known);
    }
}

impl WaitingRoom {
    /// Returns a seat, if one is free.
    pub(super) fn seat(&self, caller: Caller) -> Option<Seat<'_>> {
        let mut seats = self.seats();
        // An unknown network has no share, because all unknown networks would have to use the same one.
        if !caller.network.is_unknown() {
            let share = seats.of_networks.get(&caller.network);
            if share.is_some_and(|share| !share.has_room(caller, SEATS / 2)) {
                return None;
            }
        }
        if !seats.taken.has_room(caller, SEATS) {
            return None;
        }
        seats.taken.sit(caller);
        seats
            .of_networks
            .entry(caller.network)
            .or_default()
            .sit(caller);
        Some(Seat { room: self, caller })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The seat of a waiting attempt.
pub(super) struct Seat<'a> {
    room: &'a WaitingRoom,
    caller: Caller,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut seats = self.room.seats();
        seats.taken.rise(self.caller);
        let network = self.caller.network;
        if let Some(share) = seats.of_networks.get_mut(&network) {
            share.rise(self.caller);
            if share.all == 0 {
                seats.of_networks.remove(&network);
            }
        }
    }
}

/// No legitimate load has more waiting attempts.
const SEATS: usize = 1024;

/// No legitimate load has more concurrent logins with one name, and other names need the places.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_is_there_while_somebody_is_in_it_and_gone_with_the_last() {
        let gate = Gate::default();
        let keys = [1, 2].map(|byte| ThrottleKey::from_bytes([byte; 16]));
        for _ in 0..2 {
            let (first, second) = (
                gate.enqueue(&keys[0]).unwrap(),
                gate.enqueue(&keys[0]).unwrap(),
            );
            let turn = first.try_turn().unwrap();
            assert!(second.try_turn().is_none());
            assert!(
                gate.enqueue(&keys[1]).unwrap().try_turn().is_some(),
                "another counter"
            );
            drop(turn);
            drop(first);
            assert!(second.try_turn().is_some());
            assert_eq!(gate.queues().len(), 1);
        }
        assert!(gate.queues().is_empty());
    }

    #[test]
    fn a_lane_that_is_full_takes_nobody_until_somebody_leaves() {
        let gate = Gate::default();
        let key = ThrottleKey::from_bytes([1; 16]);
        let mut queue: Vec<_> = (0..LONGEST).map(|_| gate.enqueue(&key).unwrap()).collect();
        assert!(gate.enqueue(&key).is_none());
        // Those that leave must not be kept by those that arrive.
        queue.push(gate.exit(&key));
        assert_eq!(queue.len(), LONGEST + 1);
        queue.remove(0);
        assert!(gate.enqueue(&key).is_some());
        queue.clear();
        assert!(gate.queues().is_empty());
    }

    fn caller(network: u8, is_known: bool) -> Caller {
        let network = Network::from(std::net::IpAddr::from([192, 0, 2, network]));
        Caller { network, is_known }
    }

    #[test]
    fn u18_one_network_takes_half_of_the_seats_and_many_leave_a_quarter_to_known_callers() {
        let room = WaitingRoom::default();
        let of_one: Vec<_> = std::iter::from_fn(|| room.seat(caller(1, false))).collect();
        assert_eq!(of_one.len(), SEATS / 2 - SEATS / 8);
        assert!(room.seat(caller(1, true)).is_some());
        assert!(room.seat(caller(2, false)).is_some());
        let many = (0..=255).cycle().take(10_000);
        let of_many: Vec<_> = many
            .filter_map(|one| room.seat(caller(one, false)))
            .collect();
        assert_eq!(of_one.len() + of_many.len(), SEATS - SEATS / 4);
        assert!(room.seat(caller(2, true)).is_some());
        drop((of_one, of_many));
        let unknown = Caller::UNKNOWN;
        let of_unknown: Vec<_> = std::iter::from_fn(|| room.seat(unknown)).collect();
        assert_eq!(of_unknown.len(), SEATS - SEATS / 4);
        drop(of_unknown);
        assert!(room.seats().of_networks.is_empty());
        assert_eq!(room.seats().taken.all, 0);
    }

    /// Between the store's answer and the wait for it.
    #[tokio::test]
    async fn what_is_settled_before_the_wait_begins_is_heard_of() {
        let gate = Gate::default();
        let key = ThrottleKey::from_bytes([1; 16]);
        let queue = gate.enqueue(&key).unwrap();
        gate.wake(&key);
        queue.settled().await;
    }
}
