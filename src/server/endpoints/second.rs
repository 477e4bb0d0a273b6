//! The second step of a sign-in.

use http::{StatusCode, header::USER_AGENT, request::Parts};
use serde::Serialize;

use super::{
    AuthEndpoints,
    answer::{Answer, Refusal, json},
    cookies::Kind,
    door::{Entry, Proof},
    fields::Fields,
    login::Transport,
    service::Inner,
};
use crate::{
    layer::extract::RequestHead,
    secret::{Secret, base62::base62, random},
    server::login::{AskingDevice, PendingSignIn, SecondFactorError, SignIn, StepTokens},
};

impl AuthEndpoints {
    /// Returns the sign-in that waits for its second step, by the `mfa_token` that a login returned; for
    /// factors that your code verifies. `None` if the token is not valid, has expired, or was given to
    /// another device than the one that sent `parts`.
    ///
    /// After the factor is verified, pass
    /// [`SignIn::completing`](crate::server::login::SignIn::completing) to [`sign_in`](Self::sign_in).
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Response, request::Parts};
    /// use tower_jwt_auth::{
    ///     layer::response::Whole,
    ///     server::{endpoints::AuthEndpoints, login::SignIn},
    /// };
    ///
    /// async fn after_passkey(
    ///     endpoints: &AuthEndpoints,
    ///     (request, mfa_token): (&Parts, &str),
    ///     verify: impl AsyncFnOnce(&str) -> bool, // the assertion of a passkey of this subject
    /// ) -> Option<Response<Whole>> {
    ///     let pending = endpoints.pending_sign_in(request, mfa_token)?;
    ///     if !verify(pending.subject()).await {
    ///         return None;
    ///     }
    ///     let who = SignIn::completing(pending, ["hwk"])?;
    ///     Some(endpoints.sign_in(request, who).await)
    /// }
    /// ```
    #[must_use]
    pub fn pending_sign_in(&self, parts: &Parts, mfa_token: &str) -> Option<PendingSignIn> {
        self.inner.pending(parts, mfa_token)
    }
}

/// The response to the first step (in the manner of RFC 6749 §5.2).
#[derive(Serialize)]
struct Required<'a> {
    error: &'static str,
    error_description: &'static str,
    mfa_token: &'a str,
    mfa_methods: &'a [String],
    expires_in: u64,
}

impl Inner {
    /// Returns the response that asks for a second step, if this sign-in needs one.
    pub(super) async fn second_step(
        &self,
        parts: &Parts,
        fields: &Fields,
        (entry, device): (&Entry, Option<Secret<String>>),
        transport: Transport,
    ) -> Result<Option<Answer>, Refusal> {
        let device = match device {
            Some(token) => Some((token, self.epoch_of(&entry.who).await?)),
            None => None,
        };
        let device = device.as_ref();
        let device = device.map(|(token, epoch)| (&**token.expose(), *epoch));
        let methods = self.login.second_methods(&entry.who, device).await?;
        if methods.is_empty() {
            return Ok(None);
        }
        let mut who = entry.who.clone();
        if matches!(entry.proof, Proof::Password(_)) {
            // Read again after the second step.
            who.claims = None;
        }
        who.is_linked |= fields.get("link") == Some("true");
        if let Some(label) = fields.get("device") {
            who.start = who.start.label(label);
        }
        let epoch = self.epoch_of(&who).await?;
        let nonce = base62(random::<16>());
        let device = match transport {
            Transport::Cookie => AskingDevice::Cookie(&nonce),
            Transport::Body => AskingDevice::UserAgent(user_agent(parts)),
        };
        let token = self.login.step_token(&who, epoch, methods.clone(), device);
        let token = token.ok_or_else(Refusal::server_error)?;
        let body = Required {
            error: "mfa_required",
            error_description: "Another factor is required",
            mfa_token: token.expose(),
            mfa_methods: &methods,
            expires_in: StepTokens::LIFETIME.as_secs(),
        };
        let mut answer = json(StatusCode::FORBIDDEN, &body);
        if let (Transport::Cookie, Some(cookies)) = (transport, &self.cookies) {
            cookies.set(&mut answer, Kind::Step, &nonce, StepTokens::LIFETIME);
        }
        let client = self.clients.client_ip(RequestHead::of_parts(parts));
        self.login.emit_second_step(&who.subject, client);
        Ok(Some(answer))
    }

    /// Returns the epoch of a subject, from before its authentication if it was read then.
    async fn epoch_of(&self, who: &SignIn) -> Result<u32, Refusal> {
        match who.epoch {
            Some(epoch) => Ok(epoch),
            None => Ok(self.sessions.epoch(&who.subject).await?),
        }
    }

    /// Returns the sign-in of a token that this device presents.
    pub(super) fn pending(&self, parts: &Parts, token: &str) -> Option<PendingSignIn> {
        let cookie = self.cookie_value(&parts.headers, Kind::Step).ok().flatten();
        let by_cookie = cookie.and_then(|nonce| {
            self.login
                .read_step_token(token, AskingDevice::Cookie(&nonce))
        });
        by_cookie.or_else(|| {
            let device = AskingDevice::UserAgent(user_agent(parts));
            self.login.read_step_token(token, device)
        })
    }

    /// Returns an error if all sessions of the subject ended after the first step.
    pub(super) async fn check_first_step(&self, subject: &str, epoch: u32) -> Result<(), Refusal> {
        match self.sessions.epoch(subject).await? == epoch {
            true => Ok(()),
            false => Err(Refusal::invalid_step()),
        }
    }
}

fn user_agent(parts: &Parts) -> &str {
    let agent = parts.headers.get(USER_AGENT);
    agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
}

impl From<SecondFactorError> for Refusal {
    fn from(error: SecondFactorError) -> Self {
        match error {
            SecondFactorError::WrongCode => Self::invalid_code(),
            SecondFactorError::AlreadyEnrolled => {
                Self::invalid_request("There is an authenticator already")
                    .with_status(StatusCode::CONFLICT)
            }
            SecondFactorError::NothingToConfirm => {
                Self::invalid_request("No authenticator waits for its first code")
            }
            SecondFactorError::Spent => Self::invalid_step(),
            SecondFactorError::Ended => Self::invalid_token(),
            SecondFactorError::Throttled { retry_after } => Self::slow_down(retry_after),
            SecondFactorError::Overloaded { retry_after } => Self::unavailable(retry_after),
            SecondFactorError::Unavailable(error) => error.into(),
        }
    }
}
