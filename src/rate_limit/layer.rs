//! The layer: what it is told.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::Quota;
use tower_layer::Layer;

use super::{RateKey, RateLimitService, buckets::Buckets};
use crate::{
    clock::{Clock, SystemClock},
    deny::{InnerAnswers, Responder},
    event::EventSink,
};
#[cfg(feature = "endpoints")]
use crate::{error::AuthError, head::RequestHead};

/// A layer that lets everybody have so many requests in a time, and answers the others with 429.
///
/// A budget refills steadily (GCRA) rather than all at once. The counts live in this process: with
/// several nodes each has its own. All services made by one layer and its clones share them.
///
/// See the [module](super) for an example.
#[derive(Clone)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct RateLimitLayer {
    pub(super) config: Arc<Config>,
}

#[derive(Clone)]
pub(super) struct Config {
    quota: Quota,
    capacity: usize,
    clock: Arc<dyn Clock>,
    pub(super) key: Arc<dyn RateKey>,
    pub(super) answers: InnerAnswers,
    pub(super) buckets: Arc<Buckets>,
    /// Records that this limit's warning was logged.
    #[cfg(feature = "tracing")]
    warned: Arc<std::sync::Once>,
}

impl RateLimitLayer {
    /// So many requests a second, by whatever the key tells apart.
    pub fn per_second(requests: NonZeroU32, key: impl RateKey) -> Self {
        Self::new(Quota::per_second(requests), key)
    }

    /// So many requests a minute, by whatever the key tells apart.
    pub fn per_minute(requests: NonZeroU32, key: impl RateKey) -> Self {
        Self::new(Quota::per_minute(requests), key)
    }

    /// So many requests an hour, by whatever the key tells apart: for what is made rarely, accounts
    /// and guests.
    pub fn per_hour(requests: NonZeroU32, key: impl RateKey) -> Self {
        Self::new(Quota::per_hour(requests), key)
    }

    fn new(quota: Quota, key: impl RateKey) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            config: Arc::new(Config {
                quota,
                capacity: CAPACITY,
                buckets: Arc::new(Buckets::new(quota, CAPACITY, Arc::clone(&clock))),
                clock,
                key: Arc::new(key),
                answers: InnerAnswers::default(),
                #[cfg(feature = "tracing")]
                warned: Arc::new(std::sync::Once::new()),
            }),
        }
    }

    /// How many requests may come at once; by default as many as the rate counts in its time.
    pub fn burst(self, requests: NonZeroU32) -> Self {
        self.with(|config| config.quota = config.quota.allow_burst(requests))
    }

    /// How many budgets are kept; 100 000 by default, some 3 MB. Beyond it newcomers share, and
    /// whoever has a budget keeps it.
    pub fn capacity(self, budgets: usize) -> Self {
        self.with(|config| config.capacity = budgets)
    }

    /// The clock; the operating system's by default.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// How refusals are answered; by default as the layer around this one answers its own, else as
    /// problem details (RFC 9457).
    pub fn respond(self, responder: impl Responder) -> Self {
        self.with(|config| config.answers.responder(responder))
    }

    /// The realm named in challenges (RFC 9110 §11.5).
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.with(|config| config.answers.realm(realm.into()))
    }

    /// Answers the authentication requests of a gateway: nginx `auth_request`, Caddy `forward_auth`,
    /// Envoy `ext_authz`, Traefik ForwardAuth.
    ///
    /// A gateway reads the status of the answer and nothing else, and its request carries headers that
    /// the client chose. So no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with the
    /// challenge, and 429 and 500 become 503. A [`Responder`] that answers 2xx keeps its body, and gets
    /// the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// A limit outside an authenticating layer needs it too. Inside a layer in gateway mode it is on
    /// already, also beside a custom realm or responder.
    pub fn gateway(self) -> Self {
        self.with(|config| config.answers.gateway())
    }

    /// Answers refused gRPC and gRPC-Web calls in their own framing, `true` by default; otherwise with
    /// their HTTP status. It stays off inside a layer that has it off, and in
    /// [gateway mode](Self::gateway).
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.answers.grpc(framing))
    }

    /// Leaves the human-readable explanation out of refusals; the error code stays.
    pub fn no_details(self) -> Self {
        self.with(|config| config.answers.no_details())
    }

    /// Who is told of refusals; by default whom the layer around this one tells.
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with(|config| config.answers.events(sink))
    }

    /// Takes one request from its budget; the error says when the next one may come.
    #[cfg(feature = "endpoints")]
    pub(crate) fn take(&self, head: RequestHead<'_>) -> Result<(), AuthError> {
        self.config.decide(head)
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        let clock = Arc::clone(&config.clock);
        config.buckets = Arc::new(Buckets::new(config.quota, config.capacity, clock));
        self.config = Arc::new(config);
        self
    }
}

#[cfg(feature = "tracing")]
impl Config {
    /// Warns once for each limit; its figures name it.
    pub(super) fn note_unknown_client(&self) {
        self.warned.call_once(|| {
            let every = self.quota.replenish_interval();
            let burst = self.quota.burst_size();
            tracing::warn!(
                ?every,
                %burst,
                "requests that a rate limit cannot tell apart share one budget"
            );
        });
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let every: Duration = self.config.quota.replenish_interval();
        f.debug_struct("RateLimitLayer")
            .field("every", &every)
            .field("burst", &self.config.quota.burst_size())
            .finish_non_exhaustive()
    }
}

const CAPACITY: usize = 100_000;
