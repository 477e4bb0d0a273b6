//! The response settings of a layer, and the final form of every refusal.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE},
};

#[cfg(feature = "tracing")]
use crate::error::{RefusedToken, shown};
use crate::{
    error::{AuthError, AuthErrorKind, ConfigError, Scheme},
    event::{AuthEvent, Events},
    layer::{
        extract::RequestHead,
        response::{
            DPOP_NONCE, ErrorResponder, Problem, Refusal, Refuse, answers_in,
            challenge::{Announced, Challenges, Offer, Setup},
            form::{self, Form, Opening},
            grpc::Protocol,
            is_temporary,
            private::forbid_storing,
        },
    },
    principal::Origin,
    stripes::Stripes,
};

/// The settings for a layer's refusals.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(super) challenges: Challenges,
    responder: Arc<dyn ErrorResponder>,
    pub(super) form: Form,
    /// The event sink, kept here so that guards inside the layer report to the same sink.
    pub(crate) events: Events,
    /// Removes what the layer inserts into a request's extensions in addition to the caller.
    forget: fn(&mut Extensions),
}

impl Answers {
    /// Creates the settings of a layer that inserts a `T` into a request's extensions in addition to
    /// the caller.
    pub(crate) fn leaving<T: Clone + Send + Sync + 'static>() -> Self {
        Self {
            forget: |extensions| drop(extensions.remove::<T>()),
            ..Self::default()
        }
    }

    /// Removes what the layer inserted into the extensions in addition to the caller.
    pub(crate) fn forget(&self, extensions: &mut Extensions) {
        (self.forget)(extensions);
    }

    /// Sets the realm in challenges (RFC 9110 §11.5).
    ///
    /// In a challenge, characters outside printable ASCII are replaced by spaces.
    pub(crate) fn with_realm(self, realm: String) -> Self {
        self.with_challenges(|setup| setup.realm = realm)
    }

    /// Removes all explanations from refusals. Error codes stay.
    pub(crate) fn without_details(self) -> Self {
        self.with_challenges(|setup| setup.details = false)
    }

    /// Sets the scope in the challenges to requests without an accepted token.
    pub(crate) fn with_scope(self, scope: &str) -> Self {
        self.with_challenges(|setup| setup.scope = Some(scope.into()))
    }

    /// Sets the metadata that every challenge names (RFC 9728 §5.1).
    pub(crate) fn with_announced(self, announced: Arc<Announced>) -> Self {
        self.with_challenges(|setup| setup.announced = Some(announced))
    }

    /// Sets the accepted schemes, one challenge each, and the scheme of the callers to whom these
    /// settings are attached: refusals inside the layer name their error in its challenge.
    pub(crate) fn with_schemes(self, schemes: Vec<Offer>, used: Scheme) -> Self {
        self.with_challenges(|setup| {
            setup.schemes = schemes;
            setup.used = used;
        })
    }

    /// Returns these settings with the schemes, the scope and the metadata of a layer around this one.
    pub(super) fn within(&self, outer: &Self) -> Self {
        Self {
            challenges: self.challenges.within(&outer.challenges),
            ..self.clone()
        }
    }

    fn with_challenges(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        self.challenges = self.challenges.with(change);
        self
    }

    pub(crate) fn with_responder(mut self, responder: Arc<dyn ErrorResponder>) -> Self {
        self.responder = responder;
        self
    }

    /// Sets whether gRPC calls are answered in gRPC framing.
    pub(crate) fn with_grpc(mut self, framing: bool) -> Self {
        self.form.grpc = framing;
        self
    }

    /// Enables gateway mode.
    pub(crate) fn for_gateway(mut self) -> Self {
        self.form.gateway = true;
        self
    }

    pub(crate) fn is_for_gateway(&self) -> bool {
        self.form.gateway
    }

    /// Returns an error if gateway mode is combined with a setting that lets requests without a
    /// credential pass.
    pub(crate) fn validate(&self, openings: &[Opening]) -> Result<(), ConfigError> {
        match self.form.gateway {
            true => form::contradiction(openings),
            false => Ok(()),
        }
    }

    /// Checks the same for a request: with this contradiction, a layer refuses every request.
    #[inline]
    pub(crate) fn check_openings<const N: usize>(
        &self,
        openings: impl FnOnce() -> [Opening; N],
    ) -> Result<(), AuthError> {
        match self.form.gateway {
            true => self.refuse_openings(&openings()),
            false => Ok(()),
        }
    }

    #[cold]
    fn refuse_openings(&self, openings: &[Opening]) -> Result<(), AuthError> {
        self.validate(openings)
            .map_err(|error| AuthError::caused_by(AuthErrorKind::Misconfigured, error))
    }

    pub(crate) fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// Returns the response to a refused request, and reports the refusal to `events`, or to the sink
    /// of the authenticating layer if `events` is empty.
    pub(super) fn refuse_telling(
        &self,
        error: AuthError,
        head: RequestHead<'_>,
        events: &Events,
        form: Form,
    ) -> Response<Bytes> {
        report(&error, head, events);
        let error = error.after_events();

        let refusal = Refusal {
            error: &error,
            answers: self,
            head,
            form,
        };
        let protocol = Protocol::of(head).filter(|_| form.frames_grpc());
        let mut response = match protocol {
            Some(protocol) => protocol.answer(&refusal),
            None => self.respond(&refusal),
        };
        // Caches must store no refusal, not even a gRPC response with HTTP 200: the next request may
        // carry a good credential. A responder cannot change that.
        forbid_storing(response.headers_mut());
        if let Some(nonce) = error.nonce().and_then(|nonce| nonce.parse().ok()) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        // RFC 9110 §9.3.2: the headers of a GET, without content.
        if head.method() == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response.extensions_mut().insert(error);
        response
    }

    /// Returns `true` if the details of a refusal are logged or reported.
    pub(crate) fn are_read(&self) -> bool {
        #[cfg(feature = "tracing")]
        if tracing::enabled!(tracing::Level::DEBUG) {
            return true;
        }
        self.events.is_enabled()
    }

    /// Logs a refusal that another host answers, and reports it to the sink of these settings.
    #[cfg(feature = "tonic")]
    pub(super) fn report(&self, error: &AuthError, head: RequestHead<'_>) {
        report(error, head, &self.events);
    }

    /// Returns the responder's response, with the missing headers added.
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes> {
        let mut response = self.responder.respond(refusal);
        let status = refusal.error.status();
        *response.status_mut() = refusal.form.status_of_answer(response.status(), status);
        let (status, length) = (response.status(), response.body().len());
        let headers = response.headers_mut();

        self.complete_challenges(headers, status, refusal);
        if is_temporary(status) && !headers.contains_key(RETRY_AFTER) {
            headers.insert(RETRY_AFTER, refusal.retry_after().unwrap_or(1).into());
        }
        // RFC 9110 §8.6: no `Content-Length` on 1xx and 204.
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        if bodiless {
            headers.remove(CONTENT_LENGTH);
        } else if !declares(headers, length) {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        response
    }

    /// Adds the challenges that a responder left out.
    fn complete_challenges(
        &self,
        headers: &mut HeaderMap,
        status: StatusCode,
        refusal: &Refusal<'_>,
    ) {
        let values = self.challenges.of(refusal.error);
        let mut own = headers.get_all(WWW_AUTHENTICATE).iter();
        let missing = match (own.next(), own.next()) {
            // RFC 9110 §15.5.2: a 401 requires a challenge.
            (None, _) if status != StatusCode::UNAUTHORIZED => return,
            (None, _) if values.is_empty() => self.challenges.bare(),
            (None, _) => values,
            // A responder that sets `Refusal::challenge` does not have to know about other schemes.
            (Some(only), None) if Some(only) == values.first() => {
                values.into_iter().skip(1).collect()
            }
            _ => return,
        };
        for value in missing {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
}

impl Refuse for Answers {
    fn refuse(&self, error: AuthError, head: RequestHead<'_>) -> Response<Bytes> {
        self.refuse_telling(error, head, &self.events, self.form)
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            responder: Arc::new(Problem::new()),
            form: Form::default(),
            challenges: Challenges::new(Setup::default()),
            events: Events::default(),
            forget: |_| (),
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("realm", &self.challenges.realm())
            .field("details", &self.challenges.details())
            .finish_non_exhaustive()
    }
}

/// Attaches a layer's settings to the principal, for the guards inside the layer.
pub(crate) fn origin(answers: &Arc<Answers>) -> Origin {
    Origin(Arc::new(Arc::clone(answers)))
}

/// The origin of a layer, with a separate reference count for each stripe of threads: every request
/// clones it.
pub(crate) type Origins = Arc<Stripes<Origin>>;

/// Returns [`origin`] for every stripe.
pub(crate) fn origins(answers: &Arc<Answers>) -> Origins {
    Arc::new(Stripes::new(|| origin(answers)))
}

/// Returns the settings that are attached to a principal.
pub(crate) fn answers_of(origin: &Origin) -> Option<Arc<Answers>> {
    origin.0.downcast_ref().map(Arc::clone)
}

/// Logs a refusal, and reports it to `events`, or to the sink of the authenticating layer if `events` is
/// empty.
pub(crate) fn report(error: &AuthError, head: RequestHead<'_>, events: &Events) {
    #[cfg(feature = "tracing")]
    record(error, Some(head));
    let is_known = head.extensions().get::<UnknownRequest>().is_none();
    let event = || AuthEvent::Denied {
        error,
        caller: head.extensions().get(),
        method: is_known.then(|| head.method()),
        path: is_known.then(|| head.uri().path()),
    };
    if events.is_enabled() {
        events.emit(event);
    } else if let Some(carried) = answers_in(head.extensions()) {
        carried.events.emit(event);
    }
}

/// A marker in the extensions of a request that stands for an unknown one.
#[derive(Clone, Copy)]
pub(super) struct UnknownRequest;

/// Returns `true` if the headers hold exactly one `Content-Length`, and it is this length.
fn declares(headers: &HeaderMap, length: usize) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let declared = values
        .next()
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    declared == Some(length) && values.next().is_none()
}

#[cfg(feature = "tracing")]
pub(crate) fn record(error: &AuthError, head: Option<RequestHead<'_>>) {
    use std::{error::Error, iter::successors};

    let cause = || {
        let causes: Vec<String> = successors(error.source(), |&cause| cause.source())
            .map(ToString::to_string)
            .collect();
        (!causes.is_empty()).then(|| causes.join(": "))
    };
    if error.kind() == AuthErrorKind::Misconfigured {
        let cause = cause();
        // Every request would repeat the line. Two different mistakes are two lines.
        if super::once::is_new(cause.as_deref().unwrap_or_default()) {
            tracing::error!(reason = error.as_str(), cause, "{error}");
        }
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        let token = error.token();
        // The query may contain a token.
        let is_known = |head: &RequestHead<'_>| head.extensions().get::<UnknownRequest>().is_none();
        let head = head.filter(is_known);
        let path = head.map(|head| shown(head.uri().path()));
        tracing::debug!(
            reason = error.as_str(),
            cause = cause(),
            missing = error.missing(),
            method = head.map(|head| head.method().as_str()),
            path,
            alg = token.and_then(RefusedToken::algorithm),
            kid = token.and_then(RefusedToken::key_id),
            iss = token.and_then(RefusedToken::issuer),
            aud = token.and_then(RefusedToken::audience),
            expected_alg = token.map(RefusedToken::expected_algorithms),
            expected_iss = token.map(RefusedToken::expected_issuers),
            expected_aud = token.map(RefusedToken::expected_audience),
            "request refused"
        );
    }
}
