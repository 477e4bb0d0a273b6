//! Token introspection: [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662).
//!
//! Some authorization servers issue *opaque* access tokens, which only that server can read. A protected
//! resource posts such a token to the server's introspection endpoint, and the answer has the members that
//! a JWT has as claims.
//!
//! [`Introspection`] is a setting of a [`Verifier`](crate::Verifier): the verifier of one issuer verifies
//! that issuer's JWTs with its keys, and its opaque tokens by introspection. Everything behind it is the
//! same for both: [`Verified`](crate::Verified), [`Principal`](crate::Principal), guards, the revocation
//! check.
//!
//! ```no_run
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower_jwt_auth::{Verifier, verify::introspection::Introspection};
//!
//! // JWTs by the published keys; opaque tokens by the endpoint in the same metadata.
//! let endpoint = Introspection::discovered().basic("orders", "the secret of this client");
//! let verifier = Verifier::oidc("https://login.example")
//!     .audience("orders")
//!     .introspection(endpoint)
//!     .build()?;
//!
//! // Another authorization server, whose access tokens are all opaque and start with `ory_at_`.
//! let endpoint = Introspection::at("https://as.example/introspect")
//!     .basic("orders", "a secret")
//!     .prefix("ory_at_");
//! let opaque = Verifier::introspected(endpoint)
//!     .issuer("https://as.example")
//!     .audience("orders")
//!     .build()?;
//!
//! // Both: a JWT goes by its issuer, an opaque token by its prefix. A token is never sent to a server that
//! // may not be its issuer's.
//! let both = Verifier::by_issuer([verifier, opaque])?;
//! # let _ = both;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! ```
//!
//! [The manual](crate::manual::introspection) describes the cache, failures and the limits of the
//! protection.

mod answers;
mod authentication;
mod client;
mod flights;
mod strategy;

use std::{fmt, sync::Arc, time::Duration};

use http::Uri;

pub(crate) use self::flights::{AnswerWait, Answered};
pub(super) use self::strategy::{Introspected, is_jwt};
use self::{
    authentication::Authentication,
    client::{Client, Endpoint},
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    key::{
        SigningKey,
        remote::{HttpFetch, Issuer, is_safe},
    },
    secret::Secret,
    time::Clock,
};

/// The settings for the introspection of tokens (RFC 7662).
///
/// The verifier that [takes](super::VerifierBuilder::introspection) them checks them when it is built, and
/// must then be built within a tokio runtime.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "aws-lc-rs", feature = "test-util"))]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use tower_jwt_auth::{
///     Verifier, test_util::IntrospectionFixture, verify::introspection::Introspection,
/// };
///
/// let server = IntrospectionFixture::start();
/// server.activate("opaque-1", json!({ "sub": "alice", "aud": "orders", "exp": 4_102_444_800_u64 }));
///
/// let endpoint = Introspection::at(server.url()).basic("orders", "secret");
/// let verifier = Verifier::introspected(endpoint).audience("orders").build()?;
///
/// let caller = verifier.verify("opaque-1").await?.principal();
/// assert_eq!(caller.subject(), Some("alice"));
/// // The answer is cached.
/// assert!(verifier.verify("opaque-1").await.is_ok());
/// assert_eq!(server.hits(), 1);
///
/// let unknown = verifier.verify("opaque-2").await.unwrap_err();
/// assert_eq!(unknown.as_str(), "inactive");
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "aws-lc-rs", feature = "test-util")))]
/// # fn main() {}
/// ```
#[derive(Clone)]
#[must_use = "nothing is introspected before a verifier takes these settings"]
pub struct Introspection {
    place: Place,
    authentication: Option<Authentication>,
    prefix: Option<String>,
    all: bool,
    cache_for: Duration,
    timeout: Duration,
    calls: usize,
    max_bytes: usize,
    roots: Vec<Vec<u8>>,
    allow_http: bool,
    events: Events,
}

/// The location of the endpoint, which is not validated yet.
#[derive(Clone)]
enum Place {
    Url(String),
    Discovered,
}

impl Introspection {
    /// Creates settings for the endpoint at a URL: https, or http on a loopback address.
    pub fn at(url: impl Into<String>) -> Self {
        Self::new(Place::Url(url.into()))
    }

