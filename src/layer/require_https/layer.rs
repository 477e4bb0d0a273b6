//! The layer: detection of https, and HSTS.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, HOST, LOCATION},
};
use tower_layer::Layer;

use super::{RequireHttpsService, credentials::Credentials};
use crate::layer::{extract::RequestHead, rate_limit::ClientIp, response::InnerAnswers};

/// A middleware that refuses or redirects every request that the client sent over plain http.
///
/// See the [module](super) for the responses.
#[derive(Clone)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct RequireHttpsLayer {
    pub(super) config: Arc<Config>,
}

#[derive(Clone)]
pub(super) struct Config {
    is_https: Arc<dyn Fn(RequestHead<'_>) -> bool + Send + Sync>,
    pub(super) hsts: Option<HeaderValue>,
    credentials: Credentials,
    pub(super) refusals: InnerAnswers,
}

impl RequireHttpsLayer {
    /// Creates the layer for a server behind proxies that terminate TLS and report the client's
    /// scheme in `X-Forwarded-Proto`. The header is ignored if another peer sends it, and the
    /// request then counts as plain http.
    pub fn behind(proxies: ClientIp) -> Self {
        Self::by(move |head| proxies.is_proxied(head) && says_https(head.headers()))
    }

    /// Creates the layer with a custom function that returns `true` if the client used https.
    pub fn by<F>(is_https: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self {
            config: Arc::new(Config {
                is_https: Arc::new(is_https),
                hsts: strict(YEAR, false),
                credentials: Credentials::default(),
                refusals: InnerAnswers::default(),
            }),
        }
    }

    /// Sets the time for which browsers use only https, and whether this applies to all subdomains
    /// (RFC 6797 §6.1). The default is one year, without subdomains. A zero duration makes browsers
    /// forget the policy.
    pub fn hsts(self, max_age: Duration, include_subdomains: bool) -> Self {
        self.with(|config| config.hsts = strict(max_age, include_subdomains))
    }

    /// Sends no `Strict-Transport-Security` header, for a proxy that sends it.
    pub fn no_hsts(self) -> Self {
        self.with(|config| config.hsts = None)
    }

    /// Adds a header that carries a credential. A request with this header is refused instead of
    /// redirected. May be called repeatedly.
    ///
    /// The usual names are built in: see the [module](super).
    pub fn credential_header(self, name: HeaderName) -> Self {
        self.with(|config| config.credentials.add_header(name))
    }

    /// Adds a query parameter that carries a credential, as read by
    /// [`extract::Query`](crate::layer::extract::Query). May be called repeatedly.
    pub fn credential_parameter(self, name: &str) -> Self {
        self.with(|config| config.credentials.add_parameter(name))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        self.config = Arc::new(config);
        self
    }
}

impl Config {
    /// Returns the response to a request over plain http.
    pub(super) fn refuse(&self, head: RequestHead<'_>) -> Option<Response<Bytes>> {
        if (self.is_https)(head) {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(
            CACHE_CONTROL,
            const { HeaderValue::from_static("no-store") },
        );
        let safe = *head.method() == Method::GET || *head.method() == Method::HEAD;
        let target = target(head).filter(|_| safe && !self.credentials.are_in(head));
        *response.status_mut() = match target {
            Some(target) => {
                response.headers_mut().insert(LOCATION, target);
                StatusCode::PERMANENT_REDIRECT
            }
            None => StatusCode::FORBIDDEN,
        };
        Some(response)
    }
}

/// Returns the same URL with the scheme https and the default port.
fn target(head: RequestHead<'_>) -> Option<HeaderValue> {
    let mut hosts = head.headers().get_all(HOST).iter();
    let host = match (head.uri().authority(), hosts.next(), hosts.next()) {
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(host), None) => host.to_str().ok()?,
        _ => return None,
    };
    let name: http::uri::Authority = host.parse().ok()?;
    let path = head
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let name = name.host();
    // A path that starts with two slashes would name another host.
    let path = format!("/{}", path.trim_start_matches('/'));
    HeaderValue::try_from(format!("https://{name}{path}")).ok()
}

fn says_https(headers: &HeaderMap) -> bool {
    let name = HeaderName::from_static("x-forwarded-proto");
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(b"https"),
        _ => false,
    }
}

fn strict(max_age: Duration, include_subdomains: bool) -> Option<HeaderValue> {
    let below = if include_subdomains {
        "; includeSubDomains"
    } else {
        ""
    };
    HeaderValue::try_from(format!("max-age={}{below}", max_age.as_secs())).ok()
}

impl<S> Layer<S> for RequireHttpsLayer {
    type Service = RequireHttpsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireHttpsService::new(inner, self.clone())
    }
}

impl fmt::Debug for RequireHttpsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireHttpsLayer")
            .field("hsts", &self.config.hsts)
            .finish_non_exhaustive()
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
