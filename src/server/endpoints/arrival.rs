//! The device and the address of a user who signs in.

use http::request::Parts;

use super::{answer::Refusal, cookies::Kind, fields::Fields, mail::language, service::Inner};
use crate::{
    layer::extract::RequestHead, secret::Secret, server::login::SignIn, store::port::UserRecord,
};

impl Inner {
    /// Refuses a user whose address must be verified and is not, and requests another link. Call it only
    /// after the user was authenticated.
    pub(super) async fn check_verified(
        &self,
        parts: &Parts,
        user: &UserRecord,
    ) -> Result<(), Refusal> {
        let Some(mail) = self.mail.as_ref().filter(|mail| mail.requires_verified()) else {
            return Ok(());
        };
        let Some(address) = user.email.as_ref().filter(|_| !user.email_verified) else {
            return Ok(());
        };
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        self.login.emit_unverified(&user.subject, client);
        // Above a limit there is no mail. The response is the same.
        if self.mail_limit.take(parts).is_ok() {
            let _ = mail.request_verification(address, language(parts)).await;
        }
        Err(Refusal::unverified())
    }

    /// Returns `true` if the request presents the device token of this user.
    pub(super) fn is_known_device(
        &self,
        parts: &Parts,
        fields: &Fields,
        user: &UserRecord,
    ) -> bool {
        // A request with two tokens presents none.
        let token = self.device(parts, fields).ok().flatten();
        token.is_some_and(|token| self.login.is_known_device(token.expose(), user))
    }

    /// Returns the request's token of a remembered device, from the body or, if it is absent there, from
    /// the cookie.
    pub(super) fn remembered(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Option<Secret<String>>, Refusal> {
        if let Some(token) = fields.get("remember_token") {
            return Ok(Some(token.to_owned().into()));
        }
        let cookie = self.cookie_value(&parts.headers, Kind::Remembered)?;
        Ok(cookie.map(Secret::new))
    }

    /// Queues the notice of a sign-in on a device that is new to the user. A mail that cannot be queued is
    /// reported, and the sign-in succeeds.
    pub(super) fn notice_device(&self, parts: &Parts, who: &SignIn) {
        if let Some(mail) = self.mail.as_ref().filter(|_| !who.is_known) {
            let at = self.sessions.issuer().keys().clock().now();
            let client = self.clients.client_ip(RequestHead::of_parts(parts));
            mail.notice_device(&who.subject, at, client);
        }
    }
}

impl Refusal {
    /// Refuses a user whose address is not verified. The user was authenticated, so the response reveals
    /// nothing to others.
    fn unverified() -> Self {
        let description = "The address of the account is not verified yet";
        Self::new(
            http::StatusCode::FORBIDDEN,
            "email_not_verified",
            description,
        )
    }
}
