//! `Authorization: Bearer`: [RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};

use crate::{
    error::{AuthError, AuthErrorKind},
    extract::{Credential, Place, TokenExtractor, is_token_byte, single},
    head::RequestHead,
};

/// Reads the token from `Authorization: Bearer <token>`: the default.
///
/// The scheme is compared without case (RFC 9110 §11.1). Another scheme counts as no credential.
/// Two exceptions are refused: two `Authorization` lines, whatever they hold, and the scheme `DPoP`
/// (RFC 9449), which carries a token that this extractor cannot accept. `Proxy-Authorization` is
/// never read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Bearer {
    /// How the credentials of other layers start.
    except: Vec<Arc<str>>,
}

impl Bearer {
    /// The default extractor.
    #[must_use]
    pub const fn new() -> Self {
        Self { except: Vec::new() }
    }

    /// Leaves values that start like this to another layer: the API keys on a route that takes both.
    ///
    /// A layer that is [optional](crate::JwtAuthLayer::optional) passes a request with such a value
    /// on as if it carried none; any other layer refuses it. Whose a value is, is decided by its
    /// form and never by trial. A prefix with a dot in it could name a JWT, so it excepts nothing. May be
    /// called repeatedly.
    #[must_use]
    pub fn except_prefix(mut self, prefix: &str) -> Self {
        if !prefix.is_empty() && !prefix.contains('.') {
            self.except.push(prefix.into());
        }
        self
    }

    fn excepts(&self, token: &[u8]) -> bool {
        let mut except = self.except.iter();
        // Three segments are a JWT, whatever its first one starts with.
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
            // A client with a bound token must not become an anonymous user unnoticed. RFC 6750
            // §3.1: no error code for a scheme that is not supported.
            Scheme::Dpop => Err(AuthError::caused_by(
                AuthErrorKind::MissingCredential,
                "the scheme `DPoP` is not accepted here",
            )),
            // RFC 6750 §3.1: a request that lacks a parameter is malformed, not unauthenticated.
            Scheme::Bearer([]) => Err(AuthErrorKind::MalformedCredential.into()),
            Scheme::Bearer(token) => {
                let credential = Credential::new(token, Place::Authorization);
                Ok(Some(credential.foreign(self.excepts(token))))
            }
        }
    }

    fn strip(&self, headers: &mut HeaderMap, _: &mut Uri) {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let ours = |value: &HeaderValue| match Scheme::of(value.as_bytes()) {
            Scheme::Bearer(token) => !self.excepts(token),
            Scheme::Dpop => true,
            Scheme::Other => false,
        };
        if values.any(ours) {
            headers.remove(AUTHORIZATION);
        }
    }
}

/// The scheme of an `Authorization` value, and what follows it.
enum Scheme<'a> {
    /// What follows `Bearer` and `1*SP`, empty if that is nothing well-formed.
    Bearer(&'a [u8]),
    Dpop,
    Other,
}

impl<'a> Scheme<'a> {
    fn of(value: &'a [u8]) -> Self {
        let value = trim_start(value);
        match after(b"bearer", value) {
            Some(token) => Self::Bearer(token),
            None if after(b"dpop", value).is_some() => Self::Dpop,
            None => Self::Other,
        }
    }
}

/// Returns `true` if the request carries a token that is bound to a key (RFC 9449 §7.1).
pub(crate) fn is_dpop(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.any(|value| matches!(Scheme::of(value.as_bytes()), Scheme::Dpop))
}

/// Without the white space before it, which is no part of a field's value (RFC 9110 §5.5): HTTP/2
/// carries it along, and whoever hands the request on over HTTP/1.1 drops it.
fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// What follows the scheme and `1*SP`, empty if that is nothing well-formed; `None` with another
/// scheme.
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
        // `Bearerabc` is the name of another scheme, `Bearer:abc` and `Bearer` are broken.
        [next, ..] if is_token_byte(*next) => None,
        _ => Some(&[]),
    }
}

/// Whether a value is a `b64token`: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
/// (RFC 6750 §2.1).
pub(crate) fn is_b64token(value: &[u8]) -> bool {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let (body, _) = value.split_at(value.len() - padding);
    // Every byte is looked at, without a branch: refused tokens are mostly well-formed, and so the
    // compiler can take many at a time.
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
