//! The part of a request on which a decision is based.

use std::{borrow::Cow, fmt};

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
    /// Creates a view of a request's head.
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

    /// Creates a view of the head of a request that was split into parts.
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

    /// Returns the request's method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the request's target.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// Returns the HTTP version of the request.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the segments of the target's path, percent-decoded (RFC 3986 §2.1, §3.3), as routers
    /// pass them to a handler. Returns `None` if a segment is not UTF-8 or contains a malformed escape,
    /// and for a path with a dot segment.
    ///
    /// Compare these segments, and not the path itself, with a subject or a resource: `/users/b%6Fb`
    /// and `/users/bob` are the same. An encoded slash is part of its segment.
    ///
    /// A path with a dot segment has no segments here, because a server behind a proxy removes dot
    /// segments (RFC 3986 §5.2.4) and reads `/users/alice/../bob` as `/users/bob`. Some servers decode
    /// the path first, and some treat `\` as a slash, so `..` and `.` count in every such spelling.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_jwt_auth::layer::extract::RequestHead;
    ///
    /// let request = Request::get("/users/b%6Fb/a%2Fb").body(())?;
    /// let segments = RequestHead::of(&request).path_segments().unwrap_or_default();
    /// assert_eq!(segments, ["users", "bob", "a/b"]);
    ///
    /// let request = Request::get("/users/alice/%2E%2E/bob").body(())?;
    /// assert_eq!(RequestHead::of(&request).path_segments(), None);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn path_segments(&self) -> Option<Vec<Cow<'a, str>>> {
        let path = self.uri.path();
        let segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let decoded = segments.map(|segment| {
            let segment = match percent_decoded(segment)? {
                Cow::Borrowed(_) => Cow::Borrowed(segment),
                Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
            };
            let mut parts = segment.split(['/', '\\']);
            let moves = parts.any(|part| matches!(part, "." | ".."));
            (!moves).then_some(segment)
        });
        decoded.collect()
    }

    /// Returns the request's header fields.
    #[inline]
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// Returns the request's extensions.
    #[inline]
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Returns the same head with other header fields.
    pub(crate) fn with_headers<'b>(self, headers: &'b HeaderMap) -> RequestHead<'b>
    where
        'a: 'b,
    {
        RequestHead { headers, ..self }
    }

    /// Returns the bytes of the request's `Content-Type`, or `None` unless there is exactly one.
    pub(crate) fn content_type(&self) -> Option<&'a [u8]> {
        let mut values = self.headers.get_all(CONTENT_TYPE).iter();
        let value = values.next()?;
        values.next().is_none().then_some(value.as_bytes())
    }
}

impl fmt::Debug for RequestHead<'_> {
    // Neither the target (a token in the query) nor the headers (the credential) may be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

/// Percent-decodes a text (RFC 3986 §2.1). Returns `None` if an escape is malformed.
pub(crate) fn percent_decoded(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                decoded.push((digit(*high)? << 4) | digit(*low)?);
                after
            }
            (b'%', _) => return None,
            (byte, after) => {
                decoded.push(*byte);
                after
            }
        };
    }
    Some(Cow::Owned(decoded))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
