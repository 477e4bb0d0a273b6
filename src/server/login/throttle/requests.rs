//! Counters of mails to an address. No password is hashed, so they need no permit.

use tokio::time::{Instant, timeout_at};

use super::{AdmissionControl, Denied, Reserve, ThrottleRule, counters};

impl AdmissionControl {
    /// Counts a request for a mail of this purpose to this address.
    pub(in crate::server::login) async fn count_mail(
        &self,
        purpose: &str,
        address: &str,
    ) -> Result<(), Denied> {
        let give_up = Instant::now() + self.patience;
        let key = self.keys.mail(purpose, address);
        let queued = self.gate.enqueue(&key).ok_or(Denied::Crowded)?;
        let contender = timeout_at(give_up, queued.contender()).await;
        let contender = contender.map_err(|_| Denied::Contended)?;
        let rule = &ThrottleRule::MAIL;
        match counters::count(&*self.store, &contender, rule, give_up).await? {
            Reserve::Granted(()) => Ok(()),
            Reserve::Wait(wait) => Err(Denied::Wait(wait)),
            // Another node counts the last mail that is free.
            Reserve::Pending(_) => Err(Denied::Crowded),
        }
    }
}