    /// Creates settings for the `introspection_endpoint` in the issuer's metadata (RFC 8414 §2).
    ///
    /// The issuer is the one whose metadata name the verifier's keys ([`Verifier::oidc`]), otherwise the
    /// only expected [`issuer`](super::VerifierBuilder::issuer). The metadata are read when the first token
    /// is introspected, and again after an hour.
    ///
    /// [`Verifier::oidc`]: crate::Verifier::oidc
    pub fn discovered() -> Self {
        Self::new(Place::Discovered)
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            authentication: None,
            prefix: None,
            all: false,
            cache_for: DEFAULT_CACHE,
            timeout: DEFAULT_TIMEOUT,
            calls: DEFAULT_CALLS,
            max_bytes: DEFAULT_MAX_BYTES,
            roots: Vec::new(),
            allow_http: false,
            events: Events::default(),
        }
    }

    /// Authenticates this server with its identifier and secret in the header `Authorization`
    /// (`client_secret_basic`). Both are form-encoded first (RFC 6749 §2.3.1).
    pub fn basic(self, client: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = Secret::new(secret.into());
        self.authenticated(Authentication::Basic(client.into(), secret))
    }

    /// Authenticates this server with its identifier and secret in the body (`client_secret_post`).
    pub fn post(self, client: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = Secret::new(secret.into());
        self.authenticated(Authentication::Post(client.into(), secret))
    }

    /// Authenticates this server with a JWT that its key signs for each call (`private_key_jwt`, RFC 7523
    /// §2.2). The JWT's audience is the issuer, or the endpoint's URL if no single issuer is expected.
    pub fn private_key_jwt(self, client: impl Into<String>, key: SigningKey) -> Self {
        self.authenticated(Authentication::Assertion(client.into(), Arc::new(key)))
    }

    /// Authenticates this server with an access token of its own (RFC 7662 §2.1).
    pub fn bearer(self, token: impl Into<String>) -> Self {
        self.authenticated(Authentication::Bearer(Secret::new(token.into())))
    }

    fn authenticated(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Sets the prefix of the tokens that are introspected here. Another opaque token is refused without a
    /// call.
    ///
    /// Of several verifiers that introspect tokens, at most one can be without a prefix. The longest
    /// matching prefix selects the verifier.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Introspects JWTs, too, after their signature and claims, for the authorization server's decision
    /// about each of them. The result has the claims of the answer.
    ///
    /// A verifier without keys must expect an issuer, so that JWTs of other issuers are not sent to this
    /// server.
    pub fn all_tokens(mut self) -> Self {
        self.all = true;
        self
    }

    /// Sets the maximum time for which an answer is used, up to 1 h. The default is 60 s. With 0, every
    /// request causes a call.
    ///
    /// An answer is never used after the token's `exp`. A refusal is used for 5 s at most. The number of
    /// answers is the verifier's [`cache_capacity`](super::VerifierBuilder::cache_capacity).
    ///
    /// # Security
    ///
    /// A token that the authorization server has revoked is accepted for this long.
    pub fn cache_for(mut self, time: Duration) -> Self {
        self.cache_for = time;
        self
    }

    /// Sets the timeout of a call, including the time in the queue and the discovery of the endpoint. The
    /// maximum is 60 s, the default 5 s. The response is then 503.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the number of calls at the same time. The default is 64. Up to 1024 further tokens wait in the
    /// order of their arrival. The response to more is 503.
    pub fn max_concurrent_calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// Sets the maximum size of an answer in bytes. The default is 64 KiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Adds a trusted root certificate in PEM, for example of a private CA. These certificates *replace*
    /// those of the platform. May be called repeatedly.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Sets the event sink. It receives one event for each call.
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with_events(Events::to(sink))
    }

    pub(crate) fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// Accepts plain http from any host, for the endpoint and for the metadata that name it.
    ///
    /// # Security
    ///
    /// An attacker on the path reads every token and this server's secret, and can answer that any token is
    /// active. Use it only in a trusted network, such as an encrypting service mesh.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allow_http = true;
        self
    }

    pub(super) fn introspects_jwts(&self) -> bool {
        self.all
    }

    /// Validates the settings for a verifier that expects these issuers. `discovered` is the one whose
    /// metadata name the keys.
    pub(super) fn check(
        &self,
        discovered: Option<&str>,
        issuers: &[String],
    ) -> Result<(), ConfigError> {
        let refuse = |problem: &'static str| Err(ConfigError::invalid("introspection", problem));
        let Some(authentication) = &self.authentication else {
            return refuse("needs the authentication of this server (RFC 7662 §2.1)");
        };
        authentication.check()?;
        if self.prefix.as_deref().is_some_and(str::is_empty) {
            return refuse("an empty prefix");
        }
        if self.cache_for > MAX_CACHE {
            return refuse("the cache time is more than 1 h");
        }
        if self.timeout < MIN_TIMEOUT || self.timeout > MAX_TIMEOUT {
            return refuse("the timeout is not between 1 ms and 60 s");
        }
        if self.calls == 0 || self.calls > MAX_CALLS || self.max_bytes == 0 {
            return refuse("a limit is zero or too large");
        }
        self.endpoint(discovered, issuers).map(drop)
    }

    fn endpoint(
        &self,
        discovered: Option<&str>,
        issuers: &[String],
    ) -> Result<Endpoint, ConfigError> {
        let refuse = |problem: &'static str| Err(ConfigError::invalid("introspection", problem));
        match &self.place {
            Place::Url(url) => match url.parse::<Uri>() {
                Ok(url) if is_safe(&url, self.allow_http) => Ok(Endpoint::at(url)),
                Ok(_) => refuse(
                    "not an https URL without credentials (http is accepted from loopback only)",
                ),
                Err(_) => refuse("not a URL"),
            },
            Place::Discovered => match discovered.or(only(issuers)) {
                Some(issuer) => Issuer::new(issuer, self.allow_http).map(Endpoint::of),
                None => refuse("an endpoint can be discovered from a single issuer only"),
            },
        }
    }

    /// Creates what makes the calls, after [`check`](Self::check).
    pub(super) fn start(
        self,
        discovered: Option<&str>,
        issuers: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Started, ConfigError> {
        self.check(discovered, issuers)?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::invalid("build", "must be called within a tokio runtime"))?;
        let endpoint = self.endpoint(discovered, issuers)?;
        let http = HttpFetch::new(&self.roots, endpoint.is_https(), self.max_bytes)?;
        let audience = discovered.or(only(issuers)).map(str::to_owned);
        let Some(authentication) = self.authentication else {
            return Err(ConfigError::invalid("introspection", "no authentication"));
        };
        #[cfg(feature = "tracing")]
        if self.allow_http {
            tracing::warn!(
                "tokens may be introspected over plain http: an attacker on the path can read and \
                 replace everything"
            );
        }
        let client = Client {
            http,
            endpoint,
            authentication,
            audience,
            timeout: self.timeout,
            clock,
            reports: std::sync::Mutex::default(),
            events: self.events,
        };
        Ok(Started {
            client,
            runtime,
            prefix: self.prefix.map(String::into_boxed_str),
            all: self.all,
            cache_for: self.cache_for,
            calls: self.calls,
        })
    }
}

/// The parts of a verifier that introspects tokens.
pub(super) struct Started {
    client: Client,
    runtime: tokio::runtime::Handle,
    prefix: Option<Box<str>>,
    all: bool,
    cache_for: Duration,
    calls: usize,
}

fn only(issuers: &[String]) -> Option<&str> {
    match issuers {
        [one] => Some(one),
        _ => None,
    }
}

impl fmt::Debug for Introspection {
    // Neither the secret nor the query of the URL, which may be one, is printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Url(url) => url.split(['?', '#']).next().unwrap_or_default(),
            Place::Discovered => "discovered",
        };
        f.debug_struct("Introspection")
            .field("endpoint", &place)
            .field("cache_for", &self.cache_for)
            .finish_non_exhaustive()
    }
}

const DEFAULT_CACHE: Duration = Duration::from_secs(60);
const MAX_CACHE: Duration = Duration::from_secs(3600);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_CALLS: usize = 64;
const MAX_CALLS: usize = 1024;
/// Claims with all groups of a large company fit in.
const DEFAULT_MAX_BYTES: usize = 64 * 1024;
