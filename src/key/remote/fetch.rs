//! Getting a document over HTTP.

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, USER_AGENT},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{error::ConfigError, key::without_byte_order_mark};

/// How documents are fetched: the port for an HTTP client of one's own.
///
/// One call is one request; redirects are not followed here. The answer is returned whatever its
/// status. A time limit is kept by the caller; the size limit is the implementation's duty.
pub trait Fetch: Send + Sync + 'static {
    /// Sends a `GET` request and collects the answer.
    fn fetch(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<Response<Bytes>, FetchError>> + Send;
}

/// Why keys could not be fetched.
///
/// The text is for logs: it names the kind of failure, and no part of the answer. The reason lies in
/// the chain of [`source`](Error::source)s.
#[derive(Clone, Debug)]
pub struct FetchError {
    what: &'static str,
    status: Option<u16>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// A failure of a [`Fetch`] of one's own.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..Self::plain("the request failed")
        }
    }

    pub(super) fn plain(what: &'static str) -> Self {
        Self {
            what,
            status: None,
            source: None,
        }
    }

    pub(super) fn of_status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::plain("the server answered with status")
        }
    }

    /// Whether the server answered, but with another status than the one wanted.
    pub(super) fn is_status(&self) -> bool {
        self.status.is_some()
    }

    /// The causes, outermost first: a TLS or a system error lies three deep in the client's.
    #[cfg(feature = "tracing")]
    pub(super) fn causes(&self) -> Option<String> {
        let first = self.source()?;
        let causes = std::iter::successors(Some(first), |&cause| cause.source());
        let texts: Vec<_> = causes.map(ToString::to_string).collect();
        Some(texts.join(": "))
    }

    pub(super) fn because(
        what: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..Self::plain(what)
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// The crate's own client: hyper and rustls.
#[derive(Clone)]
pub(super) struct HttpFetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    max_bytes: usize,
}

impl HttpFetch {
    /// A client that trusts these certificates, in PEM, or the platform's where there are none.
    /// With `needs_roots`, a platform without any (a minimal container) is a mistake to be told now.
    pub(super) fn new(
        roots: &[Vec<u8>],
        needs_roots: bool,
        max_bytes: usize,
    ) -> Result<Self, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("root_certificate", problem);
        let mut store = RootCertStore::empty();
        if roots.is_empty() {
            // Certificates that cannot be read are left out, as every TLS client does.
            let native = rustls_native_certs::load_native_certs();
            let (usable, _) = store.add_parsable_certificates(native.certs);
            if needs_roots && usable == 0 {
                return Err(refuse("the platform has none; install or name some"));
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
        // Named, because the process-wide default may be missing or another one.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| refuse("no usable TLS version"))?
            .with_root_certificates(store)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https);
        Ok(Self { client, max_bytes })
    }
}

impl Fetch for HttpFetch {
    async fn fetch(&self, request: Request<()>) -> Result<Response<Bytes>, FetchError> {
        let request = request.map(|()| Empty::new());
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| FetchError::because("the connection failed", error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.max_bytes)
            .collect()
            .await
            .map_err(|error| FetchError::because("the answer broke off or is too large", error))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").finish_non_exhaustive()
    }
}

/// Gets a document, following a few redirects within its origin.
///
/// RFC 8725bis on server-side request forgery: a redirect elsewhere is never followed.
pub(super) async fn get<F: Fetch>(
    client: &F,
    url: &Uri,
    etag: Option<&HeaderValue>,
) -> Result<Response<Bytes>, FetchError> {
    let mut target = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let mut request = Request::new(());
        *request.uri_mut() = target.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, const { HeaderValue::from_static(ACCEPTED) });
        headers.insert(USER_AGENT, const { HeaderValue::from_static(AGENT) });
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        let response = client.fetch(request).await?;
        match response.status().as_u16() {
            200 => return Ok(response),
            304 if etag.is_some() => return Ok(response),
            301 | 302 | 303 | 307 | 308 => target = redirect(&target, response.headers())?,
            status => return Err(FetchError::of_status(status)),
        }
    }
    Err(FetchError::plain("too many redirects"))
}

fn redirect(from: &Uri, headers: &HeaderMap) -> Result<Uri, FetchError> {
    let location = headers
        .get(http::header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| FetchError::plain("a redirect without a location"))?;
    let invalid = |_| FetchError::plain("a redirect to an invalid location");
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(invalid)?);
        return Uri::from_parts(parts)
            .map_err(|_| FetchError::plain("a redirect to an invalid location"));
    }
    let target: Uri = location.parse().map_err(invalid)?;
    if target.scheme() == from.scheme() && target.authority() == from.authority() {
        Ok(target)
    } else {
        Err(FetchError::plain("a redirect to another origin"))
    }
}

/// Whether documents may be fetched from here: https, or http from this very machine. Credentials
/// in a URL would be dropped without a word, and stand in logs.
pub(super) fn is_safe(url: &Uri) -> bool {
    if url
        .authority()
        .is_some_and(|one| one.as_str().contains('@'))
    {
        return false;
    }
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => loopback,
        _ => false,
    }
}

/// How long the answer says that it is fresh (RFC 9111 §5.2.2). `None` where it says nothing.
pub(super) fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let mut fresh = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                // Not a fetch per request: the caller's lower bound still holds.
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") {
                let seconds = argument.trim().trim_matches('"').parse().ok();
                fresh = fresh.or(seconds.map(Duration::from_secs));
            }
        }
    }
    fresh
}

pub(super) fn etag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ETAG).cloned()
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";
const AGENT: &str = concat!("tower-jwt-auth/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 3;
