//! The responses of the endpoints (RFC 6749 §5).

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, PRAGMA, REFERRER_POLICY, RETRY_AFTER,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
};
use http_body::Body as _;
use serde::Serialize;

use super::challenge::{Challenge, Offered};
use crate::{
    error::{AuthError, AuthErrorKind, StoreError},
    event::Events,
    layer::{
        extract::{RequestHead, cross_site},
        response::{DPOP_NONCE, Whole, report},
    },
    server::{
        login::PasswordError,
        session::{SessionError, SessionErrorKind},
    },
};

pub(super) type Answer = Response<Whole>;

/// The refusal of a request to an endpoint (RFC 6749 §5.2).
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    code: Option<&'static str>,
    retry_after: Option<u64>,
    challenge: Option<Challenge>,
    allow: Option<&'static str>,
    /// The error that is reported to the event sink, if the request may be an attack.
    denied: Option<Box<AuthError>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            code: None,
            retry_after: None,
            challenge: None,
            allow: None,
            denied: None,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn error(&self) -> &'static str {
        self.error
    }

    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// Refuses two cookies of one name, of which at most one was set by this server (cookie tossing).
    pub(super) fn planted() -> Self {
        Self::invalid_request("The request contains a cookie twice")
    }

    pub(super) fn invalid_grant(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    /// Refuses a wrong current password. The error is not `invalid_grant`, because clients sign their
    /// user out on that error.
    pub(super) fn invalid_password() -> Self {
        let description = "The current password is wrong";
        Self::new(StatusCode::BAD_REQUEST, "invalid_password", description)
    }

    /// Refuses a caller that has no password.
    pub(super) fn no_password() -> Self {
        let description = "Only users have passwords";
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// Refuses a code of a second factor. The error is not `invalid_grant`, because clients sign their
    /// user out on that error.
    pub(super) fn invalid_code() -> Self {
        let description = "The code is wrong or was used before";
        Self::new(StatusCode::BAD_REQUEST, "invalid_code", description)
    }

    /// Refuses the token of a first step that has expired, was spent, or is of another device.
    pub(super) fn invalid_step() -> Self {
        Self {
            code: Some("mfa_token_invalid"),
            ..Self::invalid_grant("The first step is not valid any more; sign in again")
        }
    }

    /// Refuses a caller that has no second factors and other credentials.
    pub(super) fn no_factors() -> Self {
        let description = "Only users have credentials";
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// Refuses a session whose user was authenticated too long ago (RFC 9470 §3).
    pub(super) fn stale_authentication() -> Self {
        let description = "A more recent sign-in is required";
        Self {
            challenge: Some(Challenge::Stale),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "insufficient_user_authentication",
                description,
            )
        }
    }

    pub(super) fn server_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "")
    }

    /// Refuses an account that may not sign in.
    pub(super) fn disabled() -> Self {
        let description = "The account may not sign in";
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// Refuses an access token that is too large for cookies. The log names its size.
    pub(super) fn too_large() -> Self {
        let description = "The access token is too large for cookies";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            description,
        )
    }

    /// Refuses a session that could not be started. The client has presented no refresh token, so the
    /// error is not `invalid_grant`.
    pub(super) fn of_start(error: SessionError) -> Self {
        match error.kind() {
            SessionErrorKind::Disabled => Self::disabled(),
            _ if error.status().is_client_error() => Self::unavailable(Duration::from_secs(1)),
            _ => error.into(),
        }
    }

    /// Changes the status to 400, which RFC 6749 §5.2 requires for every refusal of a grant.
    pub(super) fn at_token_endpoint(self) -> Self {
        match (self.status, &self.denied) {
            (StatusCode::FORBIDDEN, None) => self.with_status(StatusCode::BAD_REQUEST),
            _ => self,
        }
    }

    /// Refuses wrong credentials at the login with 401, because the login is no OAuth endpoint.
    pub(super) fn unauthorized(description: &'static str) -> Self {
        Self {
            challenge: Some(Challenge::Missing),
            ..Self::new(StatusCode::UNAUTHORIZED, "invalid_grant", description)
        }
    }

    /// Refuses a request without an access token. The challenge has no error (RFC 6750 §3.1).
    pub(super) fn missing_token() -> Self {
        Self {
            challenge: Some(Challenge::Missing),
            ..Self::invalid_token()
        }
    }

    /// Refuses an access token that is not valid, or whose session has ended (RFC 6750 §3.1).
    pub(super) fn invalid_token() -> Self {
        let description = "A valid access token is required";
        Self {
            challenge: Some(Challenge::Invalid),
            ..Self::new(StatusCode::UNAUTHORIZED, "invalid_token", description)
        }
    }

    /// Refuses a malformed credential (RFC 6750 §3.1).
    pub(super) fn malformed(description: &'static str) -> Self {
        Self {
            challenge: Some(Challenge::Malformed),
            ..Self::invalid_request(description)
        }
    }

    pub(super) fn cross_site() -> Self {
        let description = "The request comes from another site";
        Self {
            denied: Some(Box::new(AuthErrorKind::CrossSite.into())),
            ..Self::new(StatusCode::FORBIDDEN, "access_denied", description)
        }
    }

    pub(super) fn slow_down(wait: Duration) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "slow_down", "Too many attempts").after(wait)
    }

    /// Refuses a request because the server is misconfigured.
    pub(super) fn misconfigured(kind: AuthErrorKind) -> Self {
        Self {
            denied: Some(Box::new(kind.into())),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "")
        }
    }

    /// Refuses the proof of a request for tokens (RFC 9449 §5, §8).
    pub(super) fn of_proof(error: &AuthError) -> Self {
        Self::of_bound(error).for_tokens()
    }

    fn for_tokens(self) -> Self {
        match self.status {
            StatusCode::UNAUTHORIZED => Self {
                status: StatusCode::BAD_REQUEST,
                challenge: None,
                ..self
            },
            _ => self,
        }
    }

    /// Refuses a bound access token because of its proof (RFC 9449 §7.1, §9).
    pub(super) fn of_bound(error: &AuthError) -> Self {
        let refused = match error.kind() {
            AuthErrorKind::InvalidProof => Self {
                challenge: Some(Challenge::Proof),
                ..Self::new(
                    UNAUTHORIZED,
                    "invalid_dpop_proof",
                    "The DPoP proof is invalid",
                )
            },
            AuthErrorKind::ProofNonceRequired => Self {
                challenge: Some(Challenge::Nonce),
                ..Self::new(
                    UNAUTHORIZED,
                    "use_dpop_nonce",
                    "The DPoP proof needs the nonce of this response",
                )
            },
            AuthErrorKind::WrongProofKey => Self::invalid_token(),
            _ if error.status() == StatusCode::SERVICE_UNAVAILABLE => {
                Self::unavailable(Duration::from_secs(1))
            }
            _ => Self::server_error(),
        };
        Self {
            denied: Some(Box::new(error.clone())),
            ..refused
        }
    }

    pub(super) fn unavailable(wait: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "temporarily_unavailable", "Try again later").after(wait)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such endpoint",
        )
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self {
            allow: Some(allow),
            ..Self::new(
                status,
                "invalid_request",
                "The endpoint does not support this method",
            )
        }
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn after(mut self, wait: Duration) -> Self {
        // Rounded up, so that a retry at that time is accepted.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// Reports the refusal to the event sink, as a layer does.
    pub(super) fn emit(&self, events: &Events, parts: &Parts) {
        let head = RequestHead::of_parts(parts);
        match &self.denied {
            None => {}
            Some(error) if error.kind() == AuthErrorKind::CrossSite => {
                report(&cross_site(head), head, events);
            }
            Some(error) => report(error, head, events),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        self.answer_in(&Offered::default())
    }

    /// Returns the response, whose challenges offer these schemes.
    pub(super) fn answer_in(&self, offered: &Offered) -> Answer {
        let mut answer = json(
            self.status,
            &Body {
                error: self.error,
                error_description: &self.description,
                code: self.code,
                retry_after: self.retry_after,
            },
        );
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            let challenges = offered.challenges(challenge.error());
            for challenge in challenges.filter_map(|one| HeaderValue::try_from(one).ok()) {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
        }
        let nonce = self.denied.as_deref().and_then(AuthError::nonce);
        if let Some(nonce) = nonce.and_then(|nonce| nonce.parse().ok()) {
            headers.insert(&DPOP_NONCE, nonce);
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        #[cfg(feature = "tracing")]
        if error.status().is_server_error() {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "a session endpoint failed");
        }
        let description = match error.status() {
            _ if error.kind() == SessionErrorKind::NotProved => {
                "The session needs a DPoP proof by its key"
            }
            StatusCode::BAD_REQUEST => "The refresh token is not valid",
            StatusCode::SERVICE_UNAVAILABLE => "Try again later",
            _ => "",
        };
        Self {
            code: error.code(),
            retry_after: error.retry_after().map(u64::from),
            ..Self::new(error.status(), error.error(), description)
        }
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy { retry_after } => Self::unavailable(retry_after),
            PasswordError::Empty | PasswordError::TooLong => {
                Self::invalid_request("The password is empty or too long")
            }
            PasswordError::Refused(rule) => Self {
                code: Some(rule.as_str()),
                description: rule.to_string().into(),
                ..Self::invalid_request("")
            },
            _ => Self::unavailable(Duration::from_secs(1)),
        }
    }
}

impl From<AuthError> for Refusal {
    /// Converts the refusal of an extractor.
    fn from(error: AuthError) -> Self {
        match error.kind() {
            AuthErrorKind::CrossSite => Self::cross_site(),
            // The scheme of a token that is bound to a key.
            AuthErrorKind::MissingCredential => Self::missing_token(),
            _ => Self::malformed("The credential is malformed"),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        SessionError::from(error).into()
    }
}

/// Creates a JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Whole::new(Bytes::from(bytes)));
    *answer.status_mut() = status;
    let kind = const { HeaderValue::from_static("application/json") };
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    guarded(answer)
}

/// Creates a response without content.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Whole::default());
    *answer.status_mut() = status;
    guarded(answer)
}

/// Removes the content from the response to a `HEAD` request (RFC 9110 §9.3.2).
pub(super) fn without_content(answer: &mut Answer) {
    let length = answer.body().size_hint().exact();
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *answer.body_mut() = Whole::default();
}

/// Adds the headers that forbid storing (RFC 6749 §5.1) and content sniffing.
fn guarded(mut answer: Answer) -> Answer {
    let headers: &mut HeaderMap = answer.headers_mut();
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

const GUARDS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (PRAGMA, "no-cache"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        http::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];
