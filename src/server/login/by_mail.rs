//! Signing in by a code from a mail.

use super::{EmailAddress, Identifier, Login, Network, ProvedEmail};
use crate::{
    error::StoreError,
    event::{LoginEvent, LoginFailure},
    server::session::Sessions,
    store::port::SpentOneTime,
};

impl Login {
    /// Returns the user of a spent code; `None` if the user is disabled, has another address now, or all
    /// sessions of the user ended after the code was requested.
    ///
    /// An account whose address was never verified is taken over, as
    /// [`prove_email`](Self::prove_email) says.
    pub(crate) async fn proved_by_mail(
        &self,
        sessions: &Sessions,
        spent: SpentOneTime,
    ) -> Result<Option<ProvedEmail>, StoreError> {
        let user = self.users().find_by_subject(&spent.subject).await?;
        let user = user.filter(|user| !user.disabled && user.has_email(spent.email.as_deref()));
        let address = spent.email.as_deref().and_then(sent_to);
        let (Some(user), Some(address), Some(epoch)) = (user, address, spent.epoch) else {
            return Ok(None);
        };
        self.check_recorded(&user)?;
        let now = sessions.epoch(&spent.subject).await;
        if now.map_err(StoreError::unavailable)? != epoch {
            return Ok(None);
        }
        self.proved(sessions, user, &address, epoch).await
    }

    /// Reports a wrong code. The account is not known, because only a correct code leads to it.
    pub(crate) fn emit_wrong_code(&self, network: impl Into<Network>) {
        let network = network.into().address();
        self.inner.events.login(|| LoginEvent::Failed {
            subject: None,
            reason: LoginFailure::WrongCode,
            network,
        });
    }
}

/// Returns the address in the row of a token.
pub(super) fn sent_to(address: &str) -> Option<EmailAddress> {
    let identifier = Identifier::existing(address).ok()?;
    EmailAddress::of(&identifier)
}
