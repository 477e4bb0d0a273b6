//! The layer: what it is told.

use std::{fmt, net::IpAddr, sync::Arc};

use tower_layer::Layer;

use super::{ApiKeyService, ApiKeyStore, ApiKeys, config::Config, networks::Networks};
use crate::{
    deny::{Answers, Responder},
    error::ConfigError,
    event::{EventSink, Events},
    head::RequestHead,
};

/// A layer that authenticates requests by an API key, in `X-API-Key` or as a `Bearer` credential.
///
/// See the [module](super) for what it does. Its settings lie behind one `Arc`.
#[must_use = "a layer does nothing before it is put around a service"]
#[derive(Clone)]
pub struct ApiKeyLayer {
    config: Arc<Config>,
}

impl ApiKeyLayer {
    /// A layer that demands one of these keys.
    pub fn new<S: ApiKeyStore>(keys: &ApiKeys<S>) -> Self {
        Self {
            config: Arc::new(Config::new(keys.examiner())),
        }
    }

    /// Lets requests without a key pass: as whom an outer layer found, else as
    /// [`Anonymous`](crate::Anonymous).
    ///
    /// A `Bearer` credential that does not start with the keys' prefix is another layer's, and counts
    /// as none. Whatever stands in `X-API-Key` is a key, and a bad key is refused.
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// Who is told what became of each request, also of those that a guard inside refuses.
    pub fn events(self, sink: impl EventSink) -> Self {
        let events = Events::to(sink);
        self.with(|config| config.change_answers(|answers| answers.with_events(events)))
    }

    /// Which network a request comes from: the sink of [`events`](Self::events) is told of a key that is
    /// used from one from which this process had not seen it, which is how a stolen key shows.
    /// 20 000 pairs of keys and networks are remembered.
    ///
    /// With the feature `rate-limit`, `rate_limit::ClientIp` says whom to believe:
    /// `.networks(move |head| clients.of(head).map(network_of))`.
    pub fn networks<F>(self, network: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let networks = Arc::new(Networks::new(network));
        self.with(|config| config.networks = Some(networks))
    }

    /// The protection space that challenges name (RFC 9110 §11.5); `api` by default.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        let realm = realm.into();
        self.with(|config| config.change_answers(|answers| answers.with_realm(realm)))
    }

    /// How refusals are answered, instead of problem details (RFC 9457).
    pub fn respond(self, responder: impl Responder) -> Self {
        let responder = Arc::new(responder);
        self.with(|config| config.change_answers(|answers| answers.with_responder(responder)))
    }

    /// Answers the authentication requests of a gateway: nginx `auth_request`, Caddy `forward_auth`,
    /// Envoy `ext_authz`, Traefik ForwardAuth.
    ///
    /// A gateway reads the status of the answer and nothing else, and its request carries headers that
    /// the client chose. So no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with the
    /// challenge, and 429 and 500 become 503. A [`Responder`] that answers 2xx keeps its body, and gets
    /// the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// [`optional`](Self::optional) or [`skip`](Self::skip) beside it is a contradiction that
    /// [`build`](Self::build) reports. A layer that was never built refuses every request then, with 503.
    /// Set gateway mode on every layer of the stack that can refuse; a guard inside takes it from this
    /// layer.
    pub fn gateway(self) -> Self {
        self.with(|config| config.change_answers(Answers::for_gateway))
    }

    /// Answers refused gRPC and gRPC-Web calls in their own framing, `true` by default; otherwise with
    /// their HTTP status. It stays off in [gateway mode](Self::gateway).
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.change_answers(|answers| answers.with_grpc(framing)))
    }

    /// Tells clients the error code and nothing more.
    pub fn no_details(self) -> Self {
        self.with(|config| config.change_answers(Answers::without_details))
    }

    /// Lets requests that the predicate names pass without looking at their key. Said twice, both
    /// count.
    pub fn skip<F>(self, names: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.with(|config| config.skips.push(Arc::new(names)))
    }

    /// Removes the key from the request before the inner service sees it: for proxies.
    pub fn strip_credential(self) -> Self {
        self.with(|config| config.strip = true)
    }

    /// Checks the settings against each other. Without [gateway mode](Self::gateway) there is nothing to
    /// contradict.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: gateway mode beside a setting that lets requests without a credential
    /// pass.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.config.answers.validate(&self.config.openings())?;
        Ok(self)
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
        ApiKeyService::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for ApiKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayer").finish_non_exhaustive()
    }
}
