//! Tokens that are bound to the certificate of the client (RFC 8705 §3): section H.

mod certificates;
mod headers;

use http::{HeaderName, HeaderValue, Request};
use tower_jwt_auth::{
    JwtAuthLayer,
    layer::{
        mtls::{CertificateHeader, Mtls, MtlsBuilder},
        peer::{PeerAddr, PeerCertificate},
    },
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
};

/// The proxy whose header is read.
const PROXY: &str = "10.0.0.7";

/// An issuer, and a client with a certificate and a token that is bound to it.
struct World {
    fixture: Fixture,
    certificate: PeerCertificate,
    token: String,
}

impl World {
    fn new() -> Self {
        let fixture = Fixture::new();
        let certificate = certificate("the client");
        Self {
            token: fixture.es.token_for(&certificate, |_| ()),
            certificate,
            fixture,
        }
    }

    /// A layer of a server that ends TLS itself.
    fn layer(&self) -> JwtAuthLayer {
        self.layer_with(Mtls::peer())
    }

    /// A layer behind a proxy.
    fn behind(&self, header: CertificateHeader) -> JwtAuthLayer {
        self.layer_with(Mtls::behind([PROXY], header))
    }

    fn layer_with(&self, rules: MtlsBuilder) -> JwtAuthLayer {
        self.fixture.layer().mtls(rules.build().unwrap())
    }

    /// A request with the client's token on the client's connection.
    fn proven(&self) -> Request<String> {
        on_connection(bearer(&self.token), &self.certificate)
    }
}

/// A certificate with this content, which nothing in this crate looks into.
fn certificate(content: &str) -> PeerCertificate {
    PeerCertificate::from_der(content.as_bytes())
}

fn on_connection(mut request: Request<String>, certificate: &PeerCertificate) -> Request<String> {
    request.extensions_mut().insert(certificate.clone());
    request
}

/// The request as it comes from this address.
fn from(mut request: Request<String>, peer: &str) -> Request<String> {
    let address = (peer.parse::<std::net::IpAddr>().unwrap(), 40_000).into();
    request.extensions_mut().insert(PeerAddr(address));
    request
}

/// The request with these values of a header field.
fn with_values(
    mut request: Request<String>,
    name: &HeaderName,
    values: &[&str],
) -> Request<String> {
    for value in values {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

async fn ask(layer: &JwtAuthLayer, request: Request<String>) -> Answer {
    send(layer.clone(), request).await
}
