//! The settings for certificates.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::Extensions;

use super::{CertificateHeader, CertificateOf, Mtls, Rules, Source};
use crate::{
    error::ConfigError,
    layer::peer::{PeerCertificate, TrustedProxies},
};

/// A builder of [`Mtls`], created by [`Mtls::peer`] or [`Mtls::behind`].
#[must_use = "a builder does nothing before `build`"]
pub struct MtlsBuilder {
    required: bool,
    proxies: Option<(CertificateHeader, Result<TrustedProxies, ConfigError>)>,
    certificate: Option<Box<CertificateOf>>,
    peer: Option<Box<PeerOf>>,
}

type PeerOf = dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync;

impl MtlsBuilder {
    pub(super) fn of_peer() -> Self {
        Self {
            required: false,
            proxies: None,
            certificate: None,
            peer: None,
        }
    }

    pub(super) fn of_proxies(
        header: CertificateHeader,
        proxies: Result<TrustedProxies, ConfigError>,
    ) -> Self {
        Self {
            proxies: Some((header, proxies)),
            ..Self::of_peer()
        }
    }

    /// Refuses tokens that are not bound to a certificate, in every place. By default they are accepted
    /// without one.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets the function that returns the certificate from the request's extensions, for a host that keeps it
    /// elsewhere than in a [`PeerCertificate`]. Only for [`Mtls::peer`].
    pub fn certificate_from<F>(mut self, certificate: F) -> Self
    where
        F: Fn(&Extensions) -> Option<PeerCertificate> + Send + Sync + 'static,
    {
        self.certificate = Some(Box::new(certificate));
        self
    }

    /// Sets the function that returns the peer's address from the request's extensions, for a host that keeps
    /// it elsewhere than in a [`PeerAddr`](crate::layer::peer::PeerAddr). Only for [`Mtls::behind`].
    pub fn peer_from<F>(mut self, peer: F) -> Self
    where
        F: Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.peer = Some(Box::new(peer));
        self
    }

    /// Builds the rules.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Invalid`] if there is no proxy, an entry is neither an address nor a network, a network
    ///   contains every address, or [`certificate_from`](Self::certificate_from) or
    ///   [`peer_from`](Self::peer_from) is set for the other kind of server.
    /// - [`ConfigError::NoCrypto`] in a build without cryptography.
    pub fn build(self) -> Result<Mtls, ConfigError> {
        // Fails in a build without cryptography.
        crate::key::sha256_of(&[])?;
        let source = match (self.proxies, self.certificate, self.peer) {
            (None, _, Some(_)) => {
                return refuse("peer_from", "is for a server behind proxies");
            }
            (Some(_), Some(_), _) => {
                return refuse("certificate_from", "is for a server that ends TLS itself");
            }
            (None, certificate, None) => Source::Peer(certificate.unwrap_or_else(|| {
                Box::new(|extensions: &Extensions| extensions.get::<PeerCertificate>().cloned())
            })),
            (Some((header, proxies)), None, peer) => {
                let mut proxies = proxies?;
                if proxies.are_none() {
                    return refuse(
                        "a trusted proxy",
                        "none is named: no certificate would be read",
                    );
                }
                if proxies.are_everyone() {
                    return refuse(
                        "a trusted proxy",
                        "every address is one: any client could claim any certificate",
                    );
                }
                if let Some(peer) = peer {
                    proxies.set_peer(peer);
                }
                Source::Proxy(header, proxies)
            }
        };
        Ok(Mtls {
            rules: Arc::new(Rules {
                source,
                required: self.required,
            }),
        })
    }
}

fn refuse(name: &'static str, problem: &'static str) -> Result<Mtls, ConfigError> {
    Err(ConfigError::invalid(name, problem))
}

impl fmt::Debug for MtlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MtlsBuilder")
            .field("required", &self.required)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
