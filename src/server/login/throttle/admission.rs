//! The path of an attempt through all its counters.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    AttemptOutcome, HardLock, Network, Reservation, Reserve, ThrottleKey, ThrottleKeys,
    ThrottleRule, Unanswered, counters,
    gate::{Gate, WaitingRoom},
};
use crate::{
    error::StoreError,
    server::login::{
        Identifier, PasswordError, PasswordHasher,
        password::{Caller, Permit},
    },
    store::port::ErasedThrottleStore,
    task::end_of_wait,
};

/// Reserves and settles the counters of an attempt, before and after the password is checked.
pub(in crate::server::login) struct AdmissionControl {
    pub(super) store: Arc<dyn ErasedThrottleStore>,
    pub(super) keys: ThrottleKeys,
    lock: Option<HardLock>,
    pub(super) patience: Duration,
    hasher: PasswordHasher,
    pub(super) gate: Gate,
    /// The attempts that wait for a turn or for open attempts.
    waiting: WaitingRoom,
}

/// An attempt that was counted and may proceed.
#[derive(Debug)]
#[must_use]
pub(in crate::server::login) struct Admission {
    reserved: Vec<Reservation>,
    lock: Option<Reservation>,
    locked: bool,
    caller: Caller,
    permit: Option<Permit>,
}

impl Admission {
    fn new(caller: Caller) -> Self {
        Self {
            reserved: Vec::with_capacity(2),
            lock: None,
            locked: false,
            caller,
            permit: None,
        }
    }

    /// Returns the caller for whom the attempt was counted.
    pub(in crate::server::login) fn caller(&self) -> Caller {
        self.caller
    }

    /// Returns the permit for the password check.
    pub(in crate::server::login) fn take_permit(&mut self) -> Option<Permit> {
        self.permit.take()
    }

    /// Returns `true` if the name is locked. The password is checked anyway, and the attempt is then refused.
    pub(in crate::server::login) fn is_locked(&self) -> bool {
        self.locked
    }
}

/// The reason why an attempt may not proceed.
#[derive(Debug)]
pub(in crate::server::login) enum Denied {
    Wait(Duration),
    /// Open attempts decide, and were not settled in time.
    Crowded,
    /// The hashing queue is full.
    Busy(PasswordError),
    /// Other nodes changed the counter for as long as this attempt could wait.
    Contended,
    Store(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Unanswered> for Denied {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Contended => Self::Contended,
            Unanswered::Store(error) => Self::Store(error),
        }
    }
}

impl From<PasswordError> for Denied {
    fn from(error: PasswordError) -> Self {
        Self::Busy(error)
    }
}

impl AdmissionControl {
    pub(in crate::server::login) fn new(
        store: Arc<dyn ErasedThrottleStore>,
        keys: ThrottleKeys,
        lock: Option<HardLock>,
        patience: Duration,
        hasher: PasswordHasher,
    ) -> Self {
        Self {
            store,
            keys,
            lock,
            patience,
            hasher,
            gate: Gate::default(),
            waiting: WaitingRoom::default(),
        }
    }

    /// Counts an attempt at a name from a network.
    pub(in crate::server::login) async fn admit(
        &self,
        identifier: &Identifier,
        network: Network,
    ) -> Result<Admission, Denied> {
        let give_up = end_of_wait(Instant::now(), self.patience);
        let caller = Caller {
            network,
            is_known: false,
        };
        let mut admission = Admission::new(caller);
        for (key, rule) in [
            (self.keys.pair(identifier, network), &ThrottleRule::PAIR),
            (self.keys.name(identifier), &ThrottleRule::NAME),
        ] {
            match self
                .pass(&key, rule, give_up, caller, &mut admission.permit)
                .await
            {
                Ok(reservation) => admission.reserved.push(reservation),
                Err(denied) => {
                    self.give_back(admission).await;
                    return Err(denied);
                }
            }
        }
        if let Some(lock) = &self.lock {
            let key = self.keys.lock(identifier);
            match self
                .pass(&key, &lock.rule, give_up, caller, &mut admission.permit)
                .await
            {
                Ok(reservation) => admission.lock = Some(reservation),
                Err(Denied::Wait(_)) => admission.locked = true,
                Err(denied) => {
                    self.give_back(admission).await;
                    return Err(denied);
                }
            }
        }
        Ok(admission)
    }

    /// Counts an attempt from a trusted device, which guesses from elsewhere do not delay.
    pub(in crate::server::login) async fn admit_device(
        &self,
        device: &[u8],
        network: Network,
    ) -> Result<Admission, Denied> {
        self.admit_one(&self.keys.device(device), network).await
    }

    /// Counts an attempt to change a password, for its subject.
    pub(in crate::server::login) async fn admit_change(
        &self,
        subject: &str,
        network: Network,
    ) -> Result<Admission, Denied> {
        self.admit_one(&self.keys.change(subject), network).await
    }

