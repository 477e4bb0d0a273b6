//! Refusals in the form of OAuth error responses: [RFC 6749 §5.2].
//!
//! [RFC 6749 §5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::layer::response::{
    ErrorResponder, Refusal,
    table::{Body, Table, answer},
};

/// A responder that answers with `application/json`, as OAuth clients expect it.
///
/// The members are `error`, `error_description` (a fixed text, unless details are off) and, if the
/// request lacks scopes, `scope`.
///
/// `error` is the code of RFC 6750 §3.1. If RFC 6750 has no code for the refusal, `error` is the code
/// of [RFC 6749 §4.1.2.1]: `access_denied` on other 403 responses, `temporarily_unavailable` on 503,
/// `server_error` on 500. The response to a request without a credential has no code (RFC 6750 §3.1).
///
/// ```json
/// {"error":"invalid_token","error_description":"The access token expired"}
/// ```
///
/// [RFC 6749 §4.1.2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OAuthJson;

impl OAuthJson {
    /// Creates the OAuth responder.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl ErrorResponder for OAuthJson {
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes> {
        static BODIES: LazyLock<Table> = LazyLock::new(|| {
            Table::new(|reason, status, error, details| {
                let text = reason.text().filter(|_| details);
                Members::new(status, error, text, None).to_bytes()
            })
        });

        let content_type = HeaderValue::from_static("application/json");
        let (scope, mistake) = (refusal.scope(), refusal.mistake());
        if scope.is_none() && mistake.is_none() {
            return answer(refusal, BODIES.get(refusal), content_type);
        }
        let text = refusal.reason().text().filter(|_| refusal.details());
        let text = mistake.as_deref().or(text);
        let error = refusal.code().map(|code| code.as_str());
        let bytes = Members::new(refusal.status(), error, text, scope.as_deref()).to_bytes();
        answer(refusal, Some(&Body::new(bytes)), content_type)
    }
}

#[derive(Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn new(
        status: StatusCode,
        error: Option<&'static str>,
        error_description: Option<&'a str>,
        scope: Option<&'a str>,
    ) -> Self {
        Self {
            error: error.or(match status {
                StatusCode::FORBIDDEN => Some("access_denied"),
                // RFC 8628 §3.5.
                StatusCode::TOO_MANY_REQUESTS => Some("slow_down"),
                StatusCode::SERVICE_UNAVAILABLE => Some("temporarily_unavailable"),
                StatusCode::INTERNAL_SERVER_ERROR => Some("server_error"),
                _ => None,
            }),
            error_description,
            scope,
        }
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
