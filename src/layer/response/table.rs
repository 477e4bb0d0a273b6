//! Response bodies that are built once, so that an ordinary refusal only clones one.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
};

use crate::{
    error::{ErrorCode, ROWS, Reason},
    layer::response::{Refusal, form::Form},
};

/// The bodies of every reason, with and without details.
pub(super) struct Table(Vec<Row>);

struct Row {
    reason: Reason,
    status: StatusCode,
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
        let mut reasons = Vec::new();
        for row in ROWS {
            if !reasons.contains(row) {
                reasons.push(*row);
            }
        }
        let rows = reasons.into_iter().flat_map(|(status, code, reason)| {
            let error = code.map(ErrorCode::as_str);
            let row = |status, details| Row {
                reason,
                status,
                details,
                body: Body::new(body(reason, status, error, details)),
            };
            let gateway = Form {
                grpc: false,
                gateway: true,
            };
            let mut statuses = vec![status, gateway.status(status)];
            statuses.dedup();
            let rows = statuses.into_iter();
            rows.flat_map(move |status| [true, false].map(|details| row(status, details)))
                .collect::<Vec<_>>()
        });
        Self(rows.collect())
    }

    pub(super) fn get(&self, refusal: &Refusal<'_>) -> Option<&Body> {
        let (reason, status, details) = (refusal.reason(), refusal.status(), refusal.details());
        self.0
            .iter()
            .find(|row| (row.reason, row.status, row.details) == (reason, status, details))
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

/// Returns the response of a built-in responder.
pub(super) fn answer(
    refusal: &Refusal<'_>,
    body: Option<&Body>,
    content_type: HeaderValue,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    // RFC 6750 §3 requires a challenge on 400 and 403 too.
    for challenge in refusal.challenges() {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    if let Some(body) = body {
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CONTENT_LENGTH, body.length.clone());
        *response.body_mut() = body.bytes.clone();
    }
    response
}
