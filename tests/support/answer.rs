//! A service that records the request that reaches it, and a strict reader of the answers.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::WWW_AUTHENTICATE, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};
use tower_jwt_auth::{AuthError, Principal, error::AuthErrorKind};

use super::challenge::{Challenge, parse_challenges};

/// The service inside: it takes note of the request that reaches it.
#[derive(Clone, Default)]
pub(crate) struct Inner {
    pub(crate) seen: Arc<Mutex<Option<Parts>>>,
    headers: HeaderMap,
}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        *self.seen.lock().unwrap() = Some(request.into_parts().0);
        let mut response = Response::new("handled".to_owned());
        response.headers_mut().clone_from(&self.headers);
        std::future::ready(Ok(response))
    }
}

/// Sends a request through a layer around a service that takes note of what reaches it.
pub(crate) async fn send<L, R>(layer: L, request: Request<String>) -> Answer
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Infallible>,
{
    send_to(HeaderMap::new(), layer, request).await
}

/// The same, around a service that answers with these headers.
pub(crate) async fn send_to<L, R>(headers: HeaderMap, layer: L, request: Request<String>) -> Answer
where
    L: Layer<Inner>,
    L::Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Infallible>,
{
    let inner = Inner {
        seen: Arc::default(),
        headers,
    };
    let seen = Arc::clone(&inner.seen);
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let seen = seen.lock().unwrap().take();
    Answer {
        status: parts.status,
        error: parts.extensions.get::<AuthError>().cloned(),
        headers: parts.headers,
        body: body.to_bytes(),
        seen,
    }
}

/// What came back, and what reached the inner service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) error: Option<AuthError>,
    pub(crate) seen: Option<Parts>,
}

impl Answer {
    pub(crate) fn ran(&self) -> bool {
        self.seen.is_some()
    }

    pub(crate) fn kind(&self) -> Option<AuthErrorKind> {
        self.error.as_ref().map(AuthError::kind)
    }

    pub(crate) fn caller(&self) -> &Principal {
        self.seen().extensions.get().expect("a principal")
    }

    pub(crate) fn seen(&self) -> &Parts {
        self.seen.as_ref().expect("the inner service ran")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} more than once");
        Some(value)
    }

    /// The one challenge, which must be one for Bearer and sound by RFC 6750 §3.
    #[track_caller]
    pub(crate) fn challenge(&self) -> Challenge {
        let value = self.header(WWW_AUTHENTICATE.as_str()).expect("a challenge");
        let mut challenges = parse_challenges(value).expect(value);
        let challenge = challenges.pop().unwrap();
        assert!(challenges.is_empty(), "{value}");
        challenge.assert_sound();
        challenge
    }

    #[track_caller]
    pub(crate) fn passes(self, case: &str) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{case}: {:?}", self.kind());
        assert!(self.ran(), "{case}");
        assert!(self.error.is_none(), "{case}");
        assert!(!self.headers.contains_key(WWW_AUTHENTICATE), "{case}");
        assert_eq!(self.body, "handled", "{case}");
        self
    }

    /// 401/it
    #[track_caller]
    pub(crate) fn invalid_token(self, case: &str) -> Self {
        self.refused(case, StatusCode::UNAUTHORIZED, Some("invalid_token"))
    }

    /// 400/ir
    #[track_caller]
    pub(crate) fn invalid_request(self, case: &str) -> Self {
        self.refused(case, StatusCode::BAD_REQUEST, Some("invalid_request"))
    }

    /// 503 with Retry-After
    #[track_caller]
    pub(crate) fn unavailable(self, case: &str) -> Self {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{case}");
        assert!(!self.ran(), "{case}");
        let seconds = self.header("retry-after").expect("Retry-After");
        assert!(seconds.parse::<u32>().unwrap() > 0, "{case}");
        self
    }

    #[track_caller]
    pub(crate) fn because(self, kind: AuthErrorKind) -> Self {
        assert_eq!(self.kind(), Some(kind));
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, case: &str, status: StatusCode, error: Option<&str>) -> Self {
        assert_eq!(self.status, status, "{case}: {:?}", self.kind());
        assert!(!self.ran(), "{case}");
        assert!(self.error.is_some(), "{case}");
        let challenge = self.challenge();
        assert_eq!(challenge.get("error"), error, "{case}");
        if error.is_none() {
            assert_eq!(challenge.get("error_description"), None, "{case}");
        }
        self
    }
}
