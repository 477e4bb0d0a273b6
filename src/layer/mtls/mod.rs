//! Tokens that are bound to the certificate of the client: mutual TLS, [RFC 8705 §3].
//!
//! A bearer token works for everyone who has it. A bound token names the certificate of its client
//! (`cnf.x5t#S256`), and works only on a TLS connection with that certificate. A copy of the token is of no
//! use without the key of the certificate.
//!
//! [`Mtls`] is a setting of a [`JwtAuthLayer`](crate::JwtAuthLayer::mtls). A bound token is never accepted
//! without its certificate, also by a layer without this setting. The [manual](crate::manual::mtls) describes
//! the configuration of proxies and the limits of the protection.
//!
//! # Examples
//!
//! A server that ends TLS itself. The code that accepts connections inserts a [`PeerCertificate`]:
//!
//! ```
//! # #[cfg(not(all(feature = "aws-lc-rs", feature = "test-util")))]
//! # fn main() {}
//! # #[cfg(all(feature = "aws-lc-rs", feature = "test-util"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     JwtAuthLayer, Verifier,
//!     key::Algorithm,
//!     layer::{mtls::Mtls, peer::PeerCertificate},
//!     test_util::{TestIssuer, TestKeys},
//! };
//!
//! let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
//!     .issuer("https://as.example")
//!     .audience("https://api.example")
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier).mtls(Mtls::peer().build()?))
//!     .service(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
//!
//! // In an accept loop: `connection.peer_certificates().and_then(PeerCertificate::of_chain)`.
//! let certificate = PeerCertificate::from_der(*b"the DER of a certificate");
//! let token = TestIssuer::new(Algorithm::Es256).token_for(&certificate, |_| ());
//! let bearer = format!("Bearer {token}");
//! let request = Request::get("/notes").header("authorization", &bearer);
//! let response = service.clone().oneshot(request.extension(certificate).body(())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! // A thief has the token, and another certificate or none.
//! let stolen = Request::get("/notes").header("authorization", &bearer).body(())?;
//! let response = service.oneshot(stolen).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! A server behind a proxy that ends TLS, here nginx with `proxy_set_header X-Client-Cert
//! $ssl_client_escaped_cert`. The header counts from the addresses of the proxy only, so the layer needs the
//! peer's address: a [`PeerAddr`](crate::layer::peer::PeerAddr), or axum's
//! `into_make_service_with_connect_info`.
//!
//! ```
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower_jwt_auth::{
//!     JwtAuthLayer, Verifier,
//!     layer::mtls::{CertificateHeader, Mtls},
//! };
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let mtls = Mtls::behind(["10.0.0.7"], CertificateHeader::Nginx).required().build()?;
//! let auth = JwtAuthLayer::new(verifier).mtls(mtls);
//! # let _ = auth;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! ```
//!
//! tonic's server keeps the certificates in its own extension:
//!
//! ```
//! # #[cfg(all(feature = "aws-lc-rs", feature = "tonic"))]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
//! use tower_jwt_auth::layer::{mtls::Mtls, peer::PeerCertificate};
//!
//! let mtls = Mtls::peer()
//!     .certificate_from(|extensions| {
//!         let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
//!         PeerCertificate::of_chain(&connection.peer_certs()?)
//!     })
//!     .build()?;
//! # let _ = mtls;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "aws-lc-rs", feature = "tonic")))]
//! # fn main() {}
//! ```
//!
//! [`PeerCertificate`]: crate::layer::peer::PeerCertificate
//! [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3

mod builder;
mod header;

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderName};

pub use self::{builder::MtlsBuilder, header::CertificateHeader};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        peer::{PeerCertificate, TrustedProxies},
    },
    verify::Confirmation,
};

/// The rules for the certificates of clients, for [`JwtAuthLayer::mtls`](crate::JwtAuthLayer::mtls). Cheap to
/// clone.
#[derive(Clone)]
pub struct Mtls {
    rules: Arc<Rules>,
}

