//! Limits on mails.

use std::time::Duration;

use super::{
    EmailAddress, Login,
    throttle::Denied,
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
