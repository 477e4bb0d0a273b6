//! Refusals of gRPC and gRPC-Web calls, each in its own framing.
//!
//! A gRPC server answers with HTTP 200 and reports the outcome in `grpc-status`. The HTTP status is for
//! proxies that do not support gRPC
//! ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
};

#[cfg(feature = "tonic")]
use crate::layer::response::{Answers, challenge::Values};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{extract::RequestHead, response::Refusal},
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The gRPC protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    /// gRPC-Web: trailers are a frame of the body
    /// ([PROTOCOL-WEB](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)).
    Web,
    /// gRPC-Web with a body in base64.
    WebText,
}

impl Protocol {
    /// Returns the protocol of a request, or `None` if it is not a gRPC call.
    ///
    /// A call is a `POST`, and native gRPC requires HTTP/2. A gateway may send an authentication
    /// request for any other request with the same `Content-Type`, and treats HTTP 200 as permission.
    pub(super) fn of(head: RequestHead<'_>) -> Option<Self> {
        let protocol = Self::named(head.content_type()?)?;
        let is_call = match protocol {
            Self::Grpc => head.version() == Version::HTTP_2,
            Self::Web | Self::WebText => true,
        };
        (is_call && head.method() == Method::POST).then_some(protocol)
    }

    fn named(content_type: &[u8]) -> Option<Self> {
        let end = content_type.iter().position(|byte| *byte == b';');
        let media_type = content_type.get(..end.unwrap_or(content_type.len()))?;
        let media_type = media_type.trim_ascii();
        let base = match media_type.iter().position(|byte| *byte == b'+') {
            None => media_type,
            Some(plus) => {
                let (base, format) = media_type.split_at_checked(plus)?;
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
                if format.len() < 2 || !format.iter().all(is_name) {
                    return None;
                }
                base
            }
        };
        [Self::Grpc, Self::Web, Self::WebText]
            .into_iter()
            .find(|protocol| base.eq_ignore_ascii_case(protocol.content_type().as_bytes()))
    }

    /// Returns the base type, and never bytes of the request.
    fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }

    pub(super) fn answer(self, refusal: &Refusal<'_>) -> Response<Bytes> {
        let status = status(refusal.error());
        // `grpc-message` is percent-encoded ASCII. The fixed texts need no encoding.
        let plain = |text: &String| {
            text.bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'%')
        };
        let mistake = refusal.mistake().filter(plain);
        let message = mistake.as_deref().or(refusal.detail());

        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        for challenge in refusal.answers.challenges.of_call(refusal.error) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        if self == Self::Grpc {
            // Trailers-Only: the status is among the headers, and there is no body.
            headers.insert(GRPC_STATUS, HeaderValue::from_static(status));
            if let Some(message) = message {
                let message = HeaderValue::from_str(message);
                message
                    .map(|message| headers.insert(GRPC_MESSAGE, message))
                    .ok();
            }
        } else {
            let frame = trailers_frame(status, message);
            let body = match self {
                Self::WebText => Bytes::from(STANDARD.encode(frame)),
                _ => Bytes::from(frame),
            };
            headers.insert(CONTENT_LENGTH, body.len().into());
            *response.body_mut() = body;
        }
        response
    }
}

/// The outcome of a refused call, for a host that frames it.
#[cfg(feature = "tonic")]
pub(crate) struct Outcome {
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
    /// The values of the metadata `www-authenticate`.
    pub(crate) challenges: Values,
}

/// Returns the outcome for the refusal of a call. Without the settings of a layer it has no challenge.
#[cfg(feature = "tonic")]
pub(crate) fn outcome(error: &AuthError, answers: Option<&Answers>) -> Outcome {
    let details = answers.is_none_or(|answers| answers.challenges.details());
    let message = error.reason().text().filter(|_| details);
    Outcome {
        code: status(error),
        message: message.unwrap_or_default(),
        challenges: answers.map_or_else(Values::new, |answers| answers.challenges.of_call(error)),
    }
}

/// Returns the status code of a refusal
/// ([statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)).
fn status(error: &AuthError) -> &'static str {
    const INVALID_ARGUMENT: &str = "3";
    const PERMISSION_DENIED: &str = "7";
    const RESOURCE_EXHAUSTED: &str = "8";
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    const UNAUTHENTICATED: &str = "16";

    match error.status() {
        // PERMISSION_DENIED is for identified callers, and this caller is not identified.
        _ if error.kind() == AuthErrorKind::CrossSite => UNAUTHENTICATED,
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// Encodes the trailers as the last frame of a gRPC-Web body: a flag byte, the length, an HTTP/1 block.
fn trailers_frame(status: &str, message: Option<&str>) -> Vec<u8> {
    const TRAILERS: u8 = 0x80;

    let mut block = format!("grpc-status:{status}\r\n");
    if let Some(message) = message {
        block.extend(["grpc-message:", message, "\r\n"]);
    }
    let mut frame = vec![TRAILERS];
    frame.extend(u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(block.into_bytes());
    frame
}
