//! The documents at the root of the site.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::json;
use tower_service::Service;

use super::answer::Refusal;
use crate::{
    body::Whole,
    issue::{JwksService, TokenIssuer},
};

/// Serves `/.well-known/jwks.json` and the metadata of RFC 8414, as a tower service.
///
/// Mount it at the root: the issuer's name and nothing else says where these documents are.
#[derive(Clone, Debug)]
pub struct WellKnown {
    jwks: JwksService,
    metadata: Bytes,
}

impl WellKnown {
    pub(super) fn new(issuer: &TokenIssuer, path: &str) -> Self {
        let name = issuer.issuer();
        let base = name.trim_end_matches('/');
        // No authorization endpoint and no `password` grant: first-party clients know both.
        let metadata = json!({
            "issuer": name,
            "jwks_uri": format!("{base}/.well-known/jwks.json"),
            "token_endpoint": format!("{base}{path}/token"),
            "revocation_endpoint": format!("{base}{path}/revoke"),
            "response_types_supported": [],
            "grant_types_supported": ["refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
        });
        Self {
            jwks: issuer.jwks(),
            metadata: metadata.to_string().into(),
        }
    }
}

impl<B> Service<Request<B>> for WellKnown {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let path = path.strip_prefix("/.well-known").unwrap_or(path);
        match path.trim_start_matches('/') {
            "jwks.json" => self.jwks.call(request),
            "oauth-authorization-server" => ready(Ok(self.metadata(request.method()))),
            _ => ready(Ok(Refusal::not_found().answer())),
        }
    }
}

impl WellKnown {
    fn metadata(&self, method: &Method) -> Response<Whole> {
        if method != Method::GET && method != Method::HEAD {
            return Refusal::method_not_allowed("GET, HEAD").answer();
        }
        let body = match *method == Method::HEAD {
            true => Bytes::new(),
            false => self.metadata.clone(),
        };
        let mut answer = Response::new(Whole::new(body));
        *answer.status_mut() = StatusCode::OK;
        let headers = answer.headers_mut();
        let kind = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, kind);
        let cache = HeaderValue::from_static("public, max-age=3600");
        headers.insert(CACHE_CONTROL, cache);
        answer
    }
}
