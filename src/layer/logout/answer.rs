//! The responses to logout requests: §2.8 of the specification.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{error::AuthError, layer::response::Whole};

pub(super) fn done() -> Response<Whole> {
    response(StatusCode::OK, "")
}

/// Returns the response to a request without a logout token that could be read.
pub(super) fn malformed() -> Response<Whole> {
    response(
        StatusCode::BAD_REQUEST,
        r#"{"error":"invalid_request","error_description":"The body must be a form with one logout_token"}"#,
    )
}

/// Returns the response to a logout token that was refused, or that cannot be verified now.
pub(super) fn refused(error: &AuthError) -> Response<Whole> {
    if !error.status().is_server_error() {
        return response(
            StatusCode::BAD_REQUEST,
            r#"{"error":"invalid_request","error_description":"The logout token is invalid"}"#,
        );
    }
    unavailable(error.retry_after())
}

pub(super) fn unavailable(retry_after: Option<u32>) -> Response<Whole> {
    const DEFAULT: u32 = 1;

    let mut response = response(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"error":"temporarily_unavailable"}"#,
    );
    let seconds = HeaderValue::from(retry_after.unwrap_or(DEFAULT));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

pub(super) fn wrong_method() -> Response<Whole> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED, "");
    let post = HeaderValue::from_static("POST");
    response.headers_mut().insert(ALLOW, post);
    response
}

fn response(status: StatusCode, json: &'static str) -> Response<Whole> {
    let mut response = Response::new(Whole::new(Bytes::from_static(json.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !json.is_empty() {
        let kind = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, kind);
    }
    response
}
