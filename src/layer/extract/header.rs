//! Reads a token from a header whose whole value is the token.

use http::{HeaderMap, HeaderName, Uri};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::{Credential, NamedPlace, Place, RequestHead, TokenExtractor, single},
};

/// Reads the token from a separate header, whose whole value is the token.
///
/// Gateways forward a verified token in such a header: `Cf-Access-Jwt-Assertion`, `x-amzn-oidc-data`,
/// `x-goog-iap-jwt-assertion`.
///
/// # Security
///
/// A client that can bypass the gateway can send the header too. The token in it is verified like any
/// other. Never trust a gateway's *plain* identity headers.
///
/// # Examples
///
/// ```
/// use http::HeaderName;
/// use tower_jwt_auth::layer::extract::Header;
///
/// let extractor = Header::new(HeaderName::from_static("cf-access-jwt-assertion"));
/// # let _ = extractor;
/// ```
#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
}

impl Header {
    /// Creates an extractor for the header of this name.
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

    fn places(&self) -> Vec<NamedPlace> {
        vec![NamedPlace::new(Place::Header, self.name.as_str())]
    }
}