    async fn admit_one(&self, key: &ThrottleKey, network: Network) -> Result<Admission, Denied> {
        let caller = Caller {
            network,
            is_known: true,
        };
        let give_up = end_of_wait(Instant::now(), self.patience);
        let mut admission = Admission::new(caller);
        let permit = &mut admission.permit;
        let passed = self.pass(key, &ThrottleRule::PAIR, give_up, caller, permit);
        let passed = passed.await?;
        admission.reserved.push(passed);
        Ok(admission)
    }

    /// Records the result of an attempt to change a password.
    pub(in crate::server::login) async fn settle_change(
        &self,
        admission: Admission,
        outcome: AttemptOutcome,
    ) {
        for reservation in admission.reserved {
            self.settle_one(reservation, outcome).await;
        }
    }

    /// Records the result of an attempt. Returns `true` if it locked the name.
    ///
    /// A store failure here does not change the response: the attempt is already counted and stays
    /// counted.
    pub(in crate::server::login) async fn settle(
        &self,
        admission: Admission,
        identifier: &Identifier,
        outcome: AttemptOutcome,
    ) -> bool {
        for reservation in admission.reserved {
            self.settle_one(reservation, outcome).await;
        }
        let Some((lock, reservation)) = self.lock.as_ref().zip(admission.lock) else {
            return false;
        };
        let locked_now = self.settle_one(reservation, outcome).await;
        if locked_now {
            lock.emit(identifier).await;
        }
        locked_now
    }

    /// Removes a hard lock and clears the name's failures.
    pub(in crate::server::login) async fn unlock(
        &self,
        identifier: &Identifier,
    ) -> Result<(), StoreError> {
        self.store.clear(&self.keys.name(identifier)).await?;
        self.store.clear(&self.keys.lock(identifier)).await
    }

    /// Reserves one counter, or waits for the open attempts that decide about it.
    ///
    /// The store is called only with a permit in the hashing queue. An attempt that waits returns its permit
    /// back, so that attempts at one name cannot occupy all places.
    async fn pass(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
        give_up: Instant,
        caller: Caller,
        permit: &mut Option<Permit>,
    ) -> Result<Reservation, Denied> {
        let queued = self.gate.enqueue(key).ok_or(Denied::Crowded)?;
        let mut waiting = None;
        let _turn = match queued.try_turn() {
            Some(turn) => turn,
            None => {
                *permit = None;
                waiting = Some(self.waiting.seat(caller).ok_or(Denied::Crowded)?);
                let turn = timeout_at(give_up, queued.turn()).await;
                let turn = turn.map_err(|_| Denied::Crowded)?;
                // After the patience is over, the attempt causes no store call.
                if Instant::now() >= give_up {
                    return Err(Denied::Crowded);
                }
                turn
            }
        };
        loop {
            if permit.is_none() {
                *permit = Some(self.hasher.permit(caller)?);
            }
            let contender = timeout_at(give_up, queued.contender()).await;
            let contender = contender.map_err(|_| Denied::Contended)?;
            let reserved = counters::reserve(&*self.store, &contender, rule, give_up).await?;
            drop(contender);
            let held = match reserved {
                Reserve::Granted(reservation) => return Ok(reservation),
                Reserve::Wait(wait) => return Err(Denied::Wait(wait)),
                Reserve::Pending(held) => held,
            };
            *permit = None;
            if waiting.is_none() {
                waiting = self.waiting.seat(caller);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if waiting.is_none() || left.is_zero() {
                return Err(Denied::Crowded);
            }
            let look_again = left.min(LOOK_AGAIN).min(held.max(Duration::from_millis(1)));
            // After a wake-up or the timeout, the store is called again.
            let _ = timeout(look_again, queued.settled()).await;
        }
    }

    async fn give_back(&self, admission: Admission) {
        self.settle_change(admission, AttemptOutcome::Undecided)
            .await;
    }

    /// Settles a reservation. Returns `true` if a wait began that only an unlock ends.
    async fn settle_one(&self, reservation: Reservation, outcome: AttemptOutcome) -> bool {
        let wait = self.settled(reservation, outcome).await;
        wait.is_some_and(|wait| wait >= ThrottleRule::FOREVER)
    }

    /// Settles a reservation, and returns the wait that begins; `None` if the store failed.
    pub(super) async fn settled(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Option<Duration> {
        let queued = self.gate.exit(&reservation.key);
        let give_up = Instant::now() + SETTLE_WITHIN;
        let settled = match timeout_at(give_up, queued.contender()).await {
            Ok(contender) => {
                counters::settle(&*self.store, &contender, reservation, outcome, give_up).await
            }
            Err(_) => Err(Unanswered::Contended),
        };
        self.gate.wake(&reservation.key);
        settled.ok()
    }
}

/// The interval at which the first attempt in a queue checks for attempts settled by other processes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The time in which a result is recorded. An attempt that takes longer counts as failed when its
/// hold is over.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
