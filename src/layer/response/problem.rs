//! Refusals as problem details: [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457).

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::{
    error::Reason,
    layer::response::{
        ErrorResponder, Refusal,
        table::{Body, Table, answer},
    },
};

/// The default responder, which answers with `application/problem+json`.
///
/// The members are `type` (`about:blank`), `title` (the status phrase), `status`, `detail` (a fixed
/// text, unless details are off) and, as an extension member (RFC 9457 §3.2), `error`: the code of RFC
/// 6750 §3.1, if one applies.
///
/// ```json
/// {"type":"about:blank","title":"Unauthorized","status":401,"detail":"The access token expired","error":"invalid_token"}
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Problem;

impl Problem {
    /// Creates the default responder.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl ErrorResponder for Problem {
    fn respond(&self, refusal: &Refusal<'_>) -> Response<Bytes> {
        static BODIES: LazyLock<Table> = LazyLock::new(|| Table::new(body));

        let content_type = HeaderValue::from_static("application/problem+json");
        match refusal.mistake() {
            None => answer(refusal, BODIES.get(refusal), content_type),
            Some(mistake) => {
                let members = Members::new(refusal.status(), Some(&mistake), None);
                answer(refusal, Some(&Body::new(members.to_bytes())), content_type)
            }
        }
    }
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

fn body(reason: Reason, status: StatusCode, error: Option<&'static str>, details: bool) -> Bytes {
    let detail = reason.text().filter(|_| details);
    Members::new(status, detail, error).to_bytes()
}

impl<'a> Members<'a> {
    fn new(status: StatusCode, detail: Option<&'a str>, error: Option<&'static str>) -> Self {
        Self {
            r#type: "about:blank",
            // RFC 9457 §4.2.1: with `about:blank` the title is the status phrase.
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail,
            error,
        }
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