struct Rules {
    source: Source,
    required: bool,
}

/// The origin of the client's certificate.
enum Source {
    /// The connection of the request.
    Peer(Box<CertificateOf>),
    /// A header field, from these proxies only.
    Proxy(CertificateHeader, TrustedProxies),
}

type CertificateOf = dyn Fn(&Extensions) -> Option<PeerCertificate> + Send + Sync;

impl Mtls {
    /// Creates a builder for a server that ends TLS itself. The certificate is a [`PeerCertificate`] in the
    /// extensions of the request.
    pub fn peer() -> MtlsBuilder {
        MtlsBuilder::of_peer()
    }

    /// Creates a builder for a server behind proxies that end TLS and forward the certificate in this header
    /// field. From other peers the field is ignored, and their requests have no certificate.
    ///
    /// Each entry is an address or a network (`10.0.0.0/8`). Only the peer of the connection counts:
    /// `X-Forwarded-For` is not read.
    ///
    /// # Security
    ///
    /// The proxy must overwrite or remove the field of a client. Everyone who can connect from a trusted
    /// address can claim any certificate.
    pub fn behind<'p>(
        proxies: impl IntoIterator<Item = &'p str>,
        header: CertificateHeader,
    ) -> MtlsBuilder {
        MtlsBuilder::of_proxies(header, TrustedProxies::new(proxies))
    }

    /// Returns `true` if tokens that are not bound to a certificate are refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.rules.required
    }

    /// Returns the header field that is read.
    pub(crate) fn header(&self) -> Option<HeaderName> {
        match &self.rules.source {
            Source::Peer(_) => None,
            Source::Proxy(header, _) => Some(header.name().clone()),
        }
    }

    /// Returns the certificate of the client, if it has one.
    pub(crate) fn certificate(
        &self,
        head: RequestHead<'_>,
    ) -> Result<Option<PeerCertificate>, AuthError> {
        match &self.rules.source {
            Source::Peer(of) => Ok(of(head.extensions())),
            Source::Proxy(header, proxies) => match proxies.peer(head.extensions()) {
                Some(peer) if proxies.trusts(peer) => header.read(head.headers()),
                Some(_) => Ok(None),
                // Without the address every certificate would be ignored, and the refusals would not show why.
                None => Err(AuthError::caused_by(AuthErrorKind::Misconfigured, NO_PEER)),
            },
        }
    }

    /// Checks the certificate of the client against what a token needs. `None` for a token that is not bound.
    pub(crate) fn check(
        &self,
        token: Option<&Confirmation>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<(), AuthError> {
        let expected = token.and_then(|token| token.certificate.as_ref());
        match (expected, certificate) {
            (None, _) if !self.rules.required => Ok(()),
            (None, _) => Err(AuthError::caused_by(
                AuthErrorKind::NotSenderConstrained,
                "a token without `cnf.x5t#S256` is not accepted here",
            )),
            (Some(_), None) => Err(AuthError::caused_by(
                AuthErrorKind::SenderConstrained,
                "the certificate of the client is not known",
            )),
            (Some(expected), Some(certificate)) if certificate.has(expected) => Ok(()),
            (Some(_), Some(_)) => Err(AuthErrorKind::WrongCertificate.into()),
        }
    }
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mtls")
            .field("required", &self.rules.required)
            .field("source", &self.rules.source)
            .finish()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(_) => f.write_str("Peer"),
            Self::Proxy(header, proxies) => {
                f.debug_tuple("Proxy").field(header).field(proxies).finish()
            }
        }
    }
}

const NO_PEER: &str = "the layer found no peer address in the request's extensions, and cannot know if the \
                       certificate header is of a trusted proxy: serve an axum router by \
                       `into_make_service_with_connect_info::<SocketAddr>`, insert a `PeerAddr`, or set \
                       another source with `MtlsBuilder::peer_from`";
