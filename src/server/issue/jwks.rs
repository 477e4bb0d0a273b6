//! Publication of a ring's public keys over HTTP.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER,
    },
};
use tower_service::Service;

use super::{KeyRing, key_ring::Document};
use crate::layer::response::Whole;

/// A tower service that responds to every path with the ring's JWK Set (RFC 7517 §5).
///
/// `GET` and `HEAD` are supported; the response to other methods is 405. If `If-None-Match`
/// matches, the response is 304. Public keys need no authentication, so route the service outside
/// of every authenticating layer.
///
/// For the keys of a [`SharedKeyRing`](super::SharedKeyRing) whose store is unavailable, `max-age`
/// shrinks, and the response is 503 before the set could lack a key in use.
///
/// The set never contains a secret. For a ring of secrets it is empty.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// # #[cfg(feature = "aws-lc-rs")]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, header::CONTENT_TYPE};
/// use tower::ServiceExt;
/// use tower_jwt_auth::{
///     key::{Algorithm, SigningKey},
///     server::issue::{JwksService, KeyRing},
/// };
///
/// let keys = KeyRing::new(SigningKey::generate(Algorithm::Es256)?)?;
/// let service = JwksService::new(keys);
/// // axum: Router::new().route_service("/.well-known/jwks.json", service)
/// let answer = service.oneshot(Request::new(())).await?;
/// assert_eq!(answer.headers()[CONTENT_TYPE], "application/jwk-set+json");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JwksService {
    keys: KeyRing,
}

impl JwksService {
    /// Creates a service for the public keys of this ring.
    #[must_use]
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<Whole> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = Response::new(Whole::new(Bytes::new()));
            *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(ALLOW, allowed);
            return refusal;
        }
        let Some(document) = self.keys.document() else {
            return unavailable();
        };
        let Document {
            json,
            etag,
            cache_control,
        } = document;
        // RFC 9110 §15.4.5: a 304 has the headers of the 200, except those that describe the
        // content.
        let known = names(headers, &etag);
        let body = match known || method == Method::HEAD {
            true => Bytes::new(),
            false => json.clone(),
        };
        let mut answer = Response::new(Whole::new(body));
        let fields = answer.headers_mut();
        fields.insert(ETAG, etag);
        fields.insert(CACHE_CONTROL, cache_control);
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(JWK_SET));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(json.len()));
        answer
    }
}

impl<B> Service<Request<B>> for JwksService {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Whole>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.headers())))
    }
}

/// Clients keep the set that they have.
fn unavailable() -> Response<Whole> {
    let mut refusal = Response::new(Whole::new(Bytes::new()));
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let fields = refusal.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    refusal
}

/// Returns `true` if `If-None-Match` contains the tag, by weak comparison (RFC 9110 §13.1.2).
fn names(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

/// RFC 7517 §8.5.2.
const JWK_SET: &str = "application/jwk-set+json";
