//! The document, and the service that answers with it.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
    },
};
use serde_json::{Map, Value};
use tower_service::Service;

use super::ProtectedResource;
use crate::layer::{extract::RequestHead, response::Whole};

/// The metadata document of a resource (RFC 9728 §2), and a tower service that answers with it.
///
/// Returned by [`JwtAuthLayer::metadata`](crate::JwtAuthLayer::metadata). Cheap to clone.
///
/// The service answers at [`path`](Self::path) only, and needs the path as the client sent it. The
/// document is readable by pages of every origin, and may be cached for an hour. It consists of the
/// configuration alone: no header of a request changes it.
///
/// # Examples
///
/// In axum, beside routes with the layer:
///
/// ```
/// # #[cfg(not(all(feature = "aws-lc-rs", feature = "axum")))]
/// # fn main() {}
/// # #[cfg(all(feature = "aws-lc-rs", feature = "axum"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::resource::ProtectedResource};
///
/// let resource = ProtectedResource::builder("https://api.example")
///     .authorization_server("https://auth.example")
///     .build()?;
/// let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
/// let auth = JwtAuthLayer::new(verifier).resource(&resource);
///
/// let mut app: Router = Router::new().route("/orders", get(async || "orders"));
/// if let Some(metadata) = auth.metadata() {
///     app = app.route_layer(auth).route_service(metadata.path(), metadata.clone());
/// }
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ResourceMetadata {
    inner: Arc<Document>,
}

struct Document {
    path: String,
    query: Option<String>,
    members: Map<String, Value>,
    bytes: Bytes,
}

impl ResourceMetadata {
    /// Creates the document of a resource, with the members that the settings of a layer determine.
    pub(crate) fn new(
        resource: &ProtectedResource,
        of_layer: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Self {
        let own = &resource.inner;
        let requested = |scope: &String| {
            let alias = own.aliases.get(scope.as_str());
            Value::from(alias.map_or(scope.as_str(), AsRef::as_ref))
        };
        let mut members = own.members.clone();
        let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
        set("resource", own.identifier.as_str().into());
        set("authorization_servers", own.servers.clone().into());
        set(
            "scopes_supported",
            own.scopes.iter().map(requested).collect(),
        );
        for (name, value) in of_layer {
            set(name, value);
        }
        // RFC 9728 §3.2.
        members.retain(|_, value| value.as_array().is_none_or(|values| !values.is_empty()));

        let document = own.identifier.document();
        let (path, query) = match document.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (document, None),
        };
        Self {
            inner: Arc::new(Document {
                path,
                query,
                bytes: serde_json::to_vec(&members).unwrap_or_default().into(),
                members,
            }),
        }
    }

    /// Returns the path of the document, for a router.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Returns the document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.inner.members.clone())
    }

    /// Returns the response to a request for the document, or `None` for another path: for hosts without
    /// a router of services.
    ///
    /// `GET`, `HEAD` and `OPTIONS` are answered. Another method gets 405.
    #[must_use]
    pub fn answer(&self, head: RequestHead<'_>) -> Option<Response<Bytes>> {
        self.is_at(head).then(|| self.answer_to(head.method()))
    }

    pub(crate) fn is_at(&self, head: RequestHead<'_>) -> bool {
        let (own, uri) = (&self.inner, head.uri());
        // The query is a part of the name only if the identifier has one.
        uri.path() == own.path && (own.query.is_none() || uri.query() == own.query.as_deref())
    }

    pub(crate) fn answer_to(&self, method: &Method) -> Response<Bytes> {
        let mut response = match method.as_str() {
            "GET" | "HEAD" => self.document(method),
            "OPTIONS" => preflight(),
            _ => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                set(response.headers_mut(), ALLOW, METHODS);
                set(response.headers_mut(), CONTENT_LENGTH, "0");
                response
            }
        };
        set(response.headers_mut(), ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        response
    }

    fn document(&self, method: &Method) -> Response<Bytes> {
        let bytes = &self.inner.bytes;
        let length = HeaderValue::from(bytes.len());
        let mut response = Response::new(match method == Method::HEAD {
            true => Bytes::new(),
            false => bytes.clone(),
        });
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length);
        set(headers, CONTENT_TYPE, "application/json");
        set(headers, CACHE_CONTROL, "public, max-age=3600");
        response
    }
}

/// The response to `OPTIONS`. Clients of MCP send `MCP-Protocol-Version`, for which a browser asks first.
fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    set(headers, ALLOW, METHODS);
    set(headers, ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    set(headers, ACCESS_CONTROL_ALLOW_HEADERS, "*");
    set(headers, ACCESS_CONTROL_MAX_AGE, "3600");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

const METHODS: &str = "GET, HEAD, OPTIONS";

impl<B> Service<Request<B>> for ResourceMetadata {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.answer(RequestHead::of(&request)).unwrap_or_else(|| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            set(response.headers_mut(), CONTENT_LENGTH, "0");
            response
        });
        ready(Ok(response.map(Whole::new)))
    }
}

impl fmt::Debug for ResourceMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceMetadata")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
