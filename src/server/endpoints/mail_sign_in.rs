//! Signing in by a code from a mail.

use std::time::Duration;

use http::{StatusCode, request::Parts};
use serde::Serialize;

use super::{
    answer::{Answer, Refusal, json},
    cookies::Kind,
    fields::Fields,
    login::Transport,
    mail::language,
    service::Inner,
};
use crate::{event::MailPurpose, layer::extract::RequestHead, server::login::SignIn};

#[derive(Serialize)]
struct Requested<'a> {
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a str>,
}

impl Inner {
    /// Requests a code. The client keeps the flow, without which the code is worth nothing.
    pub(super) async fn request_code(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let transport = self.transport(parts, fields)?;
        let (mail, address) = self.mail_request(parts, fields)?;
        // A request with two tokens presents none.
        let device = self.device(parts, fields).ok().flatten();
        let flow = mail
            .request_sign_in(&address, language(parts), device)
            .await?;
        let lifetime = mail.code_lifetime();
        let body = Requested {
            expires_in: lifetime.as_secs(),
            flow: (transport == Transport::Body).then_some(flow.expose()),
        };
        let mut answer = json(StatusCode::ACCEPTED, &body);
        if let (Transport::Cookie, Some(cookies)) = (transport, &self.cookies) {
            cookies.set(&mut answer, Kind::Flow, flow.expose(), lifetime);
        }
        Ok(answer)
    }

    /// Signs in the client that asked for a code.
    pub(super) async fn use_code(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let mail = self.mail()?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let missing = || Refusal::invalid_request("The code and its flow are required");
        let code = fields.get("code").ok_or_else(missing)?;
        let flow = match fields.get("flow") {
            Some(flow) => Some(flow.to_owned()),
            None => self.cookie_value(&parts.headers, Kind::Flow)?,
        };
        let flow = flow.ok_or_else(missing)?;
        // A code must not be spent if no session can start.
        self.sessions.check_keys()?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let Some(spent) = mail.redeem_code(&flow, code).await? else {
            self.login.emit_wrong_code(client);
            return Err(Refusal::invalid_mail_code());
        };
        let proved = self.login.proved_by_mail(&self.sessions, spent).await?;
        let proved = proved.ok_or_else(Refusal::invalid_mail_code)?;
        if proved.lost_password {
            mail.notify(&proved.subject, MailPurpose::PasswordChanged);
        }
        let mut who = SignIn::new(proved.subject)
            .amr(["email"])
            .epoch(proved.epoch);
        if let Some(client_id) = self.client(fields) {
            who = who.client_id(client_id);
        }
        let mut answer = self.admit(parts, fields, who, transport).await?;
        if let (Transport::Cookie, Some(cookies)) = (transport, &self.cookies) {
            cookies.set(&mut answer, Kind::Flow, "", Duration::ZERO);
        }
        Ok(answer)
    }
}

impl Refusal {
    /// Refuses a code. The error is not `invalid_grant`, because clients sign their user out on that
    /// error.
    fn invalid_mail_code() -> Self {
        let description = "The code is wrong or expired, or another client asked for it";
        Self::new(StatusCode::BAD_REQUEST, "invalid_code", description)
    }
}
