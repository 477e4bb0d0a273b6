//! Responses to refused requests.
//!
//! A layer never returns an error. It returns a response with 401, 403, 400 or 503, or with 500 if the
//! application's layers are misconfigured. An [`ErrorResponder`] builds that response. [`Problem`] is the
//! default, [`OAuthJson`] is built in too, [`json_body`] sends your own JSON, and any closure is a
//! responder:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Response, StatusCode, header::LOCATION};
//! use tower_jwt_auth::layer::response::{Refusal, Problem, ErrorResponder};
//!
//! // Browsers are sent to the login page, everything else gets problem details.
//! let responder = |refusal: &Refusal<'_>| {
//!     if refusal.status() != StatusCode::UNAUTHORIZED {
//!         return Problem::new().respond(refusal);
//!     }
//!     let mut response = Response::new(Bytes::new());
//!     *response.status_mut() = StatusCode::SEE_OTHER;
//!     response.headers_mut().insert(LOCATION, http::HeaderValue::from_static("/login"));
//!     response
//! };
//! # fn is_responder(_: impl ErrorResponder) {}
//! # is_responder(responder);
//! ```
//!
//! Pass it to [`JwtAuthLayer::responder`](crate::JwtAuthLayer::responder). Guards inside that layer use it
//! too.
//!
//! The layer adds the headers that a responder leaves out: `WWW-Authenticate` on every 401 ([RFC 9110
//! §15.5.2]), `Retry-After` on every 503, `Cache-Control: no-store`, and `Content-Length`. Shared
//! caches must not store a refusal: a responder's own cache directives are changed to `private`. The
//! response to a `HEAD` request keeps its headers and loses its content ([RFC 9110 §9.3.2]). The
//! [`AuthError`] is inserted into the response's extensions.
//!
//! gRPC and gRPC-Web calls are answered in their own framing: HTTP 200 and a `grpc-status`. A call is a
//! `POST` with the `Content-Type` of its protocol; `application/grpc` also requires HTTP/2. Every other
//! request with such a `Content-Type` is answered with its HTTP status. The layers' `.grpc(false)`
//! turns the framing off.
//!
//! A 500 says nothing about the mistake in the layers, which is in the log and in the `AuthError`. In a
//! build with debug assertions the built-in responders name it in the response.
//!
//! A layer that answers the authentication requests of a gateway (nginx, Caddy, Envoy, Traefik) needs
//! `.gateway()`: no framing, and only statuses that every gateway treats as a refusal. See [the
//! manual](crate::manual::gateways).
//!
//! [RFC 9110 §9.3.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
//! [RFC 9110 §15.5.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2

mod answers;
mod body;
mod caller;
mod challenge;
mod form;
mod grpc;
mod inner;
mod json;
mod oauth;
#[cfg(feature = "tracing")]
mod once;
mod private;
mod problem;
mod require;
mod table;
#[cfg(test)]
mod tests;

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::WWW_AUTHENTICATE};

use crate::{
    error::{AuthError, AuthErrorKind, ErrorCode, Reason},
    layer::{extract::RequestHead, response::form::Form},
};

#[cfg(test)]
pub(crate) use self::answers::origin;
#[cfg(all(feature = "tonic", feature = "tracing"))]
pub(crate) use self::answers::record;
#[cfg(feature = "server")]
pub(crate) use self::answers::report;
pub(crate) use self::answers::{Answers, Origins, origins};
#[cfg(any(feature = "axum", feature = "tonic", feature = "warp"))]
pub(crate) use self::caller::caller_in;
pub(crate) use self::caller::{Derived, answers_in, forget_derived};
pub(crate) use self::challenge::{Announced, OFFLINE, Offer, is_scope, is_scope_token};
pub(crate) use self::form::Opening;
#[cfg(feature = "tonic")]
pub(crate) use self::grpc::{Outcome, outcome};
pub(crate) use self::inner::InnerAnswers;
pub(crate) use self::private::{keep_private, never_store};
pub use self::{
    body::Whole,
    json::{JsonBody, json_body},
    oauth::OAuthJson,
    problem::Problem,
    require::AccessDenied,
};

