//! Places in a request from which a credential is read.
//!
//! [`Bearer`] is the default and safe without further settings. Every other place is off by default,
//! because each has a weakness: browsers send a [`Cookie`] with requests that other sites cause
//! (cross-site request forgery), and a token in a [`Query`] ends up in logs and histories.
//!
//! A tuple of extractors reads several places. Exactly one of them may hold a credential. Two
//! credentials are refused even if they are equal, so that no service behind the layer can read another
//! one than the layer verified ([RFC 6750 §2]: clients must not use more than one method).
//!
//! ```
//! use http::Request;
//! use tower_jwt_auth::{
//!     error::AuthErrorKind,
//!     layer::extract::{Bearer, Cookie, Place, RequestHead, TokenExtractor},
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
//! A token in a form body (RFC 6750 §2.2) is not read, because the layer would have to buffer the body.
//!
//! [RFC 6750 §2]: https://www.rfc-editor.org/rfc/rfc6750#section-2

mod bearer;
mod certified;
mod cookie;
#[cfg(feature = "server")]
mod csrf;
mod dpop;
mod head;
mod header;
mod named;
#[cfg(not(feature = "server"))]
mod no_csrf;
mod query;
mod site;
#[cfg(test)]
mod tests;
mod websocket;

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::UPGRADE};

use crate::error::{AuthError, AuthErrorKind};

#[cfg(feature = "server")]
pub(crate) use self::bearer::is_dpop;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use self::csrf::{CSRF_HEADER, CsrfProofs};
pub use self::head::RequestHead;
pub(crate) use self::head::percent_decoded;
#[cfg(not(feature = "server"))]
use self::no_csrf::{CSRF_HEADER, CsrfProofs};
pub use self::{
    bearer::Bearer, cookie::Cookie, header::Header, named::NamedPlace, query::Query,
    websocket::WebSocketProtocol,
};
pub(crate) use self::{
    bearer::is_b64token,
    certified::WithCertificate,
    dpop::{PROOF, WithDpop},
};
#[cfg(feature = "server")]
pub(crate) use self::{
    cookie::{PARTS, cookies, part},
    site::{Sender, cross_site, origin_of},
};

/// Reads the credential of a request.
///
/// An extractor does not verify: the layer checks the length, the syntax and the signature.
pub trait TokenExtractor: Send + Sync + 'static {
    /// Returns the credential that the request carries in this place, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// An error if the place holds something other than one well-formed credential. The kinds are
    /// [`MalformedCredential`], [`MultipleCredentials`] and [`CrossSite`].
    ///
    /// [`MalformedCredential`]: AuthErrorKind::MalformedCredential
    /// [`MultipleCredentials`]: AuthErrorKind::MultipleCredentials
    /// [`CrossSite`]: AuthErrorKind::CrossSite
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError>;

    /// Removes from the request everything that this extractor would read, and nothing else.
    ///
    /// For proxies, which must not forward a caller's credential.
    fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri);

    /// Returns the places that this extractor reads, for the metadata of a [protected
    /// resource](crate::layer::resource) and for [OpenAPI](crate::layer::openapi). The default is none:
    /// the metadata then states no place.
    fn places(&self) -> Vec<NamedPlace> {
        Vec::new()
    }
}

/// A credential as read from the request, unverified.
#[derive(Clone)]
pub struct Credential<'a> {
    token: Cow<'a, [u8]>,
    place: Place,
    clear: Clear<'a>,
    proof: Option<Proof<'a>>,
    kind: Kind,
}

/// The kind of a credential, as its form shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A token of the layer that reads it.
    Own,
    /// A credential for another layer.
    Foreign,
    /// A token with the scheme `DPoP`, which needs a proof.
    Bound,
    /// A token of the layer that reads it, to be compared with the certificate of the client.
    Certified,
}

