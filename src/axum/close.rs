//! The response to a request whose socket or stream would have to be closed.

use axum_core::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::layer::socket::CloseReason;

/// A 503 for [`CloseReason::Unavailable`], otherwise a 401 with the challenge `invalid_token` (RFC 6750
/// §3.1). A handler that calls [`SocketAuth::guard`](crate::layer::socket::SocketAuth::guard) for an event
/// stream can return the reason as its error. [`CloseReason::denied`] is the better error: its challenge is
/// that of the authenticating layer.
impl IntoResponse for CloseReason {
    fn into_response(self) -> Response {
        let (status, name, value) = match self {
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
            _ => (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, INVALID_TOKEN),
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

const INVALID_TOKEN: &str = r#"Bearer error="invalid_token""#;
