//! Signing in by a code from a mail.

use super::{ChangePasswordOutcome, Login, Network, Password, password::Caller, use_case::Stopped};
use crate::{
    error::StoreError,
    event::{LoginEvent, LoginFailure},
    secret::{base62::base62, random},
    server::session::Sessions,
    store::port::{RevokeReason, SpentOneTime, UserRecord},
};

/// A user who proved to receive mail at the address of the account.
#[derive(Debug)]
pub(crate) struct ProvedByMail {
    pub(crate) subject: String,
    /// The epoch of the session that starts.
    pub(crate) epoch: u32,
    /// `true` if the password was replaced, because the address was not verified before.
    pub(crate) is_taken_over: bool,
}

impl Login {
    /// Returns the user of a spent code; `None` if the user is disabled, has another address now, or all
    /// sessions of the user ended after the code was requested.
    ///
    /// An account whose address was never verified may have been registered by another person, who knows
    /// its password and has sessions. The owner of the address takes it over: a random password replaces
    /// the old one, and all sessions end.
    pub(crate) async fn proved_by_mail(
        &self,
        sessions: &Sessions,
        spent: SpentOneTime,
        network: impl Into<Network>,
    ) -> Result<Option<ProvedByMail>, ChangePasswordOutcome> {
        let network = network.into();
        let proved = self.try_proved(sessions, spent, network).await;
        proved.map_err(|stopped| self.not_changed(stopped, network))
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

    async fn try_proved(
        &self,
        sessions: &Sessions,
        spent: SpentOneTime,
        network: Network,
    ) -> Result<Option<ProvedByMail>, Stopped> {
        let user = self.users().find_by_subject(&spent.subject).await?;
        let user = user.filter(|user| !user.disabled && user.has_email(spent.email.as_deref()));
        let (Some(user), Some(epoch)) = (user, spent.epoch) else {
            return Ok(None);
        };
        let now = sessions.epoch(&spent.subject).await;
        if now.map_err(StoreError::unavailable)? != epoch {
            return Ok(None);
        }
        if user.email_verified || !self.users().keeps_email() {
            return Ok(Some(ProvedByMail {
                subject: user.subject,
                epoch,
                is_taken_over: false,
            }));
        }
        self.take_over(sessions, &user, spent, network).await
    }

    async fn take_over(
        &self,
        sessions: &Sessions,
        user: &UserRecord,
        spent: SpentOneTime,
        network: Network,
    ) -> Result<Option<ProvedByMail>, Stopped> {
        let epoch = match &user.password {
            Some(_) => {
                let caller = Caller {
                    network,
                    is_known: true,
                };
                let random = Password::new(base62(random::<32>()))?;
                let hash = self.inner.hasher.hash_for(caller, &random).await?;
                let (login, sessions) = (self.clone(), sessions.clone());
                // A separate task, which completes even if the client disconnects.
                let set = tokio::spawn(async move { login.set(&sessions, &spent, hash).await });
                match set
                    .await
                    .unwrap_or_else(|lost| Err(StoreError::interrupted(lost)))?
                {
                    Some(ChangePasswordOutcome::Changed { epoch, .. }) => epoch,
                    _ => return Ok(None),
                }
            }
            None => {
                let reason = RevokeReason::CredentialsChanged;
                let epoch = sessions.revoke_all(&user.subject, reason).await;
                if let Some(address) = &user.email {
                    self.note_verified(&user.subject, address).await;
                }
                epoch.map_err(StoreError::unavailable)?
            }
        };
        Ok(Some(ProvedByMail {
            subject: user.subject.clone(),
            epoch,
            is_taken_over: user.password.is_some(),
        }))
    }
}