/// The `Set-Cookie` values that delete a cookie, or all of its parts.
#[derive(Clone, Copy)]
enum Clear<'a> {
    Nothing,
    One(&'a HeaderValue),
    All(&'a Arc<[HeaderValue]>),
}

/// An owned [`Clear`].
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

/// A proof that must still be compared with the session of the credential.
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
    /// Creates a credential that was read from a place.
    #[must_use]
    pub fn new(token: impl Into<Cow<'a, [u8]>>, place: Place) -> Self {
        Self {
            token: token.into(),
            place,
            clear: Clear::Nothing,
            proof: None,
            kind: Kind::Own,
        }
    }

    /// Sets the `Set-Cookie` value that deletes the credential in the browser if the credential is bad.
    #[must_use]
    pub fn cleared_by(mut self, set_cookie: &'a HeaderValue) -> Self {
        self.clear = Clear::One(set_cookie);
        self
    }

    /// Sets the `Set-Cookie` values that delete all parts of a cookie.
    #[must_use]
    fn cleared_by_all(mut self, set_cookies: &'a Arc<[HeaderValue]>) -> Self {
        self.clear = Clear::All(set_cookies);
        self
    }

    /// Returns the `Set-Cookie` values that delete the credential in the browser, independent of the
    /// request's lifetime.
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
    fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    #[inline]
    pub(crate) fn proof(&self) -> Option<Proof<'a>> {
        self.proof
    }

    /// Returns the bytes of the token, exactly as the client sent them (percent-decoded in a query).
    #[inline]
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Returns the place from which the credential was read.
    #[inline]
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns the `Set-Cookie` value that deletes the credential in the browser, if there is one.
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

/// The place in a request from which a credential was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The `Authorization` header field, the only place that caches treat as a credential (RFC 9111
    /// §3.5).
    Authorization,
    /// Another header field.
    Header,
    /// A cookie, which a browser sends automatically.
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

    fn places(&self) -> Vec<NamedPlace> {
        (**self).places()
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

            fn places(&self) -> Vec<NamedPlace> {
                #[allow(non_snake_case, reason = "each variable is named like its type")]
                let ($($extractor,)+) = self;
                [$($extractor.places()),+].concat()
            }
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);

/// Returns the only credential, because RFC 6750 §2 allows one method in each request. Equal tokens are
/// refused too.
fn only<'a, const N: usize>(
    found: [Option<Credential<'a>>; N],
) -> Result<Option<Credential<'a>>, AuthError> {
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(AuthErrorKind::MultipleCredentials.into()),
        (one, _) => Ok(one),
    }
}

/// Returns the value of a header that a request may contain once.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, AuthError> {
    // To hash a name takes longer than to compare it with a few others.
    if headers.len() <= FEW {
        let mut lines = headers.iter().filter(|(found, _)| *found == name);
        let value = lines.next().map(|(_, value)| value);
        return match lines.next() {
            None => Ok(value),
            Some(_) => Err(AuthErrorKind::MultipleCredentials.into()),
        };
    }
    // As many values as names: no header has several.
    if headers.len() == headers.keys_len() {
        return Ok(headers.get(name));
    }
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(AuthErrorKind::MultipleCredentials.into()),
        (one, _) => Ok(one),
    }
}

/// The number of header lines that are compared one by one.
const FEW: usize = 8;

/// Returns `true` if the request opens a WebSocket.
///
/// Over HTTP/2 the handshake is a `CONNECT` with a pseudo-header (RFC 8441 §4) that is not visible
/// here. Every `CONNECT` therefore counts as a handshake.
fn is_websocket(head: RequestHead<'_>) -> bool {
    if head.method() == Method::CONNECT {
        return true;
    }
    // RFC 6455 §4.2.1: a GET whose `Upgrade` contains `websocket` in any case.
    head.method() == Method::GET
        && list(head.headers(), &UPGRADE).any(|item| item.eq_ignore_ascii_case(b"websocket"))
}

/// Returns the items of a comma-separated header over all its lines, without empty ones (RFC 9110
/// §5.6.1).
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(trim)
        .filter(|item| !item.is_empty())
}

/// Removes optional white space at both ends (RFC 9110 §5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns `true` for a `tchar` (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
