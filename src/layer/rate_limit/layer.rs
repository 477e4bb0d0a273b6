//! The layer and its settings.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use governor::Quota;
use tower_layer::Layer;

use super::{RateKey, RateLimitService, buckets::Buckets};
use crate::{
    event::EventSink,
    layer::response::{ErrorResponder, InnerAnswers},
    time::{Clock, SystemClock},
};

/// A rate limit middleware. It allows every client a number of requests in a time, and answers
/// further requests with 429.
///
/// Budgets refill continuously (GCRA), not all at the end of the period. The counts are kept in
/// this process: with several nodes, each node counts separately. All services of a layer and its
/// clones share the counts.
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
    /// Creates a limit of this many requests per second for each key.
    pub fn per_second(requests: NonZeroU32, key: impl RateKey) -> Self {
        Self::new(Quota::per_second(requests), key)
    }

    /// Creates a limit of this many requests per minute for each key.
    pub fn per_minute(requests: NonZeroU32, key: impl RateKey) -> Self {
        Self::new(Quota::per_minute(requests), key)
    }

    /// Creates a limit of this many requests per hour for each key: for rare actions, such as the
    /// creation of accounts and guests.
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

    /// Sets the burst: the number of requests that a full budget allows back to back. By default it
    /// is the number in the rate.
    pub fn burst(self, requests: NonZeroU32) -> Self {
        self.with(|config| config.quota = config.quota.allow_burst(requests))
    }

    /// Sets the maximum number of budgets; 100 000 by default, about 3 MB. Further keys share
    /// budgets, and existing budgets are kept.
    pub fn capacity(self, budgets: usize) -> Self {
        self.with(|config| config.capacity = budgets)
    }

    /// Sets the clock; the operating system's by default.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// Sets the responder for refusals. By default the responder of the layer around this one is
    /// used, and without such a layer problem details (RFC 9457).
    pub fn responder(self, responder: impl ErrorResponder) -> Self {
        self.with(|config| config.answers.responder(responder))
    }

    /// Sets the realm in challenges (RFC 9110 §11.5).
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.with(|config| config.answers.realm(realm.into()))
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
    /// A limit outside an authenticating layer needs this setting too. Inside a layer in gateway
    /// mode it is already on, also if a realm or a responder is set here.
    pub fn gateway(self) -> Self {
        self.with(|config| config.answers.gateway())
    }

    /// Sets whether refused gRPC and gRPC-Web calls are answered in gRPC framing; `true` by
    /// default. Otherwise they get the HTTP status. Framing is off inside a layer that has it off,
    /// and in [gateway mode](Self::gateway).
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.answers.grpc(framing))
    }

    /// Omits the human-readable explanation from refusals. The error code stays.
    pub fn terse(self) -> Self {
        self.with(|config| config.answers.terse())
    }

    /// Sets the event sink for refusals; by default the sink of the layer around this one.
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with(|config| config.answers.events(sink))
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
    /// Logs a warning once per limit. The rate and the burst identify the limit.
    pub(super) fn note_unknown_client(&self) {
        self.warned.call_once(|| {
            let every = self.quota.replenish_interval();
            let burst = self.quota.burst_size();
            tracing::warn!(
                ?every,
                %burst,
                "requests without a rate limit key share one budget"
            );
        });
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, self.clone())
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
