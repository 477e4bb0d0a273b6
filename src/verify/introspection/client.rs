//! Calls of the introspection endpoint (RFC 7662 §2).

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::authentication::Authentication;
use crate::{
    error::{AuthError, AuthErrorKind, KeyProblem},
    event::{AuthEvent, Events},
    key::{
        remote::{
            AGENT, FetchError, HttpFetch, IDENTITY, Issuer, MAX_REDIRECTS, Wanted, is_coded,
            redirect, refused_redirect,
        },
        without_byte_order_mark,
    },
    task::{Panicked, caught},
    time::Clock,
};

/// The server's answer about a token, or the reason for which there is none.
pub(super) enum Outcome {
    /// A JSON object.
    Answer(Box<str>),
    /// The server does not introspect tokens of this kind, or finds them malformed.
    Unsupported,
    Unavailable(AuthError),
}

/// The place of the endpoint.
pub(super) struct Endpoint {
    issuer: Option<Issuer>,
    known: tokio::sync::Mutex<Option<Known>>,
    /// The endpoint, or the URL of the issuer.
    url: Uri,
}

/// An endpoint that the metadata named.
struct Known {
    url: Uri,
    read_again: Instant,
}

impl Endpoint {
    pub(super) fn at(url: Uri) -> Self {
        Self {
            issuer: None,
            known: tokio::sync::Mutex::default(),
            url,
        }
    }

