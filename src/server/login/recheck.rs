//! The password of a user who is signed in, checked again before a change of the account.

use super::{
    ChangePasswordOutcome, Login, Network, Password, throttle::AttemptOutcome, use_case::Stopped,
};
use crate::{
    event::{LoginEvent, LoginFailure},
    store::port::UserRecord,
};

impl Login {
    /// Returns the user if the password is correct. Wrong passwords are counted together with those of
    /// [`change_password`](Self::change_password). The error is a refusal of such a change.
    pub(crate) async fn recheck(
        &self,
        subject: &str,
        password: &Password,
        network: impl Into<Network>,
    ) -> Result<UserRecord, ChangePasswordOutcome> {
        let network = network.into();
        match self.try_recheck(subject, password, network).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(ChangePasswordOutcome::Refused),
            Err(stopped) => Err(self.not_changed(stopped, network)),
        }
    }

    async fn try_recheck(
        &self,
        subject: &str,
        password: &Password,
        network: Network,
    ) -> Result<Option<UserRecord>, Stopped> {
        let inner = &self.inner;
        inner.note_network(network);
        let mut admission = inner.admission.admit_change(subject, network).await?;
        let (caller, permit) = (admission.caller(), admission.take_permit());
        let checked = async {
            let user = inner.users.find_by_subject(subject).await?;
            let verified = inner
                .verify(permit, caller, password, user.as_ref())
                .await?;
            Ok(user.filter(|user| verified.matches && !user.disabled))
        };
        let checked: Result<Option<UserRecord>, Stopped> = checked.await;
        let outcome = match checked {
            Ok(Some(_)) => AttemptOutcome::Succeeded,
            Ok(None) => AttemptOutcome::Failed,
            Err(_) => AttemptOutcome::Undecided,
        };
        inner.admission.settle_change(admission, outcome).await;
        if let Ok(None) = checked {
            inner.events.login(|| LoginEvent::Failed {
                subject: Some(subject.to_owned()),
                reason: LoginFailure::WrongPassword,
                network: network.address(),
            });
        }
        checked
    }
}
