//! The HTTP client of this crate.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::PROXY_AUTHORIZATION};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{Client, connect::HttpConnector},
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{
    error::FetchError,
    fetch::Fetcher,
    proxy::{Route, authorization},
};
use crate::{
    error::{ConfigError, KeyProblem},
    key::without_byte_order_mark,
};

/// The HTTP client of this crate, built on hyper and rustls.
#[derive(Clone)]
pub(crate) struct HttpFetch {
    client: Client<HttpsConnector<Route>, Full<Bytes>>,
    proxies: Arc<Matcher>,
    max_bytes: usize,
}

impl HttpFetch {
    /// Creates a client that trusts these PEM certificates, or those of the platform if there are
    /// none.
    ///
    /// With `needs_roots`, a platform without certificates (a minimal container) is an error.
    pub(crate) fn new(
        roots: &[Vec<u8>],
        needs_roots: bool,
        max_bytes: usize,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("root_certificate", problem);
        let mut store = RootCertStore::empty();
        if roots.is_empty() {
            // Unreadable certificates are skipped, as other TLS clients do.
            let native = rustls_native_certs::load_native_certs();
            let (usable, _) = store.add_parsable_certificates(native.certs);
            if needs_roots && usable == 0 {
                return Err(refuse(
                    "the platform has no certificates; install some, or set one",
                ));
            }
        }
        for pem in roots {
            let mut found = 0;
            for certificate in CertificateDer::pem_slice_iter(without_byte_order_mark(pem)) {
                let certificate = certificate.map_err(|_| refuse("not a PEM certificate"))?;
                store
                    .add(certificate)
                    .map_err(|_| refuse("not a usable certificate"))?;
                found += 1;
            }
            if found == 0 {
                return Err(refuse("no certificate in the PEM"));
            }
        }
        // Set explicitly, because the process-wide default may be missing or different.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| refuse("no usable TLS version"))?
            .with_root_certificates(store)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http.clone());
        let proxies = Arc::new(Matcher::from_env());
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(Route::new(http, to_proxy, Arc::clone(&proxies)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https);
        Ok(Self {
            client,
            proxies,
            max_bytes,
        })
    }

    /// Sends one request, and returns the complete response with any status.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = request.map(Full::new);
        if let Some(credentials) = authorization(&self.proxies, request.uri()) {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, credentials);
        }
        let response = self
            .client
            .request(request)
            .await
            .map_err(FetchError::of_connection)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.max_bytes)
            .collect()
            .await
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => FetchError::plain(KeyProblem::TooLarge, "the response is too large"),
                false => FetchError::because(
                    KeyProblem::ConnectionFailed,
                    "the response ended early",
                    error,
                ),
            })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

impl Fetcher for HttpFetch {
    async fn fetch(&self, request: Request<()>) -> Result<Response<Bytes>, FetchError> {
        self.send(request.map(|()| Bytes::new())).await
    }
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").finish_non_exhaustive()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
