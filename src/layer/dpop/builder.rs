//! The settings for proofs.

use std::{fmt, sync::Arc, time::Duration};

use http::Method;

use super::{Dpop, MethodOf, PROFILE, Rules, check::Target};
use crate::{
    error::ConfigError,
    key::Algorithm,
    layer::extract::RequestHead,
    time::{Clock, SystemClock},
    verify::proof::{
        Checker, ErasedReplayStore, Memory, Nonces, Origin, PreparedKeys, ReplayStore,
    },
};

/// A builder of [`Dpop`], created by [`Dpop::at`].
#[must_use = "a builder does nothing before `build`"]
pub struct DpopBuilder {
    public_url: String,
    required: bool,
    algorithms: Option<Vec<Algorithm>>,
    max_age: Duration,
    max_ahead: Duration,
    nonces: Option<Nonces>,
    replay: Replay,
    store: Option<Arc<dyn ErasedReplayStore>>,
    target: Option<Target>,
    method: Option<Arc<MethodOf>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
enum Replay {
    Detected(usize),
    Allowed,
}

impl DpopBuilder {
    pub(super) fn new(public_url: &str) -> Self {
        Self {
            public_url: public_url.to_owned(),
            required: false,
            algorithms: None,
            max_age: MAX_AGE,
            max_ahead: MAX_AHEAD,
            nonces: None,
            replay: Replay::Detected(CAPACITY),
            store: None,
            target: None,
            method: None,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Refuses tokens without a proof, in every place. By default, tokens that are not bound to a key are
    /// accepted without one.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets the algorithms of proofs. The default are all asymmetric ones.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets the age up to which a proof without a nonce is fresh, 60 seconds by default and at most 600.
    ///
    /// The age is the difference between the client's clock and this one, so the time covers the way of the
    /// request and wrong clocks. The profile of the Model Context Protocol has 300 seconds.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets the time by which the clock of a client may be ahead, 30 seconds by default and at most 600.
    pub fn max_ahead(mut self, ahead: Duration) -> Self {
        self.max_ahead = ahead;
        self
    }

    /// Demands a nonce of this server in every proof (RFC 9449 §9). The clock of the client then has no
    /// effect.
    ///
    /// A client learns its first nonce from a refusal with `use_dpop_nonce`, and repeats the request with a
    /// new proof.
    pub fn nonces(mut self, nonces: Nonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// Sets the store in which the nodes of a service record used proofs. Every request with a proof then
    /// waits for the store, after all other checks of the proof. If the store does not answer, the response
    /// is 503.
    ///
    /// The memory of this process is asked first, so that a replay on one node costs no query.
    pub fn replay_store(mut self, store: impl ReplayStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets the number of used proofs that this process remembers, 100000 by default, each for as long as
    /// it is fresh. A proof takes about 120 bytes.
    ///
    /// Nothing is forgotten early. A client whose proofs fill the memory is refused, and the others are not:
    /// a key may have as many proofs as there are free places, so one busy client fills at most half. For a
    /// client that sends thousands of requests per second, such as a gateway, set more.
    pub fn proof_capacity(mut self, proofs: usize) -> Self {
        self.replay = Replay::Detected(proofs);
        self
    }

    /// Accepts a proof repeatedly while it is fresh.
    ///
    /// # Security
    ///
    /// An attacker who sees a request, for example in a log, can repeat it until the proof is too old.
    pub fn dangerous_allow_replay(mut self) -> Self {
        self.replay = Replay::Allowed;
        self
    }

    /// Sets a function that returns the URI by which the client addresses the request, for a server behind
    /// a proxy that changes the path. Query and fragment are ignored. If it returns `None`, the request is
    /// answered with 500, because the setting is wrong.
    ///
    /// Inside a router that removes a prefix, the layer sees a shorter path. With the feature `axum` the
    /// original path is found without this setting.
    ///
    /// # Security
    ///
    /// Do not use `Host` or `X-Forwarded-Host`, unless a proxy that you control always sets it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::layer::dpop::Dpop;
    ///
    /// // A proxy in front removes `/v1`.
    /// let dpop = Dpop::at("https://api.example")
    ///     .target_uri(|head| Some(format!("https://api.example/v1{}", head.uri().path())))
    ///     .build()?;
    /// # drop(dpop);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// ```
    pub fn target_uri<F>(mut self, target: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    {
        self.target = Some(Target::Custom(Arc::new(target)));
        self
    }

    /// Sets a function that returns the method of the client's request, for a server that answers the
    /// authentication requests of a gateway. If it returns `None`, the request is answered with 500.
    pub fn target_method<F>(mut self, method: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<Method> + Send + Sync + 'static,
    {
        self.method = Some(Arc::new(method));
        self
    }

    /// Sets the clock, for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the rules.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Invalid`] if the URL is not an `https` URL (or `http` on loopback), no algorithm or
    ///   an HMAC is listed, a time is over ten minutes, the memory has room for fewer than two proofs, or
    ///   a replay store is set although replays are allowed.
    /// - [`ConfigError::NoCrypto`] in a build without cryptography.
    pub fn build(self) -> Result<Dpop, ConfigError> {
        let refuse =
            |name: &'static str, problem: &'static str| Err(ConfigError::invalid(name, problem));
        let origin = Origin::parse(&self.public_url)?;
        if !origin.is_safe() {
            return refuse("the public URL", "http is only for loopback addresses");
        }
        let algorithms = match self.algorithms {
            None => default_algorithms(),
            Some(listed) => listed,
        };
        if algorithms.is_empty() || algorithms.iter().any(|one| one.is_hmac()) {
            return refuse("algorithms", "proofs need asymmetric algorithms");
        }
        if self.max_age.max(self.max_ahead) > LONGEST {
            return refuse(
                "max_age, max_ahead",
                "a proof is fresh for ten minutes at most",
            );
        }
        let used = match self.replay {
            Replay::Detected(proofs) if proofs < 2 => {
                return refuse("proof_capacity", "at least two proofs");
            }
            Replay::Detected(proofs) => Some(Memory::new(proofs)),
            Replay::Allowed if self.store.is_some() => {
                return refuse("dangerous_allow_replay", "conflicts with `replay_store`");
            }
            Replay::Allowed => None,
        };
        let mut canonical: Vec<_> = algorithms.into_iter().map(Algorithm::canonical).collect();
        canonical.sort_unstable();
        canonical.dedup();
        // Fails in a build without cryptography.
        crate::key::sha256_of(&[])?;
        Ok(Dpop {
            rules: Arc::new(Rules {
                checker: Checker {
                    profile: &PROFILE,
                    algorithms: canonical,
                    max_age: self.max_age,
                    max_ahead: self.max_ahead,
                    nonces: self.nonces,
                    used,
                    keys: PreparedKeys::new(PREPARED_KEYS),
                },
                required: self.required,
                store: self.store,
                target: self.target.unwrap_or(Target::Request(origin)),
                method: self.method,
                clock: self.clock,
            }),
        })
    }
}

impl fmt::Debug for DpopBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopBuilder")
            .field("public_url", &self.public_url)
            .field("required", &self.required)
            .field("nonces", &self.nonces)
            .finish_non_exhaustive()
    }
}

fn default_algorithms() -> Vec<Algorithm> {
    let all = Algorithm::ALL.into_iter();
    all.filter(|one| !one.is_hmac() && (cfg!(feature = "aws-lc-rs") || *one != Algorithm::Es512))
        .collect()
}

/// Returns the names of canonical algorithms. EdDSA on Ed25519 has two (RFC 9864).
pub(super) fn names(algorithms: &[Algorithm]) -> impl Iterator<Item = &'static str> {
    Algorithm::ALL
        .into_iter()
        .filter(|one| algorithms.contains(&one.canonical()))
        .map(Algorithm::as_str)
}

const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_AHEAD: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);
const CAPACITY: usize = 100_000;
/// Each takes up to 2 KiB.
const PREPARED_KEYS: usize = 1_000;
