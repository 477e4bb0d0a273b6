//! How a refusal becomes a response.
//!
//! A layer never answers with an error: it answers with a response that says 401, 403, 400 or 503;
//! 500 where the application put its layers together wrongly.
//! What that response looks like is a [`Responder`]'s choice. [`Problem`] is the default,
//! [`OAuthJson`] the other one built in, and any closure is one too:
//!
//! ```
//! use bytes::Bytes;
//! use http::{Response, StatusCode, header::LOCATION};
//! use tower_jwt_auth::deny::{Denial, Problem, Responder};
//!
//! // Browsers are sent to the login page, everything else gets problem details.
//! let responder = |denial: &Denial<'_>| {
//!     if denial.status() != StatusCode::UNAUTHORIZED {
//!         return Problem::new().respond(denial);
//!     }
//!     let mut response = Response::new(Bytes::new());
//!     *response.status_mut() = StatusCode::SEE_OTHER;
//!     response.headers_mut().insert(LOCATION, http::HeaderValue::from_static("/login"));
//!     response
//! };
//! # fn is_responder(_: impl Responder) {}
//! # is_responder(responder);
//! ```
//!
//! Whatever a responder leaves out, the layer adds: a `WWW-Authenticate` on every 401
//! ([RFC 9110 §15.5.2]), a `Retry-After` on every 503, `Cache-Control: no-store`, and a
//! `Content-Length`. No shared cache may store a refusal: what a responder says of caching becomes
//! `private`. An answer to `HEAD` keeps its headers and loses its content
//! ([RFC 9110 §9.3.2]). The [`AuthError`] is put into the response's extensions.
//!
//! gRPC and gRPC-Web calls are answered in their own framing: HTTP 200 and a `grpc-status`. A call is a
//! `POST` with the `Content-Type` of its protocol; `application/grpc` also needs HTTP/2. Every other
//! request with such a `Content-Type` is answered with its HTTP status. The layers' `.grpc(false)` turns
//! the framing off.
//!
//! A layer that answers the authentication requests of a gateway (nginx, Caddy, Envoy, Traefik) needs
//! `.gateway()`: no framing, and only statuses that every gateway takes for a refusal. See
//! [the manual](crate::manual::gateways).
//!
//! [RFC 9110 §9.3.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2
//! [RFC 9110 §15.5.2]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2

mod answers;
mod caller;
mod challenge;
mod form;
mod grpc;
mod inner;
mod oauth;
#[cfg(feature = "tracing")]
mod once;
mod private;
mod problem;
mod reason;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::{
    deny::{form::Form, reason::Reason},
    error::{AuthError, ErrorCode},
    head::RequestHead,
};

#[cfg(all(any(feature = "tonic", feature = "endpoints"), feature = "tracing"))]
pub(crate) use self::answers::record;
pub(crate) use self::answers::{Answers, origin};
#[cfg(any(feature = "axum", feature = "tonic", feature = "warp"))]
pub(crate) use self::caller::caller_in;
pub(crate) use self::caller::{Derived, answers_in, forget_derived};
pub(crate) use self::form::Opening;
#[cfg(feature = "tonic")]
pub(crate) use self::grpc::outcome;
pub(crate) use self::inner::InnerAnswers;
pub(crate) use self::private::keep_private;
pub use self::{oauth::OAuthJson, problem::Problem};

/// Turns a refusal into a response.
pub trait Responder: Send + Sync + 'static {
    /// The response to a request that was refused.
    ///
    /// # Security
    ///
    /// Say no more than the [`Denial`] offers. Nothing of the request belongs into the answer: an
    /// echoed token, claim or key identifier ends up in logs, caches and pages.
    fn respond(&self, denial: &Denial<'_>) -> Response<Bytes>;
}

impl<F> Responder for F
where
    F: Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync + 'static,
{
    fn respond(&self, denial: &Denial<'_>) -> Response<Bytes> {
        self(denial)
    }
}

/// A request that was refused, and what may be said about it.
#[derive(Clone, Copy)]
pub struct Denial<'a> {
    error: &'a AuthError,
    answers: &'a Answers,
    head: RequestHead<'a>,
    form: Form,
}

impl<'a> Denial<'a> {
    /// The cause, which is for logs and decisions rather than for the client.
    #[must_use]
    pub fn error(&self) -> &'a AuthError {
        self.error
    }

    /// The HTTP status that fits the refusal. In gateway mode 400 is 401, and 429 and 500 are 503.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.form.status(self.error.status())
    }

    /// The error code of [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1), where
    /// one applies.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.error.code()
    }

    /// The realm, as the layer was given it.
    #[must_use]
    pub fn realm(&self) -> &'a str {
        &self.answers.realm
    }

    /// A short fixed text for the client; `None` where details are switched off or none would help.
    #[must_use]
    pub fn detail(&self) -> Option<&'static str> {
        self.reason().text().filter(|_| self.details())
    }

    /// The value for `WWW-Authenticate`, ready to be set.
    ///
    /// There is one for every refusal with an error code and for a missing credential. There is
    /// none for a request of another site (403) nor for a server that cannot decide (503, 500): no
    /// other credential would change those.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        self.answers
            .challenges
            .of(self.reason(), self.error.required_scope())
    }

    /// Seconds for `Retry-After`, where a new attempt may succeed; always there with a 503 and a 429.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        const DEFAULT: u32 = 1;

        self.error
            .retry_after()
            .or_else(|| is_temporary(self.status()).then_some(DEFAULT))
    }

    /// The request that was refused, without its body.
    #[must_use]
    pub fn head(&self) -> RequestHead<'a> {
        self.head
    }

    fn reason(&self) -> Reason {
        Reason::of(self.error.kind())
    }

    fn details(&self) -> bool {
        self.answers.details
    }
}

/// Whether the client is told when to come again.
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

impl fmt::Debug for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denial")
            .field("error", self.error)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
