//! Where in a request a credential is looked for.
//!
//! [`Bearer`] is the default and the only place that needs no thought. Everything else is off until
//! it is named, because each place has a weakness of its own: a [`Cookie`] is sent by the browser
//! without being asked (cross-site request forgery), a token in a [`Query`] ends up in logs and
//! histories.
//!
//! A tuple of extractors reads several places. Exactly one of them may hold a credential: two are
//! refused even when they are equal, so that no service behind the layer can read another one than
//! the layer verified ([RFC 6750 §2]: clients must not use more than one method).
//!
//! ```
//! use http::Request;
//! use tower_jwt_auth::{
//!     error::AuthErrorKind,
//!     extract::{Bearer, Cookie, Place, TokenExtractor},
//!     head::RequestHead,
//! };
//!
//! let places = (Bearer::new(), Cookie::new("__Host-at")?);
//!
//! let request = Request::get("/").header("authorization", "Bearer abc").body(())?;
//! let found = places.extract(RequestHead::of(&request))?.ok_or("nothing found")?;
//! assert_eq!(found.token(), b"abc");
//! assert_eq!(found.place(), Place::Authorization);
//!
//! let request = Request::get("/")
//!     .header("authorization", "Bearer abc")
//!     .header("cookie", "__Host-at=abc")
//!     .body(())?;
//! let refused = places.extract(RequestHead::of(&request)).unwrap_err();
//! assert_eq!(refused.kind(), AuthErrorKind::MultipleCredentials);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A token in the body of a form (RFC 6750 §2.2) is not read: a layer would have to hold back the
//! body for it.
//!
//! [RFC 6750 §2]: https://www.rfc-editor.org/rfc/rfc6750#section-2

mod bearer;
mod cookie;
mod csrf;
mod header;
mod query;
mod site;
#[cfg(test)]
mod tests;
mod websocket;

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::UPGRADE};

use crate::{
    error::{AuthError, AuthErrorKind},
    head::RequestHead,
};

pub(crate) use self::bearer::{is_b64token, is_dpop};
pub use self::{
    bearer::Bearer,
    cookie::Cookie,
    csrf::{CSRF_HEADER, CsrfProofs},
    header::Header,
    query::Query,
    websocket::WebSocketProtocol,
};
#[cfg(feature = "endpoints")]
pub(crate) use self::{
    cookie::{PARTS, cookies, part},
    site::{Sender, origin_of},
};

/// Finds the credential of a request.
///
/// What is found is not looked at: its length, its form and its truth are the layer's business.
pub trait TokenExtractor: Send + Sync + 'static {
    /// The credential that the request carries in this place, if any.
    ///
    /// # Errors
    ///
    /// Whatever the place holds but is no single well-formed credential: the kinds are
    /// [`MalformedCredential`], [`MultipleCredentials`] and [`CrossSite`].
    ///
    /// [`MalformedCredential`]: AuthErrorKind::MalformedCredential
    /// [`MultipleCredentials`]: AuthErrorKind::MultipleCredentials
    /// [`CrossSite`]: AuthErrorKind::CrossSite
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError>;

    /// Removes from the request whatever this extractor would read, and nothing else.
    ///
    /// For proxies, which must not hand a caller's credential on.
    fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri);
}

/// A credential as it stood in the request, unverified.
#[derive(Clone)]
pub struct Credential<'a> {
    token: Cow<'a, [u8]>,
    place: Place,
    clear: Clear<'a>,
    proof: Option<Proof<'a>>,
    foreign: bool,
}

/// The `Set-Cookie` values that remove a cookie, or all of its parts.
#[derive(Clone, Copy)]
enum Clear<'a> {
    Nothing,
    One(&'a HeaderValue),
    All(&'a Arc<[HeaderValue]>),
}

/// The same, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cleared {
    Nothing,
    One(HeaderValue),
    All(Arc<[HeaderValue]>),
}

impl Cleared {
    pub(crate) fn values(&self) -> &[HeaderValue] {
        match self {
            Self::Nothing => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::All(all) => all,
        }
    }
}

/// A proof that is still to be compared with the session of the credential.
#[derive(Clone, Copy)]
pub(crate) struct Proof<'a> {
    proofs: &'a CsrfProofs,
    presented: &'a [u8],
}

impl Proof<'_> {
    pub(crate) fn fits(&self, session: Option<&str>) -> bool {
        session.is_some_and(|session| self.proofs.proves(session, self.presented))
    }
}

