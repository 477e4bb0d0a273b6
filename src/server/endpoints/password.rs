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
                epoch,
                device_token,
            } => (epoch, device_token),
            ChangePasswordOutcome::Refused => {
                return Err(Refusal::invalid_password());
            }
            ChangePasswordOutcome::NotAllowed { rule } => {
                return Err(PasswordError::from(rule).into());
            }
            ChangePasswordOutcome::Wait { retry_after } => {
                return Err(Refusal::slow_down(retry_after));
            }
            ChangePasswordOutcome::Busy { retry_after } => {
                return Err(Refusal::unavailable(retry_after));
            }
            _ => return Err(Refusal::unavailable(Duration::from_secs(1))),
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
        let given = Given::of(&tokens).device(&device);
        self.hand_over(StatusCode::OK, given, transport).await
    }
}

fn password(fields: &Fields, name: &str) -> Result<Password, Refusal> {
    let missing = "The current and the new password are required";
    let text = fields.get(name).ok_or(Refusal::invalid_request(missing))?;
    Ok(Password::new(text.to_owned())?)
}
