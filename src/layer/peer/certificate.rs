//! The certificate of a connection's peer.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::key::{Thumbprint, is_same_hash, sha256_of};

/// The certificate with which a client authenticated its TLS connection, as a request extension. Cheap to
/// clone.
///
/// TLS has verified the certificate: that the client holds its key, that a trusted authority issued it, and
/// that it has not expired. This crate does not look into it. The thumbprint is computed once, so create one
/// value for each connection and clone it for the requests.
///
/// # Examples
///
/// An accept loop with tokio-rustls and hyper:
///
/// ```
/// use http::Request;
/// use tokio::net::TcpStream;
/// use tokio_rustls::server::TlsStream;
/// use tower_jwt_auth::layer::peer::PeerCertificate;
///
/// # #[allow(dead_code)]
/// fn certificate_of(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
///     let (_, connection) = stream.get_ref();
///     connection.peer_certificates().and_then(PeerCertificate::of_chain)
/// }
///
/// # #[allow(dead_code)]
/// fn prepare<B>(mut request: Request<B>, certificate: &Option<PeerCertificate>) -> Request<B> {
///     if let Some(certificate) = certificate {
///         request.extensions_mut().insert(certificate.clone());
///     }
///     request
/// }
/// ```
#[derive(Clone)]
pub struct PeerCertificate {
    held: Arc<Held>,
}

struct Held {
    der: Box<[u8]>,
    /// `None` in a build without cryptography, in which no token verifies.
    thumbprint: Option<Thumbprint>,
}

impl PeerCertificate {
    /// Creates the certificate from its DER encoding (RFC 5280 §4.1).
    #[must_use]
    pub fn from_der(der: impl Into<Box<[u8]>>) -> Self {
        let der = der.into();
        let thumbprint = sha256_of(&[&der]).ok();
        Self {
            held: Arc::new(Held { der, thumbprint }),
        }
    }

    /// Returns the certificate of the peer from the chain that the peer sent, in which it is the first (RFC
    /// 8446 §4.4.2). `None` if the chain is empty.
    ///
    /// The chain is what rustls returns as `peer_certificates`, and tonic as `peer_certs`.
    #[must_use]
    pub fn of_chain<D: AsRef<[u8]>>(chain: &[D]) -> Option<Self> {
        chain.first().map(|first| Self::from_der(first.as_ref()))
    }

    /// Returns the DER encoding.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.held.der
    }

    /// Returns the SHA-256 thumbprint in base64url, as a bound token contains it in `cnf.x5t#S256` (RFC 8705
    /// §3.1). `None` in a build without cryptography.
    #[must_use]
    pub fn thumbprint(&self) -> Option<String> {
        self.held
            .thumbprint
            .map(|digest| URL_SAFE_NO_PAD.encode(digest))
    }

    /// Compares the thumbprint in constant time.
    pub(crate) fn has(&self, thumbprint: &Thumbprint) -> bool {
        self.held
            .thumbprint
            .is_some_and(|own| is_same_hash(&own, thumbprint))
    }
}

impl fmt::Debug for PeerCertificate {
    // A certificate names a person or a machine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}
