//! Tokens of clients whose certificates are read: [RFC 8705 §3](https://www.rfc-editor.org/rfc/rfc8705#section-3).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Uri};

use crate::{
    error::AuthError,
    layer::extract::{Credential, Kind, NamedPlace, RequestHead, TokenExtractor},
};

/// Marks the tokens that another extractor reads, so that the layer compares them with the certificate of
/// the client. An unmarked token costs a layer without certificates nothing.
pub(crate) struct WithCertificate {
    pub(crate) inner: Arc<dyn TokenExtractor>,
    /// The header field of the certificate, if a proxy sends it.
    pub(crate) header: Option<HeaderName>,
}

impl TokenExtractor for WithCertificate {
    fn extract<'a>(&'a self, head: RequestHead<'a>) -> Result<Option<Credential<'a>>, AuthError> {
        let marked = |found: Credential<'a>| match found.kind() {
            Kind::Own => found.of_kind(Kind::Certified),
            _ => found,
        };
        Ok(self.inner.extract(head)?.map(marked))
    }

    fn strip(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        self.inner.strip(headers, uri);
        // The certificate is of this connection. A service behind this one must not take it for one of its
        // own client.
        if let Some(header) = &self.header {
            headers.remove(header);
        }
    }

    fn places(&self) -> Vec<NamedPlace> {
        self.inner.places()
    }
}
