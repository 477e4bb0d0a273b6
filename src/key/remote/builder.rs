//! Builds a remote key set.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use http::Uri;

use super::{
    Handle, RemoteKeySet,
    client::HttpFetch,
    discovery::Issuer,
    fetch::{Fetch, is_safe},
    loaded::Numbers,
    refresh::{Closing, Origin, Worker},
    report::Reports,
    state::Shared,
};
use crate::{
    clock::{Clock, SystemClock},
    error::ConfigError,
    event::{EventSink, Events},
};

/// Builds a [`RemoteKeySet`]. Every number is checked by [`build`](Self::build).
#[must_use = "nothing is fetched before `build` is called"]
pub struct RemoteKeySetBuilder<F = Standard> {
    place: Place,
    allow_http: bool,
    numbers: Numbers,
    max_bytes: usize,
    roots: Vec<Vec<u8>>,
    clock: Arc<dyn Clock>,
    events: Events,
    client: F,
}

/// The place of the keys, which is not checked yet.
enum Place {
    Jwks(String),
    Issuer(String),
}

/// Stands for the crate's own HTTP client, which is made when the set is built.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Standard;

impl RemoteKeySetBuilder {
    pub(super) fn jwks(url: &str) -> Self {
        Self::new(Place::Jwks(url.to_owned()))
    }

    pub(super) fn oidc(issuer: &str) -> Self {
        Self::new(Place::Issuer(issuer.to_owned()))
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
            client: Standard,
        }
    }

    /// Fetches with a custom client.
    ///
    /// [`root_certificate`](Self::root_certificate), [`max_bytes`](Self::max_bytes) and the proxy of
    /// the environment are for the crate's client. They have no effect on another one.
    pub fn fetch<F: Fetch>(self, client: F) -> RemoteKeySetBuilder<F> {
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

    /// Trusts these certificates, in PEM, *instead of* the platform's: a private CA. May be
    /// repeated.
    ///
    /// A platform that has none, as a minimal container, is an error of [`build`](Self::build)
    /// where the URL is https and none are named here.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// The largest document that is read, in bytes; 512 KiB by default. One that is larger is a
    /// failed fetch.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The key set, with its first fetch under way in a task on the current runtime.
    ///
    /// A provider that is down is no error: requests are answered with 503 until it is back. To
    /// fail at start instead, await [`RemoteKeySet::ready`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a bad URL, number or certificate, no platform certificates where
    /// some are needed, or no tokio runtime to fetch on.
    pub fn build(self) -> Result<RemoteKeySet, ConfigError> {
        self.standard()?.build()
    }

    /// The key set, and the future that fetches for it, to be run wherever one likes within tokio.
    ///
    /// Run it at once: requests that need keys wait for as long as it exists and does not run. It
    /// ends with the last clone of the set. Dropped earlier, it ends the fetching: the keys at hand
    /// serve until they are too old.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), but for the runtime.
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
    /// Accepts plain http from any host: for the key set, the issuer, its metadata and the
    /// `jwks_uri` that they name. A warning is logged when the fetching starts.
    ///
    /// # Security
    ///
    /// Anyone on the way to the key server can then replace the keys, and sign in as any user. Use it
    /// only where the network itself is trusted: a service mesh that encrypts, a private network of
    /// containers. Without it http is accepted from a loopback address only.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    /// How long keys count as fresh, exactly: 1 s to 24 h. They are refreshed in the background at
    /// about 80 % of it, whether requests come or not.
    ///
    /// By default ten minutes, or what `Cache-Control` says within 60 s to one hour.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.numbers.max_age = Some(max_age);
        self
    }

    /// The least time between fetches that unknown kids cause, after a burst of two: 1 s to 24 h,
    /// 10 s by default.
    ///
    /// It is also how long a kid that was not found is taken for unknown without asking again.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.numbers.cooldown = cooldown;
        self
    }

    /// The limit on one whole fetch, discovery and redirects included: at most 60 s, 5 s by
    /// default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.numbers.timeout = timeout;
        self
    }

    /// How long a request waits for keys before it is answered with 503: at most 60 s and no longer
    /// than `timeout`, 2 s by default. The fetch goes on.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.numbers.wait = wait;
        self
    }

    /// How long old keys serve while the provider cannot be reached, counted from the end of their
    /// `max_age`: up to seven days, one hour by default. 0 gives up stale keys altogether.
    ///
    /// Keys do not grow old for want of traffic: an idle node refreshes like a busy one, and only
    /// failed fetches bring it here. A key that its issuer withdraws during an outage is accepted
    /// until the outage ends or `max_age` and this have passed.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.numbers.stale = stale;
        self
    }

    /// The most keys in a document; 100 by default.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.numbers.max_keys = keys;
        self
    }

    /// The clock for ages; the operating system's by default. A verifier that builds the set
    /// ([`Verifier::remote`](crate::Verifier::remote)) puts its own in its place.
    ///
    /// The task that fetches sleeps by tokio's clock and asks this one when it wakes: where a test
    /// moves it ahead, the next look-up starts the fetch that is due.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who is told of every fetch, for counters and alarms; it is called in the fetching task. The
    /// last sink counts.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    pub(crate) fn telling(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    fn origin(&self) -> Result<Origin, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("jwks", problem);
        match &self.place {
            Place::Jwks(url) => match url.parse::<Uri>() {
                Ok(url) if is_safe(&url, self.allow_http) => Ok(Origin::Jwks(url)),
                Ok(_) => Err(refuse(
                    "not an https URL without credentials (http is for loopback alone)",
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
                let problem = format!("not within {least:?} to {most:?}");
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
            return Err(ConfigError::invalid("limits", "no document would fit"));
        }
        Ok(())
    }
}

impl<F: Fetch> RemoteKeySetBuilder<F> {
    /// The key set, with its first fetch under way in a task on the current runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: a bad URL or number, or no tokio runtime to fetch on.
    pub fn build(self) -> Result<RemoteKeySet, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::invalid("build", "must be called within a tokio runtime"))?;
        let (keys, worker) = self.build_pair()?;
        keys.handle.own(runtime.spawn(worker).abort_handle());
        Ok(keys)
    }

    /// The key set, and the future that fetches for it, to be run wherever one likes within tokio.
    ///
    /// Run it at once: requests that need keys wait for as long as it exists and does not run. It
    /// ends with the last clone of the set. Dropped earlier, it ends the fetching: the keys at hand
    /// serve until they are too old.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), but for the runtime.
    pub fn build_pair(
        self,
    ) -> Result<(RemoteKeySet, impl Future<Output = ()> + Send + use<F>), ConfigError> {
        self.check()?;
        let origin = self.origin()?;
        let mut numbers = self.numbers;
        // Nobody waits longer than the fetch itself may take.
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
