//! The builder of a remote key set.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use http::Uri;

use super::{
    Handle, RemoteKeySet,
    client::HttpFetch,
    discovery::Issuer,
    fetch::{Fetcher, is_safe},
    loaded::Numbers,
    refresh::{Closing, Origin, Worker},
    report::Reports,
    state::Shared,
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    time::{Clock, SystemClock},
};

/// A builder of a [`RemoteKeySet`]. [`build`](Self::build) validates all values.
#[must_use = "nothing is fetched before `build` is called"]
pub struct RemoteKeySetBuilder<F = HyperFetcher> {
    place: Place,
    allow_http: bool,
    numbers: Numbers,
    max_bytes: usize,
    roots: Vec<Vec<u8>>,
    clock: Arc<dyn Clock>,
    events: Events,
    client: F,
}

/// The location of the keys, which is not validated yet.
enum Place {
    Jwks(String),
    Issuer(String),
}

/// A marker for the HTTP client of this crate, which is created when the set is built.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HyperFetcher;

impl RemoteKeySetBuilder {
    pub(super) fn jwks(url: &str) -> Self {
        Self::new(Place::Jwks(url.to_owned()))
    }

    pub(super) fn oidc(issuer: &str) -> Self {
        Self::new(Place::Issuer(issuer.to_owned()))
    }

    /// Returns the issuer, if the keys are found through its metadata.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.place {
            Place::Issuer(issuer) => Some(issuer),
            Place::Jwks(_) => None,
        }
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            allow_http: false,
            numbers: Numbers {
                max_age: None,
                cooldown: Duration::from_secs(10),
                timeout: Duration::from_secs(5),
                wait: Duration::from_secs(2),
                stale: Duration::from_secs(3600),
                max_keys: 100,
            },
            max_bytes: 512 * 1024,
            roots: Vec::new(),
            clock: Arc::new(SystemClock::new()),
            events: Events::default(),
            client: HyperFetcher,
        }
    }

    /// Sets a custom HTTP client.
    ///
    /// [`root_certificate`](Self::root_certificate), [`max_bytes`](Self::max_bytes) and the proxy
    /// from the environment apply only to this crate's client.
    pub fn fetch<F: Fetcher>(self, client: F) -> RemoteKeySetBuilder<F> {
        RemoteKeySetBuilder {
            place: self.place,
            allow_http: self.allow_http,
            numbers: self.numbers,
            max_bytes: self.max_bytes,
            roots: self.roots,
            clock: self.clock,
            events: self.events,
            client,
        }
    }

    /// Adds a trusted root certificate in PEM, for example of a private CA. These certificates
    /// *replace* those of the platform. May be called repeatedly.
    ///
    /// If the URL is https and no certificate is set, [`build`](Self::build) returns an error on a
    /// platform without certificates, such as a minimal container.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Sets the maximum size of a document in bytes. The default is 512 KiB. A larger document is a
    /// failed fetch.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Builds the key set and starts the first fetch in a task on the current runtime.
    ///
    /// An unreachable provider is not an error: the response to requests is 503 until the provider
    /// is available. To fail at start instead, await [`RemoteKeySet::ready`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the URL, a number or a certificate is invalid, if platform
    /// certificates are
    /// required but missing, or if there is no tokio runtime.
    pub fn build(self) -> Result<RemoteKeySet, ConfigError> {
        self.standard()?.build()
    }

    /// Builds the key set and the future that fetches its keys, which you can run on any tokio
    /// runtime.
    ///
    /// Run the future immediately. Until it runs, a request that needs keys waits for
    /// [`wait`](Self::wait), and the response is 503. The future completes when the last clone of
    /// the set is dropped. If the future is dropped earlier, no more fetches are made, and the
    /// fetched keys are used until they are too old.
    ///
    /// # Errors
    ///
    /// The errors of [`build`](Self::build), except for a missing runtime.
    pub fn build_pair(
        self,
    ) -> Result<(RemoteKeySet, impl Future<Output = ()> + Send + use<>), ConfigError> {
        self.standard()?.build_pair()
    }

    fn standard(self) -> Result<RemoteKeySetBuilder<HttpFetch>, ConfigError> {
        let needs_roots = self.origin().is_ok_and(|origin| origin.is_https());
        let client = HttpFetch::new(&self.roots, needs_roots, self.max_bytes)?;
        Ok(self.fetch(client))
    }
}

