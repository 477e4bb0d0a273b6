//! The responses of a key server.

use std::{fmt::Write, time::Duration};

/// A response of a [`JwksFixture`](super::JwksFixture): a document, or a fault of a key server.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::test_util::{Answer, TestKeys};
///
/// let good = Answer::json(TestKeys::new().jwks())
///     .header("Cache-Control", "max-age=300")
///     .etag("\"v1\"");
/// let slow = good.clone().after(Duration::from_secs(8));
/// let moved = Answer::redirect("/elsewhere");
/// let broken = Answer::json("<html>Sign in</html>");
/// # drop((slow, moved, broken));
/// ```
#[derive(Clone, Debug)]
#[must_use = "an answer does nothing before a server gives it"]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) etag: Option<String>,
    pub(super) delay: Option<Duration>,
    pub(super) held: bool,
    pub(super) unless_identity: Option<Vec<u8>>,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Whole(Vec<u8>),
    /// A body whose connection ends one byte early.
    Truncated(Vec<u8>),
    /// A body of this many spaces.
    Huge(usize),
    Endless,
    /// A body that is sent one byte per interval.
    Trickle(Vec<u8>, Duration),
    /// Bytes that are sent instead of an HTTP response.
    Raw(Vec<u8>),
    Reset,
}

impl Answer {
    /// Returns 200 with this body, as `application/json`. The body need not be JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::bytes(body.into()).header("Content-Type", "application/json")
    }

    /// Returns 200 with these bytes and no `Content-Type`.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Body::Whole(body.into()))
    }

    /// Returns this status, with an empty body.
    pub fn status(status: u16) -> Self {
        Self::new(status, Body::Whole(Vec::new()))
    }

    /// Returns 302 to this location.
    pub fn redirect(location: impl Into<String>) -> Self {
        Self::status(302).header("Location", location)
    }

    /// Sends no response: the connection stays open until the server stops.
    pub fn hang() -> Self {
        Self::new(200, Body::Raw(Vec::new())).held()
    }

    /// Returns 200 with all but the last byte of the declared length.
    pub fn truncated(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Body::Truncated(body.into()))
    }

    /// Returns 200 with this many spaces, which are generated while they are sent.
    pub fn huge(bytes: usize) -> Self {
        Self::new(200, Body::Huge(bytes))
    }

    /// Returns 200 with chunks that never end.
    pub fn endless() -> Self {
        Self::new(200, Body::Endless)
    }

    /// Returns 200 with this body, one byte per interval.
    pub fn trickle(body: impl Into<Vec<u8>>, interval: Duration) -> Self {
        Self::new(200, Body::Trickle(body.into(), interval))
    }

    /// Returns 200 with JSON arrays nested to this depth.
    pub fn nested(depth: usize) -> Self {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        Self::json(format!("{{\"keys\":{open}{close}}}"))
    }

    /// Sends these bytes instead of an HTTP response.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Body::Raw(bytes.into()))
    }

    /// Resets the connection.
    pub fn reset() -> Self {
        Self::new(200, Body::Reset)
    }

    /// Replaces the status, for example that of a JSON error.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds this header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds this `ETag`, quotes included, and answers 304 to a client that has it already (RFC 9110
    /// §13.1.2).
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }

    /// Delays the response by `delay`. The server chooses the response when the request arrives, before
    /// the delay.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Holds the response until [`release`](super::JwksFixture::release).
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// Sends these bytes, as an HTTP response, to a request without `Accept-Encoding: identity`.
    pub fn unless_identity(mut self, response: impl Into<Vec<u8>>) -> Self {
        self.unless_identity = Some(response.into());
        self
    }

    fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            headers: Vec::new(),
            etag: None,
            delay: None,
            held: false,
            unless_identity: None,
            body,
        }
    }

    pub(super) fn head_of(&self, status: u16, length: Option<usize>) -> String {
        let mut head = format!("HTTP/1.1 {status} So\r\nConnection: close\r\n");
        if let Some(etag) = &self.etag {
            let _ = write!(head, "ETag: {etag}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        head
    }

    pub(super) fn chunked_head(&self) -> String {
        self.clone()
            .header("Transfer-Encoding", "chunked")
            .head_of(self.status, None)
    }
}
