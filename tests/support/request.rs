//! Requests, with and without credentials.

use http::{HeaderName, HeaderValue, Request};

pub(crate) fn nobody() -> Request<String> {
    target("/")
}

pub(crate) fn target(target: &str) -> Request<String> {
    Request::get(target).body(String::new()).unwrap()
}

pub(crate) fn with(
    mut request: Request<String>,
    name: &'static str,
    value: &str,
) -> Request<String> {
    let (name, value) = (HeaderName::from_static(name), HeaderValue::from_str(value));
    request.headers_mut().append(name, value.unwrap());
    request
}