impl<F> RemoteKeySetBuilder<F> {
    /// Accepts plain http from any host, for the key set, the issuer, its metadata and the
    /// `jwks_uri` in the metadata. A warning is logged when the fetch task starts.
    ///
    /// # Security
    ///
    /// An attacker on the path to the key server can then replace the keys, and sign in as any
    /// user. Use it only in a trusted network, such as an encrypting service mesh or a private
    /// container network. Without it, http is accepted only from a loopback address.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// Sets the exact time for which keys are fresh: 1 s to 24 h. The keys are refreshed in the
    /// background after about 80 % of this time, even without requests.
    ///
    /// By default the time is `max-age` of `Cache-Control`, limited to 60 s to 1 h, or 10 minutes
    /// without that header.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.numbers.max_age = Some(max_age);
        self
    }

    /// Sets the minimum time between fetches for unknown `kid` values, after a burst of two. The
    /// range is 1 s to 24 h, the default 10 s.
    ///
    /// For the same time, a `kid` that a fetch did not find counts as unknown without another
    /// fetch.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.numbers.cooldown = cooldown;
        self
    }

    /// Sets the timeout of a complete fetch, including discovery and redirects. The maximum is 60
    /// s, the default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.numbers.timeout = timeout;
        self
    }

    /// Sets the time for which a request waits for keys before the response is 503. The maximum is
    /// 60 s or `timeout`, whichever is shorter; the default is 2 s. The fetch continues.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.numbers.wait = wait;
        self
    }

    /// Sets the time for which stale keys are used while the provider is unreachable, counted from
    /// the end of `max_age`. The maximum is 7 days, the default 1 h. With 0, stale keys are not
    /// used.
    ///
    /// Keys become stale only if fetches fail, because an idle node refreshes its keys, too. A key
    /// that the issuer withdraws during an outage is accepted until the outage ends or `max_age`
    /// plus this time has passed.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.numbers.stale = stale;
        self
    }

    /// Sets the maximum number of keys in a document. The default is 100.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.numbers.max_keys = keys;
        self
    }

    /// Sets the clock for ages. The default is the operating system's clock. If a verifier builds
    /// the set ([`Verifier::remote`](crate::Verifier::remote)), the verifier's clock replaces it.
    ///
    /// The fetch task sleeps by tokio's clock, and reads this clock when it wakes up. If a test
    /// moves this clock forward, the next lookup starts the fetch that is due.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the event sink, which receives an event for every fetch. It is called in the fetch
    /// task. Another call replaces the sink.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    pub(crate) fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    fn origin(&self) -> Result<Origin, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("jwks", problem);
        match &self.place {
            Place::Jwks(url) => match url.parse::<Uri>() {
                Ok(url) if is_safe(&url, self.allow_http) => Ok(Origin::Jwks(url)),
                Ok(_) => Err(refuse(
                    "not an https URL without credentials (http is accepted from loopback only)",
                )),
                Err(_) => Err(refuse("not a URL")),
            },
            Place::Issuer(name) => Issuer::new(name, self.allow_http).map(Origin::Issuer),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let range = |name: &'static str, value: Duration, least: Duration, most: Duration| {
            if value < least || value > most {
                let problem = format!("not between {least:?} and {most:?}");
                return Err(ConfigError::invalid(name, problem));
            }
            Ok(())
        };
        let second = Duration::from_secs(1);
        let instant = Duration::from_millis(1);
        let numbers = &self.numbers;
        if let Some(max_age) = numbers.max_age {
            range("max_age", max_age, second, DAY)?;
        }
        range("cooldown", numbers.cooldown, second, DAY)?;
        range("timeout", numbers.timeout, instant, Duration::from_secs(60))?;
        range("wait", numbers.wait, instant, Duration::from_secs(60))?;
        range("stale", numbers.stale, Duration::ZERO, 7 * DAY)?;
        if numbers.max_keys == 0 || self.max_bytes == 0 {
            return Err(ConfigError::invalid(
                "limits",
                "zero would refuse every document",
            ));
        }
        Ok(())
    }
}

impl<F: Fetcher> RemoteKeySetBuilder<F> {
    /// Builds the key set and starts the first fetch in a task on the current runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the URL or a number is invalid, or if there is no tokio runtime.
    pub fn build(self) -> Result<RemoteKeySet, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::invalid("build", "must be called within a tokio runtime"))?;
        let (keys, worker) = self.build_pair()?;
        keys.handle.own(runtime.spawn(worker).abort_handle());
        Ok(keys)
    }

    /// Builds the key set and the future that fetches its keys, which you can run on any tokio
    /// runtime.
    ///
    /// Run the future immediately. Until it runs, a request that needs keys waits for
    /// [`wait`](Self::wait), and the response is 503. The future completes when the last clone of
    /// the set is dropped. If the future is dropped earlier, no more fetches are made, and the
    /// fetched keys are used until they are too old.
    ///
    /// # Errors
    ///
    /// The errors of [`build`](Self::build), except for a missing runtime.
    pub fn build_pair(
        self,
    ) -> Result<(RemoteKeySet, impl Future<Output = ()> + Send + use<F>), ConfigError> {
        self.check()?;
        let origin = self.origin()?;
        let mut numbers = self.numbers;
        // A request never waits longer than the fetch may take.
        numbers.wait = numbers.wait.min(numbers.timeout);
        let shared = Arc::new(Shared::new(numbers, self.clock));
        let worker = Worker {
            shared: Arc::clone(&shared),
            client: self.client,
            origin,
            allow_http: self.allow_http,
            events: self.events,
            found: None,
            reports: Reports::default(),
            _closing: Closing(Arc::clone(&shared)),
        };
        shared.begin();
        let keys = RemoteKeySet {
            handle: Arc::new(Handle::new(shared)),
        };
        Ok((keys, worker.run()))
    }
}

impl<F> fmt::Debug for RemoteKeySetBuilder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeySetBuilder")
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}