    pub(super) fn of(issuer: Issuer) -> Self {
        Self {
            url: issuer.url().clone(),
            issuer: Some(issuer),
            known: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// Returns the URL. Only one call at a time reads the metadata, and for no longer than `patience` once
    /// the URL is known: it outlives an outage of the metadata.
    async fn find(
        &self,
        client: &HttpFetch,
        now: Instant,
        patience: Duration,
    ) -> Result<Uri, FetchError> {
        let Some(issuer) = &self.issuer else {
            return Ok(self.url.clone());
        };
        let discover = issuer.discover(client, None, Wanted::Introspection);
        let mut known = self.known.lock().await;
        let before = match &mut *known {
            None => {
                let url = discover.await?.url;
                *known = Some(Known::read(&url, now));
                return Ok(url);
            }
            Some(known) if now < known.read_again => return Ok(known.url.clone()),
            Some(known) => {
                // The other calls use the URL in the meantime, also if this one is cancelled.
                known.read_again = now + RETRY_AFTER_FAILURE;
                known.url.clone()
            }
        };
        drop(known);
        match timeout(patience, discover).await {
            Ok(Ok(found)) => {
                *self.known.lock().await = Some(Known::read(&found.url, now));
                Ok(found.url)
            }
            Ok(Err(_)) | Err(_) => Ok(before),
        }
    }
}

impl Known {
    fn read(url: &Uri, now: Instant) -> Self {
        Self {
            url: url.clone(),
            read_again: now + METADATA_AGE,
        }
    }
}

/// Makes the calls.
pub(super) struct Client {
    pub(super) http: HttpFetch,
    pub(super) endpoint: Endpoint,
    pub(super) authentication: Authentication,
    /// The audience of client assertions. `None`: the endpoint's URL.
    pub(super) audience: Option<String>,
    pub(super) timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reports: Mutex<Reports>,
    pub(super) events: Events,
}

impl Client {
    /// Introspects a token. Failures and panics are outcomes, too.
    pub(super) async fn introspect(&self, token: &str) -> Outcome {
        let response = match caught("introspection", self.post(token)).await {
            Ok(response) => response,
            Err(Panicked) => Err(FetchError::panicked()),
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => return self.unavailable(error, 1),
        };
        let retry_after = retry_after(response.headers());
        match response.status().as_u16() {
            200 => match read(&response) {
                Ok(json) => Outcome::Answer(json),
                Err(error) => self.unavailable(error, 1),
            },
            // The server refuses this token, which the client has to replace. RFC 7009 §2.2.1 has the code.
            400 if error_code(response.body()).as_deref() == Some("unsupported_token_type") => {
                Outcome::Unsupported
            }
            401 => self.refused(&response),
            status => self.unavailable(FetchError::of_status(status), retry_after),
        }
    }

    /// Returns the outcome of a call that is not complete in time.
    pub(super) fn late(&self) -> Outcome {
        self.unavailable(FetchError::late(), 1)
    }

    /// Emits the event of a call that began at this time.
    pub(super) fn emit(&self, outcome: &Outcome, began: Instant) {
        self.events.emit(|| {
            let took = self.clock.monotonic().saturating_duration_since(began);
            match outcome {
                Outcome::Answer(_) | Outcome::Unsupported => AuthEvent::Introspected { took },
                Outcome::Unavailable(error) => AuthEvent::IntrospectionFailed {
                    problem: problem_of(error),
                    took,
                },
            }
        });
    }

    async fn post(&self, token: &str) -> Result<Response<Bytes>, FetchError> {
        let mut target = self
            .endpoint
            .find(&self.http, self.clock.monotonic(), self.timeout / 4)
            .await?;
        let audience = match &self.audience {
            Some(audience) => audience.clone(),
            None => target.to_string(),
        };
        let failed = || FetchError::plain(KeyProblem::Client, "the request could not be signed");
        let credentials = self
            .authentication
            .request(token, &audience, self.clock.now());
        let credentials = credentials.ok_or_else(failed)?;
        let body = Bytes::from(credentials.body);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(body.clone());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = target.clone();
            let headers = request.headers_mut();
            if let Some(value) = &credentials.header {
                headers.insert(AUTHORIZATION, value.clone());
            }
            for (name, value) in [
                (CONTENT_TYPE, "application/x-www-form-urlencoded"),
                (ACCEPT, "application/json"),
                (ACCEPT_ENCODING, IDENTITY),
                (USER_AGENT, AGENT),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            let response = self.http.send(request).await?;
            match response.status().as_u16() {
                // Only these keep the method and the body (RFC 9110 §15.4.8, §15.4.9).
                307 | 308 => target = redirect(&target, response.headers())?,
                301..=303 => return Err(refused_redirect("a redirect that loses the request")),
                _ => return Ok(response),
            }
        }
        Err(refused_redirect("too many redirects"))
    }

    /// Logs that the server refuses this server's credentials.
    #[cold]
    fn refused(&self, response: &Response<Bytes>) -> Outcome {
        let code = error_code(response.body());
        if self.is_due(|reports| &mut reports.refused) {
            #[cfg(feature = "tracing")]
            tracing::error!(
                of = self.shown(),
                code = code.as_deref(),
                "the authorization server refuses the credentials with which this server introspects \
                 tokens: compare the client's identifier, its secret or key, and the way in which it \
                 authenticates"
            );
        }
        drop(code);
        unavailable_by(FetchError::of_status(401), 1)
    }

    #[cold]
    fn unavailable(&self, error: FetchError, retry_after: u32) -> Outcome {
        if self.is_due(|reports| &mut reports.failed) {
            #[cfg(feature = "tracing")]
            tracing::warn!(
                reason = error.problem().as_str(),
                of = self.shown(),
                %error,
                cause = error.causes(&self.endpoint.url),
                "tokens could not be introspected"
            );
        }
        unavailable_by(error, retry_after)
    }

    /// Returns `true` if a line of this kind was not logged within the last minute.
    fn is_due(&self, kind: impl FnOnce(&mut Reports) -> &mut Option<Instant>) -> bool {
        let now = self.clock.monotonic();
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kind(&mut reports);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// Returns the endpoint or the issuer for the log, without a query, which may be secret.
    #[cfg(feature = "tracing")]
    fn shown(&self) -> String {
        let text = self.endpoint.url.to_string();
        text.split(['?', '#']).next().unwrap_or_default().to_owned()
    }
}

/// The times of the last log lines.
#[derive(Default)]
pub(super) struct Reports {
    refused: Option<Instant>,
    failed: Option<Instant>,
}

fn problem_of(error: &AuthError) -> KeyProblem {
    let cause = error.source().and_then(<dyn Error>::downcast_ref);
    cause.map_or(KeyProblem::Client, FetchError::problem)
}

fn unavailable_by(error: FetchError, retry_after: u32) -> Outcome {
    let kind = AuthErrorKind::IntrospectionUnavailable;
    let error: Box<dyn Error + Send + Sync> = Box::new(error);
    Outcome::Unavailable(AuthError::unavailable_by(kind, retry_after, error))
}

/// Returns the answer, if it is a JSON object in UTF-8.
fn read(response: &Response<Bytes>) -> Result<Box<str>, FetchError> {
    if is_coded(response.headers()) {
        let what = "the response is compressed, although only `identity` is accepted";
        return Err(FetchError::plain(KeyProblem::ContentCoding, what));
    }
    let body = without_byte_order_mark(response.body());
    let what = "the response is not a JSON object";
    let unusable = || FetchError::plain(KeyProblem::Metadata, what);
    let json = std::str::from_utf8(body).map_err(|_| unusable())?;
    let object: Result<Map<String, Value>, _> = serde_json::from_str(json);
    object.map_err(|_| unusable())?;
    Ok(json.into())
}

/// Returns the code of an error (RFC 6749 §5.2).
fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_sound = problem.error.len() <= LONGEST_CODE && problem.error.bytes().all(is_code);
    is_sound.then_some(problem.error)
}

/// Returns the seconds that an overloaded server names (RFC 9110 §10.2.3), within limits.
fn retry_after(headers: &HeaderMap) -> u32 {
    let value = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = value.and_then(|value| value.trim().parse().ok());
    seconds.unwrap_or(1).clamp(1, MOST_RETRY_AFTER)
}

const METADATA_AGE: Duration = Duration::from_secs(3600);
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(60);
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
const LONGEST_CODE: usize = 64;
const MOST_RETRY_AFTER: u32 = 60;
