//! Signing in with an identity provider.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::json as object;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::{
    answer::{Answer, Refusal, empty, json},
    door::redirected,
    fields::Fields,
    service::{Inner, session_of},
};
use crate::{
    error::ConfigError,
    principal::SessionId,
    server::login::{
        AuthorizationRequest, ErasedIdentityProvider, Identities, Identity, IdentityError,
        IdentityOutcome, LinkIdentityOutcome, UnknownIdentity, is_local,
    },
};

/// The providers by their names.
pub(super) type Providers = BTreeMap<String, Arc<dyn ErasedIdentityProvider>>;

/// The state that the browser carries from the start to the callback.
#[derive(Serialize, Deserialize)]
struct Begun {
    request: AuthorizationRequest,
    return_to: String,
    /// The session of the user to whom the identity is to be linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl Inner {
    /// Answers the path below `identity/`.
    pub(super) async fn identity(
        &self,
        parts: &Parts,
        path: &str,
        fields: &Fields,
    ) -> Result<Answer, Refusal> {
        let (name, step) = path.split_once('/').ok_or_else(Refusal::not_found)?;
        let provider = self.providers.get(name).ok_or_else(Refusal::not_found)?;
        match step {
            "start" => {
                let return_to = local(parameter(parts, "return_to")?);
                let begun = self.start_identity(parts, (name, provider), &return_to);
                Ok(match begun.await {
                    Ok(answer) => answer,
                    Err(refusal) => self.back(parts, &refusal, &return_to),
                })
            }
            "link" => {
                let return_to = local(fields.get("return_to").map(str::to_owned));
                self.link_identity(parts, (name, provider), return_to).await
            }
            "callback" => {
                let begun = self.finish_flow::<Begun>(parts, &flow(name)).await;
                let (return_to, answer) = match begun {
                    Ok(begun) => {
                        let return_to = begun.return_to.clone();
                        (
                            return_to,
                            self.callback(parts, (name, provider), begun).await,
                        )
                    }
                    Err(refusal) => ("/".to_owned(), Err(refusal)),
                };
                Ok(match answer {
                    Ok(answer) => redirected(answer, &return_to),
                    Err(refusal) => self.back(parts, &refusal, &return_to),
                })
            }
            _ => Err(Refusal::not_found()),
        }
    }

    async fn start_identity(
        &self,
        parts: &Parts,
        provider: Named<'_>,
        return_to: &str,
    ) -> Result<Answer, Refusal> {
        self.refuse_foreign(parts)?;
        // A sign-in must not fail at its end if no session can start.
        self.sessions.check_keys()?;
        let (url, answer) = self
            .send_to(parts, provider, return_to.to_owned(), None)
            .await?;
        Ok(redirected(answer, &url))
    }

    /// Begins the link to the signed-in user. The page sends the browser to the location of the response.
    async fn link_identity(
        &self,
        parts: &Parts,
        provider: Named<'_>,
        return_to: String,
    ) -> Result<Answer, Refusal> {
        let caller = self.user(parts).await?;
        self.check_recent(&caller)?;
        let link = Some(caller.id().to_string());
        let (url, answer) = self.send_to(parts, provider, return_to, link).await?;
        let mut found = json(StatusCode::OK, &object!({ "location": url }));
        found.headers_mut().extend(answer.headers().clone());
        Ok(found)
    }

    /// Returns the URL of the provider, and an empty response with the cookie.
    async fn send_to(
        &self,
        parts: &Parts,
        (name, provider): Named<'_>,
        return_to: String,
        link: Option<String>,
    ) -> Result<(String, Answer), Refusal> {
        let begun = Begun {
            request: AuthorizationRequest::new(self.callback_url(name)),
            return_to,
            link,
        };
        let cookie = self.begin_flow(parts, &flow(name), &begun).await?;
        let url = within(provider.authorization_url(&begun.request)).await?;
        let mut answer = empty(StatusCode::OK);
        answer
            .headers_mut()
            .insert(http::header::SET_COOKIE, cookie);
        Ok((url, answer))
    }

    async fn callback(
        &self,
        parts: &Parts,
        (name, provider): Named<'_>,
        begun: Begun,
    ) -> Result<Answer, Refusal> {
        let request = begun.request.returning_to(self.callback_url(name));
        let state = parameter(parts, "state")?.unwrap_or_default();
        let same: bool = state.as_bytes().ct_eq(request.state().as_bytes()).into();
        let issuer = parameter(parts, "iss")?;
        if !same || issuer.is_some_and(|issuer| issuer != provider.issuer()) {
            return Err(Refusal::identity_refused());
        }
        // RFC 6749 §4.1.2.1
        match parameter(parts, "error")?.as_deref() {
            None => {}
            Some("access_denied") => return Err(Refusal::declined()),
            Some("temporarily_unavailable" | "server_error") => {
                return Err(Refusal::unavailable(SECOND));
            }
            Some(_) => return Err(Refusal::identity_refused()),
        }
        let code = parameter(parts, "code")?.ok_or_else(Refusal::identity_refused)?;
        let who = within(provider.identify(&request, &code)).await?;
        if who.issuer() != provider.issuer() || !who.is_valid() {
            return Err(Refusal::identity_refused());
        }
        match begun.link {
            Some(session) => self.link_to(parts, &session, &who).await,
            None => self.sign_in_as(parts, &who).await,
        }
    }

