//! A custom error body, as data.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{ErrorResponder, Problem, Refusal};

/// Creates a responder from a closure that returns the status and a value, which is sent as JSON.
///
/// The crate does the rest as for its own responders: the challenge (RFC 6750 §3), the headers about
/// caching, `Content-Type` and `Content-Length`, no content for `HEAD`, and the framing of gRPC. Return
/// [`Refusal::status`] unless your API uses another status. If the value cannot be serialized, the
/// response has the form of [`Problem`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use serde_json::json;
/// use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::response::json_body};
///
/// let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
/// let layer = JwtAuthLayer::new(verifier).responder(json_body(|refusal| {
///     (refusal.status(), json!({ "ok": false, "message": refusal.detail() }))
/// }));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
pub fn json_body<F, T>(body: F) -> JsonBody<F, T>
where
    F: Fn(&Refusal<'_>) -> (StatusCode, T) + Send + Sync + 'static,
    T: Serialize + 'static,
{
    JsonBody {
        body,
        value: PhantomData,
    }
}

/// A responder that sends the value of a closure as JSON. Created by [`json_body`].
pub struct JsonBody<F, T> {
    body: F,
    value: PhantomData<fn() -> T>,
}

impl<F, T> ErrorResponder for JsonBody<F, T>
where
    F: Fn(&Refusal<'_>) -> (StatusCode, T) + Send + Sync + 'static,
    T: Serialize + 'static,
{
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes> {
        let (status, value) = (self.body)(refusal);
        let Ok(body) = serde_json::to_vec(&value) else {
            return Problem::new().respond(refusal);
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for challenge in refusal.challenges() {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl<F, T> fmt::Debug for JsonBody<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonBody").finish_non_exhaustive()
    }
}
