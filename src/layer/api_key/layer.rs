//! The layer and its settings.

use std::{fmt, net::IpAddr, sync::Arc};

use tower_layer::Layer;

use super::{ApiKeyService, ApiKeys, config::Config, networks::Networks};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    layer::{
        extract::{RequestHead, TokenExtractor},
        openapi::SecuritySchemes,
        resource::ProtectedResource,
        response::{Answers, ErrorResponder},
    },
};

/// A middleware that authenticates requests by an API key, in `X-API-Key` or as a `Bearer`
/// credential.
///
/// See the [module](super) for its behavior. The settings are shared behind one `Arc`.
#[must_use = "a layer does nothing before it is put around a service"]
#[derive(Clone)]
pub struct ApiKeyLayer {
    pub(super) config: Arc<Config>,
}

impl ApiKeyLayer {
    /// Creates a layer that requires one of these keys.
    pub fn new(keys: &ApiKeys) -> Self {
        Self {
            config: Arc::new(Config::new(keys.examiner())),
        }
    }

    /// Lets requests without a key pass, with the principal of an outer layer or else as
    /// [`Anonymous`](crate::Anonymous).
    ///
    /// A `Bearer` credential without the keys' prefix counts as no key, because another layer
    /// handles it. Any value in `X-API-Key` is a key, and an invalid key is refused.
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// Sets the event sink. It receives one event per request, including requests that a guard
    /// inside this layer refuses.
    pub fn events(self, sink: impl EventSink) -> Self {
        let events = Events::to(sink);
        self.with(|config| config.change_answers(|answers| answers.with_events(events)))
    }

    /// Sets a function that returns the network of a request. The sink of [`events`](Self::events)
    /// receives an event if a key is used from a network from which this process has not seen it,
    /// which is a sign of a stolen key. 20 000 pairs of key and network are cached.
    ///
    /// With the feature `rate-limit`, `rate_limit::ClientIp` determines the client behind proxies:
    /// `.networks(move |head| clients.client_ip(head).map(network_of))`.
    pub fn networks<F>(self, network: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let networks = Arc::new(Networks::new(network));
        self.with(|config| config.networks = Some(networks))
    }

    /// Sets the protected resource whose metadata the challenges name (RFC 9728 §5.1). The
    /// [`JwtAuthLayer`](crate::JwtAuthLayer::resource) beside this layer serves the document.
    pub fn resource(self, resource: &ProtectedResource) -> Self {
        let announced = resource.announced();
        let announced = || Arc::clone(announced);
        self.with(|config| config.change_answers(|answers| answers.with_announced(announced())))
    }

    /// Sets the realm in challenges (RFC 9110 §11.5); `api` by default.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        let realm = realm.into();
        self.with(|config| config.change_answers(|answers| answers.with_realm(realm)))
    }

    /// Sets the responder for refusals; problem details (RFC 9457) by default.
    pub fn responder(self, responder: impl ErrorResponder) -> Self {
        let responder = Arc::new(responder);
        self.with(|config| config.change_answers(|answers| answers.with_responder(responder)))
    }

    /// Sets gateway mode, for the authentication requests of nginx `auth_request`, Caddy
    /// `forward_auth`, Envoy `ext_authz` and Traefik ForwardAuth.
    ///
    /// A gateway evaluates only the status of the response, and its request carries headers that
    /// the client chose. Refusals are therefore never framed as gRPC or gRPC-Web, 400 becomes 401
    /// with the challenge, and 429 and 500 become 503. If an [`ErrorResponder`] returns a 2xx status, the
    /// body is kept and the status is replaced by that of the refusal. See [the
    /// manual](crate::manual::gateways).
    ///
    /// Gateway mode contradicts [`optional`](Self::optional) and [`skip_if`](Self::skip_if).
    /// [`build`](Self::build) reports the contradiction; a layer that was not built answers every
    /// request with 503 then. Set gateway mode on every layer of the stack that can refuse; a guard
    /// inside inherits it from this layer.
    pub fn gateway(self) -> Self {
        self.with(|config| config.change_answers(Answers::for_gateway))
    }

    /// Sets whether refused gRPC and gRPC-Web calls are answered in gRPC framing; `true` by
    /// default. Otherwise they get the HTTP status. Framing is off in [gateway
    /// mode](Self::gateway).
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.change_answers(|answers| answers.with_grpc(framing)))
    }

    /// Omits the human-readable explanation from refusals. The error code stays.
    pub fn terse(self) -> Self {
        self.with(|config| config.change_answers(Answers::without_details))
    }

    /// Skips authentication for requests that match the predicate. May be called repeatedly; a
    /// request is skipped if any predicate matches.
    ///
    /// # Security
    ///
    /// As [`JwtAuthLayer::skip_if`](crate::JwtAuthLayer::skip_if): a path is compared as a whole, or by its
    /// [segments](RequestHead::path_segments).
    pub fn skip_if<F>(self, names: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.with(|config| config.skips.push(Arc::new(names)))
    }

    /// Removes the key from the request before the inner service sees it: for proxies.
    pub fn strip_credential(self) -> Self {
        self.with(|config| config.strip = true)
    }

    /// Checks the settings for contradictions. There are none without [gateway
    /// mode](Self::gateway).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: gateway mode together with a setting that lets requests without a
    /// credential pass.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.config.answers.validate(&self.config.openings())?;
        Ok(self)
    }

    /// Returns the OpenAPI security scheme of this layer: the header of the key. The layer also
    /// accepts a key as a bearer token, which is left out.
    ///
    /// Beside a JWT layer, combine the schemes with
    /// [`SecuritySchemes::or`](crate::layer::openapi::SecuritySchemes::or).
    #[must_use]
    pub fn openapi(&self) -> SecuritySchemes {
        let schemes = SecuritySchemes::of_api_keys(&self.config.header.places());
        schemes.optional(self.config.optional)
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        self.config = Arc::new(config);
        self
    }
}

impl<S> Layer<S> for ApiKeyLayer {
    type Service = ApiKeyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ApiKeyService::new(inner, self.clone())
    }
}

impl fmt::Debug for ApiKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayer").finish_non_exhaustive()
    }
}
