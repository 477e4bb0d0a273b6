//! Headers that pass claims of the caller to a service behind a proxy.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::principal::Principal;

/// A claim that [`forward_as`](super::JwtAuthLayer::forward_as) writes into a header.
///
/// A value that a recipient could read differently is left out, and the header with it: an empty value,
/// a value that starts or ends with a space (RFC 9110 §5.5), and a value with a character outside
/// printable ASCII. In a list this applies to each item. An empty list has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedClaim {
    /// The subject (`sub`).
    Subject,
    /// The issuer (`iss`).
    Issuer,
    /// The OAuth client (`client_id`, or `azp` if `client_id` is absent).
    ClientId,
    /// The session (`sid`).
    SessionId,
    /// The roles, separated by commas. A role that contains a comma is left out.
    Roles,
    /// The scope, separated by spaces.
    Scope,
}

#[derive(Clone, Default)]
pub(super) struct Forward {
    headers: Vec<(HeaderName, ForwardedClaim)>,
}

impl Forward {
    pub(super) fn add(&mut self, header: HeaderName, claim: ForwardedClaim) {
        self.headers.push((header, claim));
    }

    /// Removes these headers from a request, as RFC 9700 §4.13 demands of a proxy.
    #[inline]
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        if !self.headers.is_empty() {
            self.remove(headers);
            self.keep_from_being_dropped(headers);
        }
    }

    /// Removes every spelling of the names from headers or trailers.
    fn remove(&self, fields: &mut HeaderMap) {
        let forged: Vec<HeaderName> = fields
            .keys()
            .filter(|name| self.is_ours(name.as_str().as_bytes()))
            .cloned()
            .collect();
        for name in forged {
            fields.remove(name);
        }
    }

    /// Removes the names from `Connection`. A proxy drops the headers that `Connection` names (RFC 9110
    /// §7.6.1), so that a client could have this layer's headers dropped.
    fn keep_from_being_dropped(&self, headers: &mut HeaderMap) {
        let options = || {
            let lines = headers.get_all(CONNECTION).iter();
            lines
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
                .map(<[u8]>::trim_ascii)
        };
        if !options().any(|option| self.is_ours(option)) {
            return;
        }
        let kept: Vec<&[u8]> = options().filter(|option| !self.is_ours(option)).collect();
        match HeaderValue::try_from(kept.join(&b", "[..])) {
            Ok(value) => headers.insert(CONNECTION, value),
            Err(_) => headers.remove(CONNECTION),
        };
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let ours = |ours: &HeaderName| alike(ours.as_str().as_bytes(), name);
        self.headers.iter().any(|(name, _)| ours(name))
    }

    #[inline]
    pub(super) fn write(&self, caller: &Principal, headers: &mut HeaderMap) {
        for (name, claim) in &self.headers {
            if let Some(value) = claim.of(caller) {
                headers.insert(name, value);
            }
        }
    }
}

impl ForwardedClaim {
    fn of(self, caller: &Principal) -> Option<HeaderValue> {
        let value = |text: &str| {
            let survives = survives(text);
            survives.then(|| HeaderValue::from_str(text).ok()).flatten()
        };
        match self {
            Self::Subject => caller.subject().and_then(value),
            Self::Issuer => caller.issuer().and_then(value),
            Self::ClientId => caller.client_id().and_then(value),
            Self::SessionId => caller.session_id().and_then(value),
            Self::Roles => value(&join(caller.roles(), ",")),
            Self::Scope => value(&join(caller.scope(), " ")),
        }
    }
}

fn join<'a>(items: impl Iterator<Item = &'a str>, separator: &str) -> String {
    let plain = |item: &&str| survives(item) && !item.contains(separator);
    items.filter(plain).collect::<Vec<_>>().join(separator)
}

/// Returns `true` if a recipient reads exactly this text. Recipients trim spaces (RFC 9110 §5.5), treat
/// an empty value as absent, and differ in characters outside printable ASCII.
fn survives(text: &str) -> bool {
    let printable = text.bytes().all(|byte| (0x20..0x7F).contains(&byte));
    printable && !text.is_empty() && !text.starts_with(' ') && !text.ends_with(' ')
}

/// Compares two header names as CGI and WSGI servers do: `x_user`, and in some servers `x.user`, equals
/// `x-user`.
fn alike(ours: &[u8], theirs: &[u8]) -> bool {
    let plain = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'-',
    };
    ours.iter().map(plain).eq(theirs.iter().map(plain))
}

pin_project! {
    /// The body of a request whose layer [forwards claims](super::JwtAuthLayer::forward_as). It is the
    /// body that the client sent, without trailers whose names a server could confuse with a forwarded
    /// header.
    pub struct ForwardedBody<B> {
        #[pin]
        body: B,
        forward: Arc<Forward>,
    }
}

impl<B> ForwardedBody<B> {
    pub(super) fn new(body: B, forward: Arc<Forward>) -> Self {
        Self { body, forward }
    }
}

impl<B: Body> Body for ForwardedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        loop {
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let mut trailers = match frame.into_trailers() {
                Ok(trailers) => trailers,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            };
            this.forward.remove(&mut trailers);
            if !trailers.is_empty() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for ForwardedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedBody").finish_non_exhaustive()
    }
}
