//! The counters of wrong codes of a second factor. No password is hashed, so they need no permit.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    AdmissionControl, AttemptOutcome, Denied, Reservation, Reserve, ThrottleRule, counters,
};
use crate::{error::StoreError, task::end_of_wait};

/// The counter of an attempt.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "totp"),
    allow(dead_code, reason = "only codes are counted")
)]
pub(in crate::server::login) enum CodeCounter<'a> {
    /// That of the subject, over all networks and devices.
    Subject(&'a str),
    /// That of a device on which the subject has proved a second factor.
    Device(&'a [u8]),
}

#[cfg_attr(
    not(feature = "totp"),
    allow(dead_code, reason = "only codes are counted")
)]
impl AdmissionControl {
    /// Counts an attempt before its code is checked, so that parallel attempts do not get more tries.
    pub(in crate::server::login) async fn reserve_code(
        &self,
        counter: CodeCounter<'_>,
    ) -> Result<Reservation, Denied> {
        let (key, rule) = match counter {
            CodeCounter::Subject(subject) => (self.keys.code(subject), &ThrottleRule::CODE),
            CodeCounter::Device(device) => (self.keys.code_device(device), &ThrottleRule::PAIR),
        };
        let give_up = end_of_wait(Instant::now(), self.patience);
        let queued = self.gate.enqueue(&key).ok_or(Denied::Crowded)?;
        let turn = timeout_at(give_up, queued.turn()).await;
        let _turn = turn.map_err(|_| Denied::Crowded)?;
        loop {
            let contender = timeout_at(give_up, queued.contender()).await;
            let contender = contender.map_err(|_| Denied::Contended)?;
            let reserved = counters::reserve(&*self.store, &contender, rule, give_up).await?;
            drop(contender);
            let held = match reserved {
                Reserve::Granted(reservation) => return Ok(reservation),
                Reserve::Wait(wait) => return Err(Denied::Wait(wait)),
                Reserve::Pending(held) => held,
            };
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Denied::Crowded);
            }
            let look_again = left.min(LOOK_AGAIN).min(held.max(Duration::from_millis(1)));
            let _ = timeout(look_again, queued.settled()).await;
        }
    }

    /// Records the result of an attempt. Returns `true` if it was the last one that was allowed for the
    /// subject.
    pub(in crate::server::login) async fn settle_code(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> bool {
        let wait = self.settled(reservation, outcome).await;
        wait.is_some_and(|wait| wait >= ThrottleRule::CODE.first_wait)
    }

    /// Clears the counter of a subject.
    pub(in crate::server::login) async fn clear_codes(
        &self,
        subject: &str,
    ) -> Result<(), StoreError> {
        self.store.clear(&self.keys.code(subject)).await
    }
}

/// The interval at which an attempt checks for attempts settled by other processes.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
