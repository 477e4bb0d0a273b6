//! Counters of mails to an address, and of guesses at codes from mails. No password is hashed, so they
//! need no permit.

use tokio::time::{Instant, timeout_at};

use super::{
    AdmissionControl, AttemptOutcome, Denied, Reservation, Reserve, ThrottleKey, ThrottleRule,
    counters,
};
use crate::task::end_of_wait;

/// A guess at a code that was counted.
#[derive(Debug)]
pub(crate) struct MailCodeAttempt(Reservation);

impl AdmissionControl {
    /// Counts a request for a mail of this purpose to this address.
    pub(in crate::server::login) async fn count_mail(
        &self,
        purpose: &str,
        address: &str,
    ) -> Result<(), Denied> {
        self.count_request(self.keys.mail(purpose, address)).await
    }

    /// Counts a request for a mail of this purpose from a device on which a user has signed in.
    pub(in crate::server::login) async fn count_mail_of_device(
        &self,
        purpose: &str,
        device: &[u8],
    ) -> Result<(), Denied> {
        self.count_request(self.keys.mail_device(purpose, device))
            .await
    }

    async fn count_request(&self, key: ThrottleKey) -> Result<(), Denied> {
        let give_up = end_of_wait(Instant::now(), self.patience);
        let queued = self.gate.enqueue(&key).ok_or(Denied::Crowded)?;
        let contender = timeout_at(give_up, queued.contender()).await;
        let contender = contender.map_err(|_| Denied::Contended)?;
        let rule = &ThrottleRule::MAIL;
        granted(counters::count(&*self.store, &contender, rule, give_up).await?)
    }

    /// Counts a guess at the code of a flow, before the code is compared.
    pub(in crate::server::login) async fn admit_mail_code(
        &self,
        flow: &[u8],
    ) -> Result<MailCodeAttempt, Denied> {
        let give_up = end_of_wait(Instant::now(), self.patience);
        let key = self.keys.mail_code(flow);
        let queued = self.gate.enqueue(&key).ok_or(Denied::Crowded)?;
        let contender = timeout_at(give_up, queued.contender()).await;
        let contender = contender.map_err(|_| Denied::Contended)?;
        let rule = &ThrottleRule::MAIL_CODE;
        let reserved = counters::reserve(&*self.store, &contender, rule, give_up).await?;
        granted(reserved).map(MailCodeAttempt)
    }

    /// Records the result of a guess.
    pub(in crate::server::login) async fn settle_mail_code(
        &self,
        MailCodeAttempt(reservation): MailCodeAttempt,
        outcome: AttemptOutcome,
    ) {
        // A failure of the store leaves the guess counted.
        let _ = self.settled(reservation, outcome).await;
    }
}

/// A request that open guesses would decide is refused. It may come again after a second.
fn granted<T>(reserved: Reserve<T>) -> Result<T, Denied> {
    match reserved {
        Reserve::Granted(granted) => Ok(granted),
        Reserve::Wait(wait) => Err(Denied::Wait(wait)),
        Reserve::Pending(_) => Err(Denied::Crowded),
    }
}
