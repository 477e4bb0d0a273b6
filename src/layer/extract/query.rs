//! Reads a token from the query of the request's target.

use std::mem;

use http::{
    HeaderMap, Uri,
    uri::{Parts, PathAndQuery},
};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::{Credential, NamedPlace, Place, RequestHead, TokenExtractor, percent_decoded},
};

/// Reads the token from a query parameter, `?access_token=…`: a last resort.
///
/// Use it only for clients that can set neither a header nor a WebSocket subprotocol. The layer marks
/// the responses to such requests `Cache-Control: private` (RFC 6750 §2.3).
///
/// Names and values are percent-decoded. A `+` is not decoded, since no token contains a space.
///
/// # Security
///
/// A target is written to access logs, histories, bookmarks and `Referer` headers, and any reader of
/// them has the token ([RFC 9700 §4.3.2], [RFC 6750 §2.3]: should not be used). OAuth 2.1 forbids it.
/// Use tokens that live for seconds, and keep the query out of your logs.
///
/// [RFC 6750 §2.3]: https://www.rfc-editor.org/rfc/rfc6750#section-2.3
/// [RFC 9700 §4.3.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.3.2
#[derive(Clone, Debug)]
pub struct Query {
    name: Box<str>,
}

impl Query {
    /// Creates an extractor for the parameter of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    /// Returns the raw value of a parameter, if its name matches.
    ///
    /// The name is decoded before the comparison, so that every parameter which the inner service would
    /// read is found.
    fn value_of<'a>(&self, parameter: &'a str) -> Option<&'a str> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (percent_decoded(name)?.as_ref() == self.name.as_bytes()).then_some(value)
    }
}

impl TokenExtractor for Query {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        let parameters = head.uri().query().unwrap_or_default().split('&');
        let mut values = parameters.filter_map(|parameter| self.value_of(parameter));
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            // RFC 6750 §3.1: the request repeats a parameter.
            (_, Some(_)) => Err(AuthErrorKind::MultipleCredentials.into()),
            (Some(""), None) => Err(AuthErrorKind::MalformedCredential.into()),
            (Some(value), None) => {
                let token = percent_decoded(value).ok_or(AuthErrorKind::MalformedCredential)?;
                Ok(Some(Credential::new(token, Place::Query)))
            }
        }
    }

    fn strip(&self, _: &mut HeaderMap, uri: &mut Uri) {
        let ours = |parameter: &&str| self.value_of(parameter).is_some();
        let Some(query) = uri
            .query()
            .filter(|query| query.split('&').any(|p| ours(&p)))
        else {
            return;
        };
        let kept: Vec<&str> = query.split('&').filter(|p| !ours(p)).collect();
        let target = match kept.as_slice() {
            [] => uri.path().to_owned(),
            kept => format!("{}?{}", uri.path(), kept.join("&")),
        };
        // Parts of a valid target form a valid target. The fallback drops the whole query.
        let target = PathAndQuery::try_from(target).unwrap_or(PathAndQuery::from_static("/"));
        let mut parts = Parts::from(mem::take(uri));
        parts.path_and_query = Some(target);
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }

    fn places(&self) -> Vec<NamedPlace> {
        vec![NamedPlace::new(Place::Query, &*self.name)]
    }
}