/// The response headers that pages of other origins have to read: the challenge, and the nonce for
/// proofs (RFC 9449 §8). Pass them to the CORS layer, as
/// [`Access-Control-Expose-Headers`](https://fetch.spec.whatwg.org/#http-access-control-expose-headers). See
/// [the recipe](crate::manual::recipes::cors).
pub const EXPOSED_HEADERS: [HeaderName; 2] =
    [WWW_AUTHENTICATE, HeaderName::from_static("dpop-nonce")];

/// The header field with the nonce for the next proof (RFC 9449 §8).
pub(crate) static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The settings for a layer's refusals.
pub(crate) trait Refuse {
    /// Returns the response to a refused request.
    fn refuse(&self, error: AuthError, head: RequestHead<'_>) -> Response<Bytes>;
}

/// Builds the response to a refused request.
pub trait ErrorResponder: Send + Sync + 'static {
    /// Returns the response to a refused request.
    ///
    /// # Security
    ///
    /// Use only what the [`Refusal`] offers. Do not copy anything from the request into the response: an
    /// echoed token, claim or key identifier ends up in logs, caches and pages.
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes>;
}

impl<F> ErrorResponder for F
where
    F: Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync + 'static,
{
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes> {
        self(refusal)
    }
}

/// A refused request, and the details that a response may contain.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    error: &'a AuthError,
    answers: &'a Answers,
    head: RequestHead<'a>,
    form: Form,
}

impl<'a> Refusal<'a> {
    /// Returns the cause, which is meant for logs and decisions, not for the client.
    #[must_use]
    pub fn error(&self) -> &'a AuthError {
        self.error
    }

    /// Returns the HTTP status of the refusal. In gateway mode 400 becomes 401, and 429 and 500 become
    /// 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.form.status(self.error.status())
    }

    /// Returns the error code of [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1),
    /// if one applies.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.error.code()
    }

    /// Returns the realm, as it was passed to the layer.
    #[must_use]
    pub fn realm(&self) -> &'a str {
        self.answers.challenges.realm()
    }

    /// Returns a short fixed text for the client, or `None` if details are off or no text would help.
    #[must_use]
    pub fn detail(&self) -> Option<&'static str> {
        self.reason().text().filter(|_| self.details())
    }

    /// Returns the value for `WWW-Authenticate`. If the layer accepts several schemes, it is the first of
    /// the [`challenges`](Self::challenges). The layer adds the others.
    ///
    /// There is a value for every refusal with an error code and for a missing credential. There is
    /// none for a cross-site request (403) or for a server that cannot decide (503, 500), because no
    /// other credential would change the result.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        self.challenges().next()
    }

    /// Returns the values for `WWW-Authenticate`, one for each scheme that the layer accepts. The value
    /// for the scheme of the refused credential is the first one, and only it names an error (RFC 9449
    /// §7.2).
    pub fn challenges(&self) -> impl Iterator<Item = HeaderValue> + use<> {
        self.answers.challenges.of(self.error).into_iter()
    }

    /// Returns the scopes that the request needed, under the names by which clients request them.
    fn scope(&self) -> Option<String> {
        self.answers.challenges.scope(self.error)
    }

    /// Returns the seconds for `Retry-After`, if a later attempt may succeed. A 503 and a 429 always
    /// have a value.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        const DEFAULT: u32 = 1;

        self.error
            .retry_after()
            .or_else(|| is_temporary(self.status()).then_some(DEFAULT))
    }

    /// Returns the head of the refused request.
    #[must_use]
    pub fn head(&self) -> RequestHead<'a> {
        self.head
    }

    /// Returns the mistake in the application's layers, in a build with debug assertions. A developer
    /// sees it in the response, without a log.
    fn mistake(&self) -> Option<String> {
        let shown = cfg!(debug_assertions) && self.details();
        let is_mistake = self.error.kind() == AuthErrorKind::Misconfigured;
        (shown && is_mistake).then(|| self.error.source().map(ToString::to_string))?
    }

    fn reason(&self) -> Reason {
        self.error.reason()
    }

    fn details(&self) -> bool {
        self.answers.challenges.details()
    }
}

/// Returns `true` if the response needs a `Retry-After`.
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("error", self.error)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
