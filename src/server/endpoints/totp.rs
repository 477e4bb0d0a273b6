//! Authenticators and recovery codes: enrolment, the code of a second step, and step-up.

use http::{StatusCode, request::Parts};
use serde::Serialize;
use serde_json::json as object;

use super::{
    answer::{Answer, Refusal, empty, json},
    fields::Fields,
    login::{Given, Transport},
    service::Inner,
};
use crate::{
    layer::extract::RequestHead,
    server::{
        login::{CodeAttempt, RecoveryCodes, SecondFactors, SignIn},
        session::{SessionErrorKind, StartSession},
    },
    store::port::RevokeReason,
};

#[derive(Serialize)]
struct Enrollment<'a> {
    secret: &'a str,
    otpauth_url: &'a str,
    qr_svg: &'a str,
}

impl Inner {
    fn factors(&self) -> Result<SecondFactors, Refusal> {
        self.login.second_factors().ok_or_else(Refusal::not_found)
    }

    /// Completes a sign-in by a code.
    pub(super) async fn proceed(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let missing = || Refusal::invalid_request("An mfa_token is required");
        let token = fields.get("mfa_token").ok_or_else(missing)?;
        let attempt = self.code(parts, fields)?;
        let pending = self
            .pending(parts, token)
            .ok_or_else(Refusal::invalid_step)?;
        self.check_first_step(pending.subject(), pending.facts.epoch)
            .await?;
        if !pending
            .methods()
            .any(|method| method == crate::server::login::TOTP)
        {
            return Err(Refusal::invalid_code());
        }
        let user = self.standing(pending.subject()).await?;
        let remembers = fields.get("remember") == Some("true");
        let remembering = user.as_ref().filter(|_| remembers);
        let factors = self.factors()?;
        let completed = factors.complete(&pending.facts, &attempt, remembering);
        let remembered = completed.await?.zip(self.login.remembers_devices());
        let who = SignIn::completing(pending, METHODS).ok_or_else(Refusal::invalid_step)?;
        self.complete(parts, fields, who, (user, remembered), transport)
            .await
    }

    /// Returns a new secret of an authenticator.
    pub(super) async fn enroll(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let account = fields.get("account").unwrap_or(caller.subject());
        let epoch = Some(caller.epoch());
        let enrolled = factors.enroll_in(caller.subject(), account, epoch).await?;
        let picture = enrolled.qr_svg();
        let body = Enrollment {
            secret: enrolled.secret().expose(),
            otpauth_url: enrolled.url().expose(),
            qr_svg: picture.expose(),
        };
        Ok(json(StatusCode::OK, &body))
    }

    /// Confirms an authenticator, and ends the other sessions of the user.
    pub(super) async fn confirm_totp(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let code = fields.get("code").ok_or(Refusal::invalid_request(CODE))?;
        let codes = factors.confirm(caller.subject(), code).await?;
        // They started with one factor. An error here must not cost the user the recovery codes.
        let reason = RevokeReason::CredentialsChanged;
        let others = self
            .sessions
            .revoke_others(caller.subject(), caller.id(), reason);
        let ended = others.await.is_ok();
        Ok(shown(&codes, Some(ended)))
    }

    pub(super) async fn disable_totp(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.user(parts).await?;
        let attempt = self.code(parts, fields)?;
        factors.disable(caller.subject(), &attempt).await?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    pub(super) async fn recovery_codes(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.user(parts).await?;
        let attempt = self.code(parts, fields)?;
        let codes = factors.renew_recovery_codes(caller.subject(), &attempt);
        Ok(shown(&codes.await?, None))
    }

    /// Raises the caller's session by a code. The session gets a new family of refresh tokens.
    pub(super) async fn step_up(&self, parts: &Parts, fields: &Fields) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.user(parts).await?;
        let attempt = self.code(parts, fields)?;
        self.sessions.check_keys()?;
        let user = self.standing(caller.subject()).await?;
        factors.verify(caller.subject(), &attempt).await?;
        let raised = self.at(parts, fields, StartSession::raising(&caller, METHODS));
        let tokens = self.sessions.step_up(&caller, raised).await;
        let tokens = tokens.map_err(|error| match error.kind() {
            // The session ended in the meantime.
            SessionErrorKind::Revoked => Refusal::invalid_token(),
            _ => Refusal::of_start(error),
        })?;
        let transport = match self.bearer(parts)? {
            Some(_) => Transport::Body,
            None => Transport::Cookie,
        };
        let device = user.map(|user| self.login.proved_device_token(&user));
        let given = Given::of(&tokens).device(device.as_ref());
        self.hand_over(StatusCode::OK, given, transport).await
    }

    pub(super) async fn factor_status(&self, parts: &Parts) -> Result<Answer, Refusal> {
        let factors = self.factors()?;
        let caller = self.caller(parts).await?;
        let status = factors.status(caller.subject()).await?;
        let body = object!({ "totp": status.totp, "recovery_codes": status.recovery_codes });
        Ok(json(StatusCode::OK, &body))
    }

    fn code(&self, parts: &Parts, fields: &Fields) -> Result<CodeAttempt, Refusal> {
        let code = fields.get("code").ok_or(Refusal::invalid_request(CODE))?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        let mut attempt = CodeAttempt::new(code.to_owned()).from(client);
        if let Some(device) = self.device(parts, fields)? {
            attempt = attempt.device(device);
        }
        Ok(attempt)
    }
}

fn shown(codes: &RecoveryCodes, others_ended: Option<bool>) -> Answer {
    let codes: Vec<_> = codes.expose().collect();
    let mut body = object!({ "recovery_codes": codes });
    if let (Some(ended), Some(body)) = (others_ended, body.as_object_mut()) {
        body.insert("other_sessions_ended".to_owned(), ended.into());
    }
    json(StatusCode::OK, &body)
}

/// RFC 8176 §2. A recovery code is a one-time password as well.
const METHODS: [&str; 1] = ["otp"];
const CODE: &str = "A code is required";
