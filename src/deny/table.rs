//! Bodies made once, so that an ordinary refusal only clones one.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
};

use crate::{
    deny::{Denial, reason::Reason},
    error::ErrorCode,
};

/// The bodies of every reason, with details and without.
pub(super) struct Table(Vec<Row>);

struct Row {
    reason: Reason,
    details: bool,
    body: Body,
}

/// A body and its length.
pub(super) struct Body {
    bytes: Bytes,
    length: HeaderValue,
}

impl Table {
    pub(super) fn new(
        body: impl Fn(Reason, StatusCode, Option<&'static str>, bool) -> Bytes,
    ) -> Self {
        let rows = Reason::ALL.into_iter().flat_map(|(reason, kind)| {
            let error = kind.code().map(ErrorCode::as_str);
            [true, false].map(|details| Row {
                reason,
                details,
                body: Body::new(body(reason, kind.status(), error, details)),
            })
        });
        Self(rows.collect())
    }

    pub(super) fn get(&self, denial: &Denial<'_>) -> Option<&Body> {
        let (reason, details) = (denial.reason(), denial.details());
        self.0
            .iter()
            .find(|row| row.reason == reason && row.details == details)
            .map(|row| &row.body)
    }
}

impl Body {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self {
            length: bytes.len().into(),
            bytes,
        }
    }
}

/// The answer of a built-in responder.
pub(super) fn answer(
    denial: &Denial<'_>,
    body: Option<&Body>,
    content_type: HeaderValue,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = denial.status();
    let headers = response.headers_mut();
    // RFC 6750 §3 asks for a challenge on a 400 and a 403 of its own, too.
    if let Some(challenge) = denial.challenge() {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(body) = body {
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CONTENT_LENGTH, body.length.clone());
        *response.body_mut() = body.bytes.clone();
    }
    response
}