impl<'a> Credential<'a> {
    /// A credential found in a place.
    #[must_use]
    pub fn new(token: impl Into<Cow<'a, [u8]>>, place: Place) -> Self {
        Self {
            token: token.into(),
            place,
            clear: Clear::Nothing,
            proof: None,
            foreign: false,
        }
    }

    /// The `Set-Cookie` value that makes a browser forget the credential, should it be bad.
    #[must_use]
    pub fn cleared_by(mut self, set_cookie: &'a HeaderValue) -> Self {
        self.clear = Clear::One(set_cookie);
        self
    }

    /// All parts of a cookie.
    #[must_use]
    fn cleared_by_all(mut self, set_cookies: &'a Arc<[HeaderValue]>) -> Self {
        self.clear = Clear::All(set_cookies);
        self
    }

    /// The `Set-Cookie` values that make a browser forget the credential, for later.
    pub(crate) fn clearing(&self) -> Cleared {
        match self.clear {
            Clear::Nothing => Cleared::Nothing,
            Clear::One(one) => Cleared::One(one.clone()),
            Clear::All(all) => Cleared::All(Arc::clone(all)),
        }
    }

    #[must_use]
    fn with_proof(mut self, proof: Option<Proof<'a>>) -> Self {
        self.proof = proof;
        self
    }

    #[must_use]
    fn foreign(mut self, foreign: bool) -> Self {
        self.foreign = foreign;
        self
    }

    /// Whether its form says that it is for another layer.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    pub(crate) fn proof(&self) -> Option<Proof<'a>> {
        self.proof
    }

    /// The bytes of the token, exactly as the client sent them (percent-decoded in a query).
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Where the credential was found.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The `Set-Cookie` value that makes a browser forget the credential, where there is one.
    #[must_use]
    pub fn clear(&self) -> Option<&'a HeaderValue> {
        match self.clear {
            Clear::Nothing => None,
            Clear::One(one) => Some(one),
            Clear::All(all) => all.first(),
        }
    }
}

impl fmt::Debug for Credential<'_> {
    // RFC 9700 §4.9.3: a token is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Where in a request a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The `Authorization` header field, the one place that caches know (RFC 9111 §3.5).
    Authorization,
    /// Another header field.
    Header,
    /// A cookie, which a browser sends without being asked.
    Cookie,
    /// A parameter of the query.
    Query,
    /// A subprotocol of a WebSocket handshake.
    WebSocket,
}

impl<E: TokenExtractor + ?Sized> TokenExtractor for Arc<E> {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        (**self).extract(head)
    }

    fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        (**self).strip(headers, uri);
    }
}

macro_rules! tuple {
    ($($extractor:ident),+) => {
        impl<$($extractor: TokenExtractor),+> TokenExtractor for ($($extractor,)+) {
            fn extract<'a>(
                &'a self,
                head: RequestHead<'a>,
            ) -> Result<Option<Credential<'a>>, AuthError> {
                #[allow(non_snake_case, reason = "each variable is named like its type")]
                let ($($extractor,)+) = self;
                only([$($extractor.extract(head)?),+])
            }

            fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri) {
                #[allow(non_snake_case, reason = "each variable is named like its type")]
                let ($($extractor,)+) = self;
                $($extractor.strip(headers, uri);)+
            }
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);

/// RFC 6750 §2: one method in each request. Equal tokens are no excuse.
fn only<'a, const N: usize>(
    found: [Option<Credential<'a>>; N],
) -> Result<Option<Credential<'a>>, AuthError> {
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(AuthErrorKind::MultipleCredentials.into()),
        (one, _) => Ok(one),
    }
}

/// The value of a header that may stand in a request once.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(AuthErrorKind::MultipleCredentials.into()),
        (one, _) => Ok(one),
    }
}

/// Whether the request opens a WebSocket.
///
/// Over HTTP/2 the handshake is a `CONNECT` with a pseudo-header (RFC 8441 §4) that is not visible
/// here; a plain `CONNECT` is counted as one too, because it is just as little to be trusted.
fn is_websocket(head: RequestHead<'_>) -> bool {
    if head.method() == Method::CONNECT {
        return true;
    }
    // RFC 6455 §4.2.1: a GET whose Upgrade names `websocket` in any case.
    head.method() == Method::GET
        && list(head.headers(), &UPGRADE).any(|item| item.eq_ignore_ascii_case(b"websocket"))
}

/// The items of a comma-separated header over all its lines, without empty ones (RFC 9110 §5.6.1).
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(trim)
        .filter(|item| !item.is_empty())
}

/// Without the optional whitespace around it (RFC 9110 §5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// RFC 9110 §5.6.2: `tchar`.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
