//! The guards of MCP servers, around a service in memory.

mod bodies;
mod headers;
mod messages;
mod rules;
mod sessions;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};
use tower_jwt_auth::{AuthError, Principal, error::AuthErrorKind, layer::mcp::McpGuardLayer};

use crate::support::challenge::{Challenge, parse_challenges};

/// The service inside: it reads the whole body.
#[derive(Clone, Default)]
struct Server {
    seen: Arc<Mutex<Option<Seen>>>,
}

/// The request that reached the service inside.
#[derive(Debug)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl<B> Service<Request<B>> for Server
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned();
            *seen.lock().unwrap() = Some(Seen {
                headers: parts.headers,
                body: body.to_bytes(),
                trailers,
            });
            Ok(Response::new("handled".to_owned()))
        })
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    error: Option<AuthError>,
    seen: Option<Seen>,
}

async fn send<B>(guard: &McpGuardLayer, request: Request<B>) -> Answer
where
    B: Body + Send + 'static,
    B::Error: std::fmt::Debug,
{
    through(guard.clone(), request).await
}

async fn through<L, B, R>(layer: L, request: Request<B>) -> Answer
where
    L: Layer<Server>,
    L::Service: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error = Infallible>,
{
    let server = Server::default();
    let seen = Arc::clone(&server.seen);
    let Ok(response) = layer.layer(server).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    Answer {
        status: parts.status,
        error: parts.extensions.get::<AuthError>().cloned(),
        headers: parts.headers,
        body: body.to_bytes(),
        seen: seen.lock().unwrap().take(),
    }
}

impl Answer {
    #[track_caller]
    fn passes(self, case: &str) -> Seen {
        assert_eq!(self.status, StatusCode::OK, "{case}: {:?}", self.error);
        self.seen.expect(case)
    }

    #[track_caller]
    fn refused(&self, case: &str, kind: AuthErrorKind) {
        assert!(self.seen.is_none(), "{case}");
        let error = self.error.as_ref().expect(case);
        assert_eq!(error.kind(), kind, "{case}");
        assert_eq!(self.status, kind.status(), "{case}");
        assert_eq!(self.headers["cache-control"], "no-store", "{case}");
        assert_eq!(
            self.headers["content-length"],
            self.body.len().to_string(),
            "{case}"
        );
    }

    /// The refusal of a message: a JSON-RPC error.
    #[track_caller]
    fn refused_as_message(&self, case: &str, kind: AuthErrorKind, id: impl Into<Value>, code: i32) {
        self.refused(case, kind);
        assert_eq!(self.headers["content-type"], "application/json", "{case}");
        assert!(!self.headers.contains_key("www-authenticate"), "{case}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["jsonrpc"], "2.0", "{case}");
        assert_eq!(body["id"], id.into(), "{case}");
        assert_eq!(body["error"]["code"], code, "{case}");
        assert!(body["error"]["message"].is_string(), "{case}");
    }

    /// 403/is
    #[track_caller]
    fn lacks_scope(&self, case: &str, scope: &str) {
        self.refused(case, AuthErrorKind::MissingScope);
        let challenge = self.challenge();
        assert_eq!(challenge.get("error"), Some("insufficient_scope"), "{case}");
        assert_eq!(challenge.get("scope"), Some(scope), "{case}");
    }

    /// 403/is without a scope that would help.
    #[track_caller]
    fn forbidden(&self, case: &str) {
        self.refused(case, AuthErrorKind::Forbidden);
        let challenge = self.challenge();
        assert_eq!(challenge.get("error"), Some("insufficient_scope"), "{case}");
        assert_eq!(challenge.get("scope"), None, "{case}");
    }

    #[track_caller]
    fn challenge(&self) -> Challenge {
        let value = self.headers["www-authenticate"].to_str().unwrap();
        parse_challenges(value).unwrap().pop().unwrap()
    }
}

fn caller(scope: &str) -> Principal {
    let caller = Principal::builder().issuer("https://auth.example");
    caller.subject("alice").scope(scope).build()
}

/// A request with this body, of a caller with this scope.
fn post(scope: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/mcp").header(CONTENT_TYPE, "application/json");
    let mut request = request.body(Full::new(body.into())).unwrap();
    request.extensions_mut().insert(caller(scope));
    request
}

fn with<B>(mut request: Request<B>, headers: &[(&'static str, &str)]) -> Request<B> {
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
    request
}

fn message(method: &str, params: impl Into<Value>) -> Value {
    let params = params.into();
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn tool(name: &str) -> Value {
    message("tools/call", json!({"name": name, "arguments": {}}))
}
