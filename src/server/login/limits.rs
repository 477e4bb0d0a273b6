//! Limits on mails and on codes from mails.

use std::time::Duration;

use super::{
    EmailAddress, Login,
    throttle::{AttemptOutcome, Denied, MailCodeAttempt},
    use_case::{Stopped, note_store},
};
use crate::event::MailPurpose;

/// The reason for which a request is not served now.
#[derive(Debug)]
pub(crate) enum Limited {
    Wait(Duration),
    Busy(Duration),
}

impl Login {
    /// Counts a request for a mail. The count depends on the address alone, not on an account.
    pub(crate) async fn count_mail(
        &self,
        purpose: MailPurpose,
        address: &EmailAddress,
    ) -> Result<(), Limited> {
        let admission = &self.inner.admission;
        let counted = admission.count_mail(purpose.as_str(), address.as_str());
        counted.await.map_err(limited)
    }

    /// Counts a request for a mail from a device on which a user has signed in. Returns `None` if the device
    /// token is not valid.
    pub(crate) async fn count_mail_of_device(
        &self,
        purpose: MailPurpose,
        token: &str,
    ) -> Option<Result<(), Limited>> {
        let device = self.inner.devices.read(token, self.inner.clock.now())?;
        let admission = &self.inner.admission;
        let counted = admission.count_mail_of_device(purpose.as_str(), device.nonce());
        Some(counted.await.map_err(limited))
    }

    /// Counts a guess at the code of a flow, before the code is compared.
    pub(crate) async fn admit_mail_code(&self, flow: &[u8]) -> Result<MailCodeAttempt, Limited> {
        let admission = &self.inner.admission;
        admission.admit_mail_code(flow).await.map_err(limited)
    }

    /// Records the result of a guess; `None` if the code was not compared.
    pub(crate) async fn settle_mail_code(
        &self,
        attempt: MailCodeAttempt,
        is_correct: Option<bool>,
    ) {
        let outcome = match is_correct {
            Some(true) => AttemptOutcome::Succeeded,
            Some(false) => AttemptOutcome::Failed,
            None => AttemptOutcome::Undecided,
        };
        self.inner
            .admission
            .settle_mail_code(attempt, outcome)
            .await;
    }
}

fn limited(denied: Denied) -> Limited {
    match Stopped::from(denied) {
        Stopped::Wait(wait) => Limited::Wait(wait.max(SECOND)),
        Stopped::Busy(wait) => Limited::Busy(wait.max(SECOND)),
        Stopped::Store(error) => {
            note_store(&error);
            Limited::Busy(SECOND)
        }
        // No password is set here.
        Stopped::Rule(_) => Limited::Busy(SECOND),
    }
}

const SECOND: Duration = Duration::from_secs(1);
