//! `Authorization: DPoP`: [RFC 9449 §7.1](https://www.rfc-editor.org/rfc/rfc9449#section-7.1).

use std::sync::Arc;

use http::{HeaderMap, Uri, header::AUTHORIZATION};

use super::bearer::Scheme as Sent;
use crate::{
    error::{AuthError, AuthErrorKind, Scheme},
    layer::extract::{Credential, Kind, NamedPlace, Place, RequestHead, TokenExtractor},
};

/// Reads the token of the scheme `DPoP`, and otherwise what another extractor reads.
///
/// A bound token has no other place: RFC 9449 §7.1 defines only the header.
pub(crate) struct WithDpop {
    pub(crate) inner: Arc<dyn TokenExtractor>,
    /// The other extractor reads nothing but `Authorization`.
    pub(crate) only_authorization: bool,
    /// Tokens without a proof are refused.
    pub(crate) required: bool,
}

impl WithDpop {
    fn reads_elsewhere(&self, head: RequestHead<'_>) -> Result<bool, AuthError> {
        if self.only_authorization {
            return Ok(false);
        }
        let mut headers = head.headers().clone();
        headers.remove(AUTHORIZATION);
        let other = self.inner.extract(head.with_headers(&headers))?;
        Ok(other.is_some_and(|other| other.kind() == Kind::Own))
    }
}

impl TokenExtractor for WithDpop {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        let mut values = head.headers().get_all(AUTHORIZATION).iter();
        let bound = values.find_map(|value| match Sent::of(value.as_bytes()) {
            Sent::Dpop(token) => Some(token),
            _ => None,
        });
        let Some(token) = bound else {
            let found = self.inner.extract(head)?;
            return match &found {
                Some(token) if self.required && token.kind() == Kind::Own => {
                    // RFC 6750 §3.1: no error code for an unsupported method.
                    let problem = "a token without a proof is not accepted here";
                    Err(AuthError::caused_by(
                        AuthErrorKind::MissingCredential,
                        problem,
                    ))
                }
                _ => Ok(found),
            };
        };
        let lines = head.headers().get_all(AUTHORIZATION).iter().count();
        if lines > 1 || self.reads_elsewhere(head)? {
            return Err(AuthErrorKind::MultipleCredentials.into());
        }
        if token.is_empty() {
            let error = AuthError::from(AuthErrorKind::MalformedCredential);
            return Err(error.of_scheme(Scheme::Dpop));
        }
        Ok(Some(
            Credential::new(token, Place::Authorization).of_kind(Kind::Bound),
        ))
    }

    fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        self.inner.strip(headers, uri);
        let mut values = headers.get_all(AUTHORIZATION).iter();
        if values.any(|value| matches!(Sent::of(value.as_bytes()), Sent::Dpop(_))) {
            headers.remove(AUTHORIZATION);
        }
        // A proof is of no use without its token, and an upstream must not take it for one of its own.
        headers.remove(&PROOF);
    }

    fn places(&self) -> Vec<NamedPlace> {
        match self.required {
            true => vec![NamedPlace::new(Place::Authorization, "Authorization")],
            false => self.inner.places(),
        }
    }
}

/// The header field with the proof.
pub(crate) static PROOF: http::HeaderName = http::HeaderName::from_static("dpop");