    async fn link_to(
        &self,
        parts: &Parts,
        session: &str,
        who: &Identity,
    ) -> Result<Answer, Refusal> {
        let session: SessionId = session.parse().map_err(|_| Refusal::invalid_token())?;
        // Another user has signed in since the start.
        let caller = self.presented(parts, &self.expired).await?;
        if caller.is_some_and(|caller| session_of(&caller) != Some(session)) {
            return Err(Refusal::invalid_token());
        }
        match self.identities().link(session, who).await? {
            LinkIdentityOutcome::Linked | LinkIdentityOutcome::LinkedBefore => {
                Ok(empty(StatusCode::NO_CONTENT))
            }
            // The user has signed out since the start.
            LinkIdentityOutcome::SessionEnded => Err(Refusal::invalid_token()),
            LinkIdentityOutcome::Taken => Err(Refusal::identity(
                "identity_taken",
                "The identity belongs to another account",
            )),
            LinkIdentityOutcome::TooMany => Err(Refusal::identity(
                "too_many_identities",
                "The account has too many identities",
            )),
        }
    }

    async fn sign_in_as(&self, parts: &Parts, who: &Identity) -> Result<Answer, Refusal> {
        let identities = self.identities();
        let outcome = match (identities.sign_in(who).await?, self.unknown) {
            (
                IdentityOutcome::Unknown | IdentityOutcome::LinkFirst,
                UnknownIdentity::CreateAccount,
            ) => {
                self.signup_limit.take(parts)?;
                identities.sign_up(who).await?
            }
            (outcome, _) => outcome,
        };
        match outcome {
            // The state of the flow has shown that this browser began.
            IdentityOutcome::SignIn(who) => {
                let who = who.dangerous_cross_site().in_cookies(true);
                self.sign_in(parts, who).await
            }
            IdentityOutcome::LinkFirst => Err(Refusal::identity(
                "link_required",
                "Sign in to the account with this address first, then link the identity",
            )),
            IdentityOutcome::Unknown => Err(Refusal::identity(
                "no_account",
                "No account has this identity",
            )),
        }
    }

    pub(super) fn identities(&self) -> Identities {
        self.login.identities(&self.sessions)
    }

    fn callback_url(&self, name: &str) -> String {
        let origin = self.cookies.as_ref().map_or("", |cookies| cookies.origin());
        format!("{origin}{}/identity/{name}/callback", self.path)
    }

    /// Returns the redirect of a navigation that is refused.
    fn back(&self, parts: &Parts, refusal: &Refusal, return_to: &str) -> Answer {
        refusal.emit(&self.events, parts);
        redirected(refusal.answer(), return_to)
    }
}

type Named<'a> = (&'a str, &'a Arc<dyn ErasedIdentityProvider>);

impl Refusal {
    /// Refuses a callback. The error is not `invalid_grant`, because clients sign their user out on that
    /// error.
    fn identity_refused() -> Self {
        let description = "The identity provider's response is not valid";
        Self::identity("identity_refused", description)
    }

    fn declined() -> Self {
        Self::identity("access_denied", "The identity provider refused the sign-in")
    }

    fn identity(error: &'static str, description: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, error, description)
    }
}

/// Waits for a provider for a limited time.
async fn within<T>(asked: impl Future<Output = Result<T, IdentityError>>) -> Result<T, Refusal> {
    let answered = timeout(PATIENCE, asked).await;
    let error = match answered {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(late) => IdentityError::unavailable(late),
    };
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, "a sign-in with an identity provider failed");
    Err(match error {
        IdentityError::Refused(_) => Refusal::identity_refused(),
        IdentityError::Unavailable(_) => Refusal::unavailable(SECOND),
    })
}

/// Returns a parameter of the query. A parameter that occurs twice is refused (RFC 6749 §3.1).
fn parameter(parts: &Parts, name: &str) -> Result<Option<String>, Refusal> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let mut values = form_urlencoded::parse(query).filter(|(key, _)| key == name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refusal::invalid_request("A parameter occurs twice")),
        (value, None) => Ok(value
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())),
    }
}

fn local(path: Option<String>) -> String {
    path.filter(|path| is_local(path) && path.len() <= 500)
        .unwrap_or_else(|| "/".to_owned())
}

fn flow(name: &str) -> String {
    format!("id-{name}")
}

/// Checks the name of a provider, which is part of URLs and of a cookie's name.
pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=24).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(ConfigError::invalid(
            "identity_provider",
            "the name must be 1 to 24 lower-case letters, digits and `-`",
        )),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
