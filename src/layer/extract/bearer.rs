//! `Authorization: Bearer`: [RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::{
        Credential, Kind, NamedPlace, Place, RequestHead, TokenExtractor, is_token_byte, single,
    },
};

/// Reads the token from `Authorization: Bearer <token>`. This is the default.
///
/// The scheme is compared without case (RFC 9110 §11.1). Another scheme counts as no credential, with
/// two exceptions that are refused: two `Authorization` lines of any kind, and the scheme `DPoP` (RFC
/// 9449), which only a layer with [`dpop`](crate::JwtAuthLayer::dpop) accepts. `Proxy-Authorization` is never read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Bearer {
    /// The prefixes of other layers' credentials.
    except: Vec<Arc<str>>,
}

impl Bearer {
    /// Creates the default extractor.
    #[must_use]
    pub const fn new() -> Self {
        Self { except: Vec::new() }
    }

    /// Leaves values with this prefix to another layer, such as API keys on a route that accepts both.
    ///
    /// An [optional](crate::JwtAuthLayer::optional) layer treats a request with such a value as one
    /// without a credential. Any other layer refuses it. The form of a value alone decides which layer
    /// it is for; no verification is tried. A prefix that contains a dot has no effect, because it
    /// could be the start of a JWT. May be called repeatedly.
    #[must_use]
    pub fn except_prefix(mut self, prefix: &str) -> Self {
        if !prefix.is_empty() && !prefix.contains('.') {
            self.except.push(prefix.into());
        }
        self
    }

    fn excepts(&self, token: &[u8]) -> bool {
        let mut except = self.except.iter();
        // A value with dots is a JWT, whatever its first segment starts with.
        except.any(|prefix| token.starts_with(prefix.as_bytes())) && !token.contains(&b'.')
    }
}

impl TokenExtractor for Bearer {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        let Some(value) = single(head.headers(), &AUTHORIZATION)? else {
            return Ok(None);
        };
        match Scheme::of(value.as_bytes()) {
            Scheme::Other => Ok(None),
            // A client with a bound token must not silently become an anonymous user. RFC 6750 §3.1: no
            // error code for an unsupported scheme.
            Scheme::Dpop(_) => Err(AuthError::caused_by(
                AuthErrorKind::MissingCredential,
                "the scheme `DPoP` is not accepted here",
            )),
            // RFC 6750 §3.1: a request that lacks a parameter is malformed, not unauthenticated.
            Scheme::Bearer([]) => Err(AuthErrorKind::MalformedCredential.into()),
            Scheme::Bearer(token) => {
                let credential = Credential::new(token, Place::Authorization);
                Ok(Some(credential.of_kind(match self.excepts(token) {
                    true => Kind::Foreign,
                    false => Kind::Own,
                })))
            }
        }
    }

    fn strip(&self, headers: &mut HeaderMap, _: &mut Uri) {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let ours = |value: &HeaderValue| match Scheme::of(value.as_bytes()) {
            Scheme::Bearer(token) => !self.excepts(token),
            Scheme::Dpop(_) => true,
            Scheme::Other => false,
        };
        if values.any(ours) {
            headers.remove(AUTHORIZATION);
        }
    }

    fn places(&self) -> Vec<NamedPlace> {
        vec![NamedPlace::new(Place::Authorization, "Authorization")]
    }
}

/// The scheme of an `Authorization` value, with the credential after it and `1*SP`, which is empty if it
/// is not well-formed.
pub(super) enum Scheme<'a> {
    Bearer(&'a [u8]),
    Dpop(&'a [u8]),
    Other,
}

impl<'a> Scheme<'a> {
    #[inline]
    pub(super) fn of(value: &'a [u8]) -> Self {
        // The usual spelling, which `of_any` reads in the same way.
        match value.strip_prefix(b"Bearer ") {
            Some(token @ [first, ..]) if *first != b' ' => Self::Bearer(token),
            _ => Self::of_any(value),
        }
    }

    #[cold]
    #[inline(never)]
    fn of_any(value: &'a [u8]) -> Self {
        let value = trim_start(value);
        match after(b"bearer", value) {
            Some(token) => Self::Bearer(token),
            None => after(b"dpop", value).map_or(Self::Other, Self::Dpop),
        }
    }
}

/// Returns `true` if the request carries a token that is bound to a key (RFC 9449 §7.1).
#[cfg(feature = "server")]
pub(crate) fn is_dpop(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.any(|value| matches!(Scheme::of(value.as_bytes()), Scheme::Dpop(_)))
}

/// Removes leading white space, which is not part of a field's value (RFC 9110 §5.5). HTTP/2 transports
/// it, and a proxy that forwards the request over HTTP/1.1 drops it.
fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// Returns the credential after the scheme and `1*SP`, empty if it is not well-formed. Returns `None`
/// for another scheme.
fn after<'a>(name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (scheme, rest) = value.split_at_checked(name.len())?;
    if !scheme.eq_ignore_ascii_case(name) {
        return None;
    }
    match rest {
        [b' ', ..] => {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            rest.get(spaces..)
        }
        // `Bearerabc` is the name of another scheme; `Bearer:abc` and `Bearer` are malformed.
        [next, ..] if is_token_byte(*next) => None,
        _ => Some(&[]),
    }
}

/// Returns `true` if a value is a `b64token`: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" )
/// *"="` (RFC 6750 §2.1).
pub(crate) fn is_b64token(value: &[u8]) -> bool {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let (body, _) = value.split_at(value.len() - padding);
    // Every byte is tested, without a branch: most refused tokens are well-formed, and the compiler can
    // then test many bytes at a time.
    !body.is_empty() && body.iter().fold(true, |all, byte| all & is_b64_byte(*byte))
}

fn is_b64_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        | (byte == b'-')
        | (byte == b'.')
        | (byte == b'_')
        | (byte == b'~')
        | (byte == b'+')
        | (byte == b'/')
}
