//! The part of a request that a decision may look at.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version, header::CONTENT_TYPE};

/// A borrowed view of a request without its body.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// The head of a request.
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The head of a request that was taken apart.
    #[must_use]
    pub fn of_parts(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }

    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The request's target.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The HTTP version that the request came by.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The request's header fields.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The request's extensions.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The bytes of the request's `Content-Type`; `None` unless it stands there exactly once.
    pub(crate) fn content_type(&self) -> Option<&'a [u8]> {
        let mut values = self.headers.get_all(CONTENT_TYPE).iter();
        let value = values.next()?;
        values.next().is_none().then_some(value.as_bytes())
    }
}

impl fmt::Debug for RequestHead<'_> {
    // Neither the target (a query token) nor the headers (the credential) may be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}
