//! The documents at the root of the site.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::json;
use tower_service::Service;

use super::answer::{Refusal, without_content};
use crate::{
    layer::{dpop::Dpop, extract::RequestHead, resource::ResourceMetadata, response::Whole},
    server::issue::{JwksService, TokenIssuer},
};

/// A tower service that serves `/.well-known/jwks.json` and the authorization server metadata of RFC
/// 8414.
///
/// Route `/.well-known/jwks.json` and `/.well-known/oauth-authorization-server` at the root of the site
/// to it. For an issuer with a path, such as `https://auth.example/tenant`, the metadata is at
/// `/.well-known/oauth-authorization-server/tenant` ([RFC 8414 §3.1]). An issuer that is not an http
/// URL has no metadata.
///
/// The URLs in the metadata are based on the [public
/// origin](crate::server::endpoints::AuthEndpointsBuilder::public_origin), or on the issuer's origin if no
/// public origin is set.
///
/// [RFC 8414 §3.1]: https://www.rfc-editor.org/rfc/rfc8414#section-3.1
#[derive(Clone, Debug)]
pub struct WellKnown {
    jwks: JwksService,
    metadata: Option<Metadata>,
    resource: Option<ResourceMetadata>,
}

/// The metadata, and its path, which the issuer's name determines.
#[derive(Clone, Debug)]
struct Metadata {
    path: String,
    document: Bytes,
}

impl WellKnown {
    pub(super) fn new(
        issuer: &TokenIssuer,
        origin: Option<&str>,
        path: &str,
        dpop: Option<&Dpop>,
    ) -> Self {
        Self {
            jwks: issuer.jwks(),
            metadata: Metadata::new(issuer.issuer(), origin, path, dpop),
            resource: None,
        }
    }

    /// Adds the metadata of the resource beside the authorization server (RFC 9728).
    pub(crate) fn with_resource(mut self, resource: Option<ResourceMetadata>) -> Self {
        self.resource = resource;
        self
    }
}

impl Metadata {
    fn new(issuer: &str, origin: Option<&str>, path: &str, dpop: Option<&Dpop>) -> Option<Self> {
        let uri = issuer.parse::<Uri>().ok()?;
        let scheme = uri.scheme_str();
        let scheme = scheme.filter(|scheme| ["http", "https"].contains(scheme))?;
        // RFC 8414 §2: an issuer has neither query nor fragment.
        if uri.query().is_some() || issuer.contains('#') {
            return None;
        }
        let own = format!("{scheme}://{}", uri.authority()?);
        let base = origin.unwrap_or(&own);
        // First-party clients need neither an authorization endpoint nor the `password` grant in the
        // document.
        let mut document = json!({
            "issuer": issuer,
            "jwks_uri": format!("{base}{JWKS}"),
            "token_endpoint": format!("{base}{path}/token"),
            "revocation_endpoint": format!("{base}{path}/revoke"),
            "response_types_supported": [],
            "grant_types_supported": ["refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
        });
        // RFC 9449 §5.1
        if let (Some(dpop), Some(members)) = (dpop, document.as_object_mut()) {
            let algorithms: Vec<_> = dpop.algorithms().collect();
            members.insert(ALGORITHMS.to_owned(), algorithms.into());
        }
        Some(Self {
            path: format!("{METADATA}{}", uri.path().trim_end_matches('/')),
            document: document.to_string().into(),
        })
    }

    fn answer(&self, method: &Method) -> Response<Whole> {
        if method != Method::GET && method != Method::HEAD {
            return Refusal::method_not_allowed("GET, HEAD").answer();
        }
        let mut answer = Response::new(Whole::new(self.document.clone()));
        let headers = answer.headers_mut();
        let kind = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, kind);
        let cache = HeaderValue::from_static("public, max-age=3600");
        headers.insert(CACHE_CONTROL, cache);
        if method == Method::HEAD {
            without_content(&mut answer);
        }
        answer
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
        if path == JWKS {
            return self.jwks.call(request);
        }
        let resource = self.resource.as_ref();
        let resource = resource.and_then(|found| found.answer(RequestHead::of(&request)));
        if let Some(answer) = resource {
            return ready(Ok(answer.map(Whole::new)));
        }
        let metadata = self.metadata.as_ref();
        ready(Ok(match metadata.filter(|found| found.path == path) {
            Some(metadata) => metadata.answer(request.method()),
            None => not_found(request.method()),
        }))
    }
}

fn not_found(method: &Method) -> Response<Whole> {
    let mut answer = Refusal::not_found().answer();
    if method == Method::HEAD {
        without_content(&mut answer);
    }
    answer
}

const ALGORITHMS: &str = "dpop_signing_alg_values_supported";
const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";
