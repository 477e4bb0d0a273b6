//! The settings of a layer's answers, and the last word on every refusal.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    body::ResponseBody,
    deny::{
        Denial, Problem, Responder, answers_in,
        challenge::Challenges,
        form::{self, Form, Opening},
        grpc::Protocol,
        is_temporary, keep_private,
    },
    error::{AuthError, AuthErrorKind, ConfigError},
    event::{AuthEvent, Events},
    head::RequestHead,
    principal::Origin,
};

/// How a layer answers what it refuses.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(super) realm: String,
    pub(super) details: bool,
    pub(super) challenges: Challenges,
    responder: Arc<dyn Responder>,
    pub(super) form: Form,
    /// Who listens, here so that the guards inside a layer tell the same one.
    pub(crate) events: Events,
    /// Removes what the layer leaves in a request's extensions besides the caller.
    forget: fn(&mut Extensions),
}

impl Answers {
    /// The answers of a layer that leaves a `T` in a request's extensions besides the caller.
    pub(crate) fn leaving<T: Clone + Send + Sync + 'static>() -> Self {
        Self {
            forget: |extensions| drop(extensions.remove::<T>()),
            ..Self::default()
        }
    }

    /// Removes what the layer left in the extensions besides the caller.
    pub(crate) fn forget(&self, extensions: &mut Extensions) {
        (self.forget)(extensions);
    }

    /// The protection space that challenges name (RFC 9110 §11.5).
    ///
    /// In a challenge, characters outside printable ASCII are replaced by spaces.
    pub(crate) fn with_realm(mut self, realm: String) -> Self {
        self.challenges = Challenges::new(&realm, self.details);
        self.realm = realm;
        self
    }

    /// Leaves every explaining text out; codes stay.
    pub(crate) fn without_details(mut self) -> Self {
        self.challenges = Challenges::new(&self.realm, false);
        self.details = false;
        self
    }

    pub(crate) fn with_responder(mut self, responder: Arc<dyn Responder>) -> Self {
        self.responder = responder;
        self
    }

    /// Turns the framing of gRPC on or off.
    pub(crate) fn with_grpc(mut self, framing: bool) -> Self {
        self.form.grpc = framing;
        self
    }

    /// Answers as a gateway understands it.
    pub(crate) fn for_gateway(mut self) -> Self {
        self.form.gateway = true;
        self
    }

    /// Refuses settings that let requests without a credential pass in gateway mode.
    pub(crate) fn validate(&self, openings: &[Opening]) -> Result<(), ConfigError> {
        match self.form.gateway {
            true => form::contradiction(openings),
            false => Ok(()),
        }
    }

    /// The same for a layer in use, which passes nothing then.
    pub(crate) fn check_openings(&self, openings: &[Opening]) -> Result<(), AuthError> {
        self.validate(openings)
            .map_err(|error| AuthError::caused_by(AuthErrorKind::Misconfigured, error))
    }

    pub(crate) fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// The response to a request that is refused, as the response of a layer.
    pub(crate) fn deny<B>(
        &self,
        error: AuthError,
        head: RequestHead<'_>,
    ) -> Response<ResponseBody<B>> {
        self.refuse(error, head).map(ResponseBody::denied)
    }

    /// The response to a request that is refused.
    pub(crate) fn refuse(&self, error: AuthError, head: RequestHead<'_>) -> Response<Bytes> {
        self.refuse_telling(error, head, &self.events, self.form)
    }

    /// The response to a request that is refused. Where nobody listens to `events`, the layer around
    /// this one is told.
    pub(super) fn refuse_telling(
        &self,
        error: AuthError,
        head: RequestHead<'_>,
        events: &Events,
        form: Form,
    ) -> Response<Bytes> {
        #[cfg(feature = "tracing")]
        record(&error);
        tell(&error, head, events);

        let denial = Denial {
            error: &error,
            answers: self,
            head,
            form,
        };
        let protocol = Protocol::of(head).filter(|_| form.frames_grpc());
        let mut response = match protocol {
            Some(protocol) => protocol.answer(&denial),
            None => self.respond(&denial),
        };
        // Not even a gRPC answer, which is a 200, may be kept for others by a cache: the next request
        // may carry a good credential, whatever the responder says.
        let headers = response.headers_mut();
        headers
            .entry(CACHE_CONTROL)
            .or_insert(const { HeaderValue::from_static("no-store") });
        keep_private(headers);
        // RFC 9110 §9.3.2: the headers of a GET, and no content.
        if head.method() == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response.extensions_mut().insert(error);
        response
    }

    /// The responder's answer, with what it left out.
    fn respond(&self, denial: &Denial<'_>) -> Response<Bytes> {
        let mut response = self.responder.respond(denial);
        let refusal = denial.error.status();
        *response.status_mut() = denial.form.status_of_answer(response.status(), refusal);
        let (status, length) = (response.status(), response.body().len());
        let headers = response.headers_mut();

        // RFC 9110 §15.5.2: a 401 without a challenge is not allowed.
        if status == StatusCode::UNAUTHORIZED && !headers.contains_key(WWW_AUTHENTICATE) {
            let challenge = denial.challenge();
            headers.insert(
                WWW_AUTHENTICATE,
                challenge.unwrap_or_else(|| self.challenges.bare()),
            );
        }
        if is_temporary(status) && !headers.contains_key(RETRY_AFTER) {
            headers.insert(RETRY_AFTER, denial.retry_after().unwrap_or(1).into());
        }
        // RFC 9110 §8.6: none on 1xx and 204.
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        if bodiless {
            headers.remove(CONTENT_LENGTH);
        } else if !declares(headers, length) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        response
    }
}

impl Default for Answers {
    fn default() -> Self {
        const REALM: &str = "api";

        Self {
            realm: REALM.to_owned(),
            details: true,
            responder: Arc::new(Problem::new()),
            form: Form::default(),
            challenges: Challenges::new(REALM, true),
            events: Events::default(),
            forget: |_| (),
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("realm", &self.realm)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

/// Makes a layer's answers travel with the principal, for the guards inside it.
pub(crate) fn origin(answers: &Arc<Answers>) -> Origin {
    Origin(Arc::<Answers>::clone(answers))
}

/// The answers that travelled with a principal.
pub(crate) fn answers_of(origin: &Origin) -> Option<Arc<Answers>> {
    Arc::clone(&origin.0).downcast().ok()
}

fn tell(error: &AuthError, head: RequestHead<'_>, events: &Events) {
    let event = || AuthEvent::Denied { error };
    if events.is_heard() {
        events.tell(event);
    } else if let Some(carried) = answers_in(head.extensions()) {
        carried.events.tell(event);
    }
}

/// Whether the `Content-Length` that a responder set is there once and true.
fn declares(headers: &HeaderMap, length: usize) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let declared = values
        .next()
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    declared == Some(length) && values.next().is_none()
}

#[cfg(feature = "tracing")]
pub(crate) fn record(error: &AuthError) {
    use std::{error::Error, iter::successors};

    let cause = || {
        let causes: Vec<String> = successors(error.source(), |&cause| cause.source())
            .map(ToString::to_string)
            .collect();
        (!causes.is_empty()).then(|| causes.join(": "))
    };
    if error.kind() == AuthErrorKind::Misconfigured {
        let cause = cause();
        // Every request would repeat it. Two mistakes are two lines.
        if super::once::is_new(cause.as_deref().unwrap_or_default()) {
            tracing::error!(reason = error.as_str(), cause, "{error}");
        }
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(reason = error.as_str(), cause = cause(), "request refused");
    }
}
