//! Signing in with passkeys.

use http::{StatusCode, header::SET_COOKIE, request::Parts};
use serde_json::{Value, json as object};

use super::{
    answer::{Answer, Refusal, json},
    fields::Fields,
    identities::removed,
    service::Inner,
};
use crate::{
    layer::extract::RequestHead,
    server::login::{PASSKEY_METHODS, PasskeyRefused, Passkeys, SignIn},
    store::port::CredentialRecord,
};

impl Inner {
    fn passkeys(&self) -> Result<Passkeys<'_>, Refusal> {
        let authority = self.passkeys.as_deref().ok_or_else(Refusal::not_found)?;
        Ok(Passkeys {
            login: &self.login,
            sessions: &self.sessions,
            authority,
        })
    }

    /// Returns the challenge of a sign-in.
    pub(super) async fn passkey_options(&self, parts: &Parts) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let (options, state) = self.passkeys()?.start_sign_in()?;
        self.challenge(parts, SIGN_IN, &options, &state).await
    }

    /// Signs in with a passkey, or completes a sign-in whose first factor was another one.
    pub(super) async fn passkey_sign_in(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        let transport = self.transport(parts, fields)?;
        self.expect_proof(parts, transport)?;
        let response = fields.get("credential").ok_or_else(no_credential)?;
        // A challenge must not be spent if no session can start.
        self.sessions.check_keys()?;
        let passkeys = self.passkeys()?;
        let state: String = self.finish_flow(parts, SIGN_IN).await?;
        let used = passkeys.verify(&state, response).await?;
        let Some(token) = fields.get("mfa_token") else {
            passkeys.record(&used).await?;
            let who = match self.client(fields) {
                Some(client) => used.sign_in().client_id(client),
                None => used.sign_in(),
            };
            return self.admit(parts, fields, who, transport).await;
        };
        let pending = self
            .pending(parts, token)
            .ok_or_else(Refusal::invalid_step)?;
        let facts = pending.facts.clone();
        if !pending.methods().any(|method| method == METHOD) || facts.subject != used.subject {
            return Err(PasskeyRefused::Invalid.into());
        }
        self.check_first_step(&facts.subject, facts.epoch).await?;
        let user = self.standing(&facts.subject).await?;
        passkeys.record(&used).await?;
        self.login.spend_step(&facts).await?;
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        self.login.emit_second_factor(&facts.subject, client);
        let who = SignIn::completing(pending, PASSKEY_METHODS).ok_or_else(Refusal::invalid_step)?;
        self.complete(parts, fields, who, (user, None), transport)
            .await
    }

    /// Returns the challenge of a registration.
    pub(super) async fn passkey_registration_options(
        &self,
        parts: &Parts,
    ) -> Result<Answer, Refusal> {
        let passkeys = self.passkeys()?;
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let (options, state) = passkeys.start_registration(caller.subject()).await?;
        let state = (caller.subject(), state);
        self.challenge(parts, REGISTRATION, &options, &state).await
    }

    /// Registers a passkey.
    pub(super) async fn register_passkey(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let passkeys = self.passkeys()?;
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let response = fields.get("credential").ok_or_else(no_credential)?;
        let label = fields.get("label").unwrap_or_default();
        let (subject, state): (String, String) = self.finish_flow(parts, REGISTRATION).await?;
        // Another user has signed in since the start.
        if subject != caller.subject() {
            return Err(PasskeyRefused::Invalid.into());
        }
        let user = (caller.id(), &*subject);
        let id = passkeys.finish_registration(user, &state, response, label);
        let id = id.await?;
        Ok(json(StatusCode::CREATED, &object!({ "id": id })))
    }

    pub(super) async fn list_passkeys(&self, parts: &Parts) -> Result<Answer, Refusal> {
        let passkeys = self.passkeys()?;
        let caller = self.caller(parts).await?;
        let list = passkeys.list(caller.subject()).await?;
        let list = list.iter().map(|(row, label)| {
            object!({
                "id": row.id,
                "label": label,
                "created_at": row.created_at.as_secs(),
                "used_at": row.used_at.map(|at| at.as_secs()),
            })
        });
        let list: Vec<_> = list.collect();
        Ok(json(StatusCode::OK, &object!({ "passkeys": list })))
    }

    pub(super) async fn remove_passkey(
        &self,
        parts: &Parts,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let passkeys = self.passkeys()?;
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let missing = || Refusal::invalid_request("The id of a passkey is required");
        let id = fields.get("id").ok_or_else(missing)?;
        let subject = caller.subject();
        let unlinking = match self.opens_otherwise(subject).await? {
            true => passkeys.remove(subject, id).await?,
            false => {
                let opens = |row: &CredentialRecord| self.opens(row);
                passkeys.remove_beside(subject, id, opens).await?
            }
        };
        removed(unlinking)
    }

    /// Returns the options of a challenge, and a cookie with its state.
    async fn challenge<T>(
        &self,
        parts: &Parts,
        flow: &str,
        options: &Value,
        state: &T,
    ) -> Result<Answer, Refusal>
    where
        T: serde::Serialize + Sync,
    {
        let cookie = self.begin_flow(parts, flow, state).await?;
        let mut answer = json(StatusCode::OK, options);
        answer.headers_mut().insert(SET_COOKIE, cookie);
        Ok(answer)
    }
}

impl From<PasskeyRefused> for Refusal {
    fn from(refused: PasskeyRefused) -> Self {
        match refused {
            PasskeyRefused::Invalid => {
                let description = "The passkey is not accepted";
                Self::new(StatusCode::BAD_REQUEST, "invalid_passkey", description)
            }
            PasskeyRefused::Taken => Self::invalid_request("The passkey is registered already")
                .with_status(StatusCode::CONFLICT),
            PasskeyRefused::TooMany => Self::invalid_request("The account has too many passkeys")
                .with_status(StatusCode::CONFLICT),
            PasskeyRefused::Ended => Self::invalid_token(),
            PasskeyRefused::Store(error) => error.into(),
        }
    }
}

fn no_credential() -> Refusal {
    Refusal::invalid_request("The response of an authenticator is required")
}

/// The names of the flows.
const SIGN_IN: &str = "passkey";
const REGISTRATION: &str = "passkey-new";
/// The method of a second step.
const METHOD: &str = "webauthn";
