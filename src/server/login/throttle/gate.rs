//! Serializes the attempts at one counter within this process, and limits the number of waiting attempts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{self, Notify};

use super::{Network, ThrottleKey};
use crate::server::login::password::Caller;

/// One lane for each counter in use.
///
/// Only the first attempt in a lane calls the store, and repeats the call while open attempts are
/// undecided. The attempts behind it cause no store calls until it is their turn.
#[derive(Debug, Default)]
pub(super) struct Gate {
    lanes: Mutex<HashMap<ThrottleKey, Users>>,
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
    /// Returns a place in a counter's lane, unless the lane is full. A lane exists while it has users.
    pub(super) fn lane(&self, key: &ThrottleKey) -> Option<Lane<'_>> {
        let mut lanes = self.lanes();
        let users = lanes.entry(*key).or_default();
        if users.attempts >= LONGEST {
            return None;
        }
        users.attempts += 1;
        Some(self.place(key, users, true))
    }

    /// Returns a place for an attempt to settle, which does not queue for a turn.
    pub(super) fn exit(&self, key: &ThrottleKey) -> Lane<'_> {
        let mut lanes = self.lanes();
        self.place(key, lanes.entry(*key).or_default(), false)
    }

    fn place(&self, key: &ThrottleKey, users: &mut Users, is_attempt: bool) -> Lane<'_> {
        users.all += 1;
        Lane {
            gate: self,
            key: *key,
            is_attempt,
            queue: Arc::clone(&users.queue),
        }
    }

    /// Wakes the attempt at the head of the lane after an attempt at this counter was settled.
    pub(super) fn wake(&self, key: &ThrottleKey) {
        if let Some(users) = self.lanes().get(key) {
            users.queue.settled.notify_one();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<ThrottleKey, Users>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a lane.
pub(super) struct Lane<'a> {
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

impl Lane<'_> {
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

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let mut lanes = self.gate.lanes();
        if let Some(users) = lanes.get_mut(&self.key) {
            users.all -= 1;
            users.attempts -= usize::from(self.is_attempt);
            if users.all == 0 {
                lanes.remove(&self.key);
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
    strangers: usize,
}

impl Taken {
    fn has_room(&self, caller: Caller, most: usize) -> bool {
        self.all < most && (caller.is_known || self.strangers < most - most / 4)
    }

    fn sit(&mut self, caller: Caller) {
        self.all += 1;
        self.strangers += usize::from(!caller.is_known);
    }

    fn rise(&mut self, caller: Caller) {
        self.all -= 1;
        self.strangers -= usize::from(!caller.is_known);
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
        // Those that leave must not be kept by those that arrive.
        lane.push(gate.exit(&key));
        assert_eq!(lane.len(), LONGEST + 1);
        lane.remove(0);
        assert!(gate.lane(&key).is_some());
        lane.clear();
        assert!(gate.lanes().is_empty());
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
        let lane = gate.lane(&key).unwrap();
        gate.wake(&key);
        lane.settled().await;
    }
}
