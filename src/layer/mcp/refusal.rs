//! Refusals of messages, as JSON-RPC errors.

use std::error::Error;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Serialize;

use super::{message::Unreadable, value::Id};
use crate::{
    error::{AuthError, AuthErrorKind},
    event::EventSink,
    layer::{
        extract::RequestHead,
        response::{ErrorResponder, InnerAnswers, Refuse},
    },
};

/// The response settings of a layer for MCP.
///
/// A client of MCP tries an older protocol version after a 400 whose body is not a JSON-RPC error. So the
/// refusal of a message has this form whatever the responder is.
#[derive(Clone, Debug)]
pub(crate) struct Refusals(InnerAnswers);

impl Refusals {
    pub(super) fn realm(&mut self, realm: String) {
        self.0.realm(realm);
    }

    pub(super) fn responder(&mut self, responder: impl ErrorResponder) {
        self.0.responder(responder);
    }

    pub(super) fn terse(&mut self) {
        self.0.terse();
    }

    pub(super) fn events(&mut self, sink: impl EventSink) {
        self.0.events(sink);
    }

    /// Returns the response to a message that was refused.
    pub(super) fn answer(
        &self,
        error: AuthError,
        id: Option<&Id<'_>>,
        head: RequestHead<'_>,
    ) -> Response<Bytes> {
        let content = content_of(&error).map(|(code, message)| {
            let message = match self.0.details(head) {
                true => message,
                false => "",
            };
            Message::new(id, code, message).to_bytes()
        });
        let mut response = self.0.refuse(error, head);
        // RFC 9110 §9.3.2: no content for HEAD.
        if let Some(content) = content.filter(|_| head.method() != Method::HEAD) {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CONTENT_LENGTH, content.len().into());
            *response.body_mut() = content;
        }
        response
    }
}

impl Default for Refusals {
    fn default() -> Self {
        let mut answers = InnerAnswers::default();
        // MCP is not gRPC, whatever the content type of a request is.
        answers.grpc(false);
        Self(answers)
    }
}

impl Refuse for Refusals {
    fn refuse(&self, error: AuthError, head: RequestHead<'_>) -> Response<Bytes> {
        self.answer(error, None, head)
    }
}

/// Returns the code and the text of the JSON-RPC error, if the refusal is about a message.
fn content_of(error: &AuthError) -> Option<(i32, &'static str)> {
    const PARSE_ERROR: i32 = -32700;
    const INVALID_REQUEST: i32 = -32600;
    // The code of MCP 2026-07-28.
    const HEADER_MISMATCH: i32 = -32020;
    // The code of the SDKs for sessions that do not exist.
    const UNKNOWN_SESSION: i32 = -32001;

    let unreadable = || error.source()?.downcast_ref::<Unreadable>();
    Some(match error.kind() {
        AuthErrorKind::MalformedMessage => match unreadable() {
            Some(unreadable) if unreadable.is_syntax => (PARSE_ERROR, "Not valid JSON"),
            _ => (INVALID_REQUEST, "Not an acceptable message"),
        },
        AuthErrorKind::HeaderMismatch => (
            HEADER_MISMATCH,
            "Mcp-Method, Mcp-Name or MCP-Protocol-Version does not match the message",
        ),
        AuthErrorKind::SlowMessage => (INVALID_REQUEST, "The message took too long"),
        AuthErrorKind::OversizedMessage => (INVALID_REQUEST, "The message is too long"),
        AuthErrorKind::UnsupportedMessage => (
            INVALID_REQUEST,
            "The content must be application/json in UTF-8, without a content coding",
        ),
        AuthErrorKind::UnknownSession => (UNKNOWN_SESSION, "Session not found"),
        _ => return None,
    })
}

#[derive(Serialize)]
struct Message<'a> {
    jsonrpc: &'static str,
    id: Option<Value<'a>>,
    error: Details,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Number(i64),
    Text(&'a str),
}

#[derive(Serialize)]
struct Details {
    code: i32,
    message: &'static str,
}

impl<'a> Message<'a> {
    fn new(id: Option<&'a Id<'_>>, code: i32, message: &'static str) -> Self {
        // A client needs the identifier of its request; it is the only part of the request that returns.
        const LONGEST_ID: usize = 128;

        let id = id.and_then(|id| match id {
            Id::Number(number) => Some(Value::Number(*number)),
            Id::Text(text) if text.len() <= LONGEST_ID => Some(Value::Text(text)),
            Id::Text(_) => None,
        });
        Self {
            jsonrpc: "2.0",
            id,
            error: Details { code, message },
        }
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
