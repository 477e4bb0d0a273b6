//! Requests for mails, and the use of their links.

use http::{StatusCode, header::ACCEPT_LANGUAGE, request::Parts};

use super::{
    answer::{Answer, Refusal, empty},
    fields::Fields,
    password::password,
    service::Inner,
};
use crate::{
    event::MailPurpose,
    layer::extract::RequestHead,
    principal::PrincipalKind,
    server::{
        login::{ChangePasswordOutcome, EmailAddress, Identifier},
        mail::{MailFlows, MailRefused},
    },
};

impl Inner {
    /// Requests a link for a new password. The response does not depend on the account.
    pub(super) async fn forgot(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let (mail, address) = self.mail_request(parts, fields)?;
        let language = language(parts);
        mail.request_reset(&address, language).await?;
        Ok(empty(StatusCode::ACCEPTED))
    }

    /// Sets a new password for the holder of a link. No session starts: a second factor may be required,
    /// and the user has just entered the password.
    pub(super) async fn reset(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let mail = self.mail()?;
        let token = token(fields)?;
        let new = password(fields, "new_password")?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let changed = self
            .login
            .reset_password(&self.sessions, token, &new, client);
        match changed.await {
            ChangePasswordOutcome::Changed { subject, .. } => {
                mail.notify(subject, MailPurpose::PasswordChanged);
                Ok(empty(StatusCode::NO_CONTENT))
            }
            refused => Err(Refusal::of_change(&refused, Refusal::invalid_link)),
        }
    }

    /// Requests a link that verifies an address. The response does not depend on the account.
    pub(super) async fn verification(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let (mail, address) = self.mail_request(parts, fields)?;
        let language = language(parts);
        mail.request_verification(&address, language).await?;
        Ok(empty(StatusCode::ACCEPTED))
    }

    /// Verifies the address to which a link was sent.
    pub(super) async fn verify(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        match self.login.verify_email(token(fields)?).await? {
            Some(_) => Ok(empty(StatusCode::NO_CONTENT)),
            None => Err(Refusal::invalid_link()),
        }
    }

    /// Requests a link to the new address of the caller, who enters the password again: the holder of a
    /// stolen session must not take the account over. The response does not depend on other accounts.
    pub(super) async fn change(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let caller = self.proved_caller(parts).await?;
        let mail = self.mail()?;
        if caller.kind() != PrincipalKind::User {
            return Err(Refusal::no_password());
        }
        let refused = || Refusal::invalid_request("An e-mail address is required");
        let to = fields.get("new_email").ok_or_else(refused)?;
        let to = EmailAddress::new(to).map_err(|_| refused())?;
        let current = password(fields, "current_password")?;
        self.mail_limit.take(parts)?;
        // Before the password: what ends the sessions in between also ends this request.
        let epoch = self.sessions.epoch(caller.subject()).await?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let user = self.login.recheck(caller.subject(), &current, client).await;
        let user =
            user.map_err(|refused| Refusal::of_change(&refused, Refusal::invalid_password))?;
        let from = user.email.ok_or_else(Refusal::no_address)?;
        let language = language(parts);
        let user = (caller.subject(), &from);
        mail.request_email_change_in(epoch, user, &to, language)
            .await?;
        Ok(empty(StatusCode::ACCEPTED))
    }

    /// Replaces the address by the one to which a link was sent, and notifies the old one.
    pub(super) async fn confirm_change(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let mail = self.mail()?;
        let changed = self.login.change_email(&self.sessions, token(fields)?);
        match changed.await? {
            Some(changed) => {
                mail.notify_old(&changed);
                Ok(empty(StatusCode::NO_CONTENT))
            }
            None => Err(Refusal::invalid_link()),
        }
    }

    /// Requests the verification of a new account's address. The registration succeeds without it: the
    /// user can request another mail.
    pub(super) async fn verify_new(&self, parts: &Parts, name: &Identifier) {
        let (Some(mail), Some(address)) = (&self.mail, EmailAddress::of(name)) else {
            return;
        };
        if self.login.users().keeps_email() {
            // A refusal is reported by the queue, or is the limit of this address.
            let _ = mail.request_verification(&address, language(parts)).await;
        }
    }

    pub(super) fn mail(&self) -> Result<&MailFlows, Refusal> {
        self.mail.as_ref().ok_or_else(Refusal::not_found)
    }

    /// Reads the address of a request for a mail, and takes one from the budget of the client. Nothing
    /// here depends on the account.
    pub(super) fn mail_request(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<(&MailFlows, EmailAddress), Refusal> {
        self.refuse_foreign(parts)?;
        let mail = self.mail()?;
        let refused = || Refusal::invalid_request("An e-mail address is required");
        let address = fields.get("email").ok_or_else(refused)?;
        let address = Identifier::existing(address).map_err(|_| refused())?;
        let address = EmailAddress::of(&address).ok_or_else(refused)?;
        self.mail_limit.take(parts)?;
        Ok((mail, address))
    }
}

impl Refusal {
    /// Refuses a token from a mail. The error is not `invalid_grant`, because clients sign their user
    /// out on that error.
    fn invalid_link() -> Self {
        let description = "The link is not valid any more";
        Self::new(StatusCode::BAD_REQUEST, "invalid_link", description)
    }

    /// Refuses a user who has no address.
    fn no_address() -> Self {
        let description = "The account has no e-mail address";
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }
}

impl From<MailRefused> for Refusal {
    fn from(refused: MailRefused) -> Self {
        match refused {
            MailRefused::Wait { retry_after } => Self::slow_down(retry_after),
            MailRefused::Busy { retry_after } => Self::unavailable(retry_after),
        }
    }
}

fn token(fields: &Fields) -> Result<&str, Refusal> {
    let token = fields.get("token");
    token.ok_or(Refusal::invalid_request(
        "The token of the link is required",
    ))
}

pub(super) fn language(parts: &Parts) -> Option<&str> {
    parts.headers.get(ACCEPT_LANGUAGE)?.to_str().ok()
}
