//! Fetching of a document over HTTP.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH,
        LOCATION, USER_AGENT,
    },
};
use iri_string::types::{UriAbsoluteStr, UriReferenceStr};

use super::error::FetchError;
use crate::error::KeyProblem;

/// An HTTP client, which can be replaced with a custom one.
///
/// Each call sends one request, follows no redirect, and returns the response with any status. The
/// caller enforces the timeout. The implementation must enforce a size limit.
pub trait Fetcher: Send + Sync + 'static {
    /// Sends a `GET` request and returns the complete response.
    fn fetch(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<Response<Bytes>, FetchError>> + Send;
}

/// Fetches a document and follows a few redirects within its origin.
///
/// Redirects to another origin are not followed (RFC 8725bis on server-side request forgery).
pub(super) async fn get<F: Fetcher>(
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
        // RFC 9110 §12.5.3: without this header any content coding is acceptable.
        headers.insert(
            ACCEPT_ENCODING,
            const { HeaderValue::from_static(IDENTITY) },
        );
        headers.insert(USER_AGENT, const { HeaderValue::from_static(AGENT) });
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        let response = client.fetch(request).await?;
        match response.status().as_u16() {
            200 if is_coded(response.headers()) => {
                let what = "the response is compressed, although only `identity` is accepted";
                return Err(FetchError::plain(KeyProblem::ContentCoding, what));
            }
            200 => return Ok(response),
            304 if etag.is_some() => return Ok(response),
            301 | 302 | 303 | 307 | 308 => target = redirect(&target, response.headers())?,
            status => return Err(FetchError::of_status(status)),
        }
    }
    Err(refused_redirect("too many redirects"))
}

/// Returns `true` if a content coding is applied to the body (RFC 9110 §8.4).
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(IDENTITY.as_bytes())
    })
}

/// Resolves a `Location` against the requested URL (RFC 9110 §10.2.2, RFC 3986 §5).
pub(crate) fn redirect(from: &Uri, headers: &HeaderMap) -> Result<Uri, FetchError> {
    let location = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| refused_redirect("a redirect without a location"))?;
    let target = resolve(from, location)
        .ok_or_else(|| refused_redirect("a redirect to an invalid location"))?;
    if origin(&target).is_some_and(|target| Some(target) == origin(from)) {
        Ok(target)
    } else {
        Err(refused_redirect("a redirect to another origin"))
    }
}

fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let base = from.to_string();
    let base = UriAbsoluteStr::new(&base).ok()?;
    let location = UriReferenceStr::new(location).ok()?;
    let target = location.resolve_against(base).to_string();
    target.parse().ok()
}

/// Returns the scheme, host and port. Returns `None` for a URL with credentials.
fn origin(url: &Uri) -> Option<(&str, String, u16)> {
    let authority = url.authority().filter(|one| !one.as_str().contains('@'))?;
    let scheme = url.scheme_str()?;
    let port = authority.port_u16().or(match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

pub(crate) fn refused_redirect(what: &'static str) -> FetchError {
    FetchError::plain(KeyProblem::Redirect, what)
}

/// Returns `true` if documents may be fetched from this URL: with https, with http from a loopback
/// host, or with http from any host if `allow_http` is set.
///
/// URLs with credentials are refused, because the credentials would not be sent, but logged.
pub(crate) fn is_safe(url: &Uri, allow_http: bool) -> bool {
    let Some(authority) = url.authority() else {
        return false;
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return false;
    }
    match url.scheme_str() {
        Some("https") => true,
        Some("http") => allow_http || is_loopback(url),
        _ => false,
    }
}

/// Returns `true` if the host of the URL is a loopback address or `localhost`.
pub(super) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Returns the time for which the response is still fresh: `max-age` (RFC 9111 §5.2.2.1) minus
/// `Age` (§4.2.3). Returns `None` without a `max-age` directive.
pub(super) fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.trim().parse().ok());
    let age = Duration::from_secs(age.unwrap_or_default());
    lifetime(headers).map(|lifetime| lifetime.saturating_sub(age))
}

fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let mut fresh = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                // The caller's minimum still applies, so this does not cause a fetch per request.
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
pub(crate) const IDENTITY: &str = "identity";
pub(crate) const AGENT: &str = concat!("tower-jwt-auth/", env!("CARGO_PKG_VERSION"));
pub(crate) const MAX_REDIRECTS: usize = 3;
