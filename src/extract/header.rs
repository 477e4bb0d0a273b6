//! A header whose whole value is the token.

use http::{HeaderMap, HeaderName, Uri};

use crate::{
    error::{AuthError, AuthErrorKind},
    extract::{Credential, Place, TokenExtractor, single},
    head::RequestHead,
};

/// Reads the token from a header of its own, whose whole value it is.
///
/// Gateways hand on what they verified in such a header: `Cf-Access-Jwt-Assertion`,
/// `x-amzn-oidc-data`, `x-goog-iap-jwt-assertion`.
///
/// # Security
///
/// Anyone who reaches the server past the gateway can send the header too. The token in it is
/// verified like any other; never read a gateway's *plain* identity headers.
///
/// # Examples
///
/// ```
/// use http::HeaderName;
/// use tower_jwt_auth::extract::Header;
///
/// let extractor = Header::new(HeaderName::from_static("cf-access-jwt-assertion"));
/// # let _ = extractor;
/// ```
#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
}

impl Header {
    /// The header of this name.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        Self { name }
    }
}

impl TokenExtractor for Header {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        match single(head.headers(), &self.name)? {
            None => Ok(None),
            Some(value) if value.is_empty() => Err(AuthErrorKind::MalformedCredential.into()),
            Some(value) => Ok(Some(Credential::new(value.as_bytes(), Place::Header))),
        }
    }

    fn strip(&self, headers: &mut HeaderMap, _: &mut Uri) {
        headers.remove(&self.name);
    }
}
