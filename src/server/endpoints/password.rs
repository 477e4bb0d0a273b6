//! Password change, which ends all sessions that the old password started.

use std::time::Duration;

use http::{StatusCode, request::Parts};

use super::{
    answer::{Answer, Refusal},
    fields::Fields,
    login::{Given, Transport},
    service::Inner,
};
use crate::{
    event::MailPurpose,
    layer::extract::RequestHead,
    principal::PrincipalKind,
    server::{
        login::{ChangePasswordOutcome, Password, PasswordError},
        session::StartSession,
    },
};

impl Inner {
    pub(super) async fn password(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let caller = self.proved_caller(parts).await?;
        // Hashing for sessions has separate capacity, which guests must not use up.
        if caller.kind() != PrincipalKind::User {
            return Err(Refusal::no_password());
        }
        let old = password(fields, "current_password")?;
        let new = password(fields, "new_password")?;
        self.sessions.check_keys()?;
        // Everyone who knew the old password is signed out. The caller continues with a new session.
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let (epoch, device) = match self
            .login
            .change_password(&self.sessions, caller.subject(), &old, &new, client)
            .await
        {
            ChangePasswordOutcome::Changed {
                subject,
                epoch,
                device_token,
            } => {
                if let Some(mail) = &self.mail {
                    mail.notify(subject, MailPurpose::PasswordChanged);
                }
                (epoch, device_token)
            }
            refused => return Err(Refusal::of_change(&refused, Refusal::invalid_password)),
        };
        // The new session keeps the authentication methods of the old one: a policy may require a
        // second factor.
        let start = StartSession::continuing(&caller).epoch(epoch);
        let start = self.at(parts, fields, start);
        let tokens = self.sessions.start(start).await;
        let tokens = tokens.map_err(Refusal::of_start)?;
        let transport = match self.bearer(parts)? {
            Some(_) => Transport::Body,
            None => Transport::Cookie,
        };
        let given = Given::of(&tokens).device(Some(&device));
        self.hand_over(StatusCode::OK, given, transport).await
    }
}

impl Refusal {
    /// Refuses a change of a password; `refused` is the refusal of its proof.
    pub(super) fn of_change(outcome: &ChangePasswordOutcome, refused: fn() -> Self) -> Self {
        match *outcome {
            ChangePasswordOutcome::Refused => refused(),
            ChangePasswordOutcome::NotAllowed { rule } => PasswordError::from(rule).into(),
            ChangePasswordOutcome::Wait { retry_after } => Self::slow_down(retry_after),
            ChangePasswordOutcome::Busy { retry_after } => Self::unavailable(retry_after),
            _ => Self::unavailable(Duration::from_secs(1)),
        }
    }
}

pub(super) fn password(fields: &Fields, name: &str) -> Result<Password, Refusal> {
    let missing = "A password is required";
    let text = fields.get(name).ok_or(Refusal::invalid_request(missing))?;
    Ok(Password::new(text.to_owned())?)
}
