//! Counters of login attempts.

use std::time::Duration;

use redis::ScriptInvocation;

use super::{RedisStore, link::Repeat, scripts, sessions::millis};
use crate::{
    error::StoreError,
    server::login::{ThrottleKey, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
    time::Timestamp,
};

impl ThrottleStore for RedisStore {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        let mut call = scripts::RESERVE.key(self.counter(key));
        add_rule(&mut call, rule);
        let (what, number): (String, i64) = self.link.run(&call, Repeat::Never).await?;
        let wait = Duration::from_millis(u64::try_from(number).unwrap_or_default());
        Ok(match what.as_str() {
            "granted" => {
                let batch = Timestamp::from_millis(number);
                Reserve::Granted(Reservation::new(*key, *rule, batch))
            }
            "pending" => Reserve::Pending(wait),
            "wait" => Reserve::Wait(wait),
            _ => return Err(StoreError::invalid("an unknown answer of a counter")),
        })
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        let mut call = scripts::SETTLE.key(self.counter(reservation.key()));
        add_rule(&mut call, reservation.rule());
        call.arg(reservation.batch().as_millis())
            .arg(match outcome {
                AttemptOutcome::Failed => "failed",
                AttemptOutcome::Succeeded => "succeeded",
                AttemptOutcome::Undecided => "undecided",
            });
        let wait: u64 = self.link.run(&call, Repeat::Never).await?;
        Ok(Settled::wait(Duration::from_millis(wait)))
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        let call = scripts::CLEAR.key(self.counter(key));
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl RedisStore {
    fn counter(&self, key: &ThrottleKey) -> String {
        self.keys.of("t", &super::hex(key.as_bytes()))
    }
}

fn add_rule(call: &mut ScriptInvocation<'_>, rule: &ThrottleRule) {
    call.arg(rule.free)
        .arg(millis(rule.first_wait))
        .arg(millis(rule.longest_wait))
        .arg(millis(rule.memory))
        .arg(u8::from(rule.memory_slides))
        .arg(u8::from(rule.success_clears))
        .arg(millis(rule.hold))
        .arg(millis(ThrottleRule::FOREVER));
}
