//! The settings of the `JWT_*` environment, checked as a whole and turned into a layer.
//!
//! [`JwtSettings`] reads the variables below and loads the keys. It refuses every value that is invalid
//! or contradicts another one, before a port is opened. An error is one line that names the variable
//! and never contains a secret. [`layer`](JwtSettings::layer) returns the layer that authenticates
//! requests:
//!
//! ```no_run
//! use tower_jwt_auth::JwtSettings;
//!
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! let auth = JwtSettings::from_env()?.layer()?;
//! # let _ = auth;
//! # Ok(())
//! # }
//! ```
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `HOST`, `PORT` | the address to listen on; with port 0 the system chooses one | `127.0.0.1`, `3000` |
//! | `JWT_SECRET_KEY` | the HMAC secret, taken as its bytes: at least 32, 48 for HS384, 64 for HS512 | |
//! | `JWT_PUBLIC_KEY_FILE` | path of a PEM with public keys or a certificate | |
//! | `JWT_JWKS_FILE` | path of a JWK Set ([RFC 7517 §5]) | |
//! | `JWT_JWKS_URL` | URL of a JWK Set: https, or http on loopback | |
//! | `JWT_JWKS_CACHE_SECONDS` | exact time for which fetched keys are fresh: 1 to 86400 | 600, adjusted by `Cache-Control` |
//! | `JWT_JWKS_COOLDOWN_SECONDS` | minimum time between fetches that unknown kids cause: 1 to 86400 | 10 |
//! | `JWT_JWKS_TIMEOUT_SECONDS` | timeout for one whole fetch: 1 to 60 | 5 |
//! | `JWT_JWKS_STALE_SECONDS` | time for which expired keys remain in use during an outage: 0 to 604800 | 3600 |
//! | `JWT_JWKS_CA_FILE` | path of a PEM with the private CA of the key server | the platform's roots |
//! | `JWT_JWKS_ALLOW_HTTP` | `true` accepts plain http from any host for the key set, the issuer and its metadata | `false` |
//! | `JWT_ALGORITHM` | comma list; HMAC cannot be combined with other algorithms ([RFC 8725 §3.1]) | HS256 with a secret, otherwise the algorithms that the keys allow |
//! | `JWT_ISSUER` | comma list of names of one issuer; the token must contain one of them; without a key variable, the keys are discovered from the entry that is a URL | |
//! | `JWT_AUDIENCE` | comma list; the token must contain one of them | `JWT_RESOURCE` |
//! | `JWT_CLIENT_ID` | comma list; the token's client must be one of them; without `JWT_AUDIENCE`, an `aud` in the token must contain one of them too | |
//! | `JWT_VERIFY_ISS` | `false` accepts tokens of any issuer; contradicts `JWT_ISSUER` | `true` |
//! | `JWT_VERIFY_AUD` | `false` accepts tokens for any audience | `true` |
//! | `JWT_ACCEPT_ID_TOKENS` | `true` accepts ID tokens; needs `JWT_AUDIENCE` | `false` |
//! | `JWT_LEEWAY_SECONDS` | leeway for clock differences: 0 to 300 | 60 |
//! | `JWT_REQUIRED_TYP` | the only accepted `typ`; `at+jwt` enables all of [RFC 9068] and requires an issuer and an audience | `at+jwt`, `JWT` or none |
//! | `JWT_ROLES_CLAIM` | comma list of claim names and JSON Pointers (they start with `/`), merged; each optionally with a [form](#roles) after a `\|` | `roles` and `role` |
//! | `JWT_SCOPE_CLAIM` | comma list of further claims with scopes: names or JSON Pointers | |
//! | `JWT_SUBJECT_CLAIM` | the claim that holds the subject, a string or a whole number | `sub` |
//! | `JWT_CLIENT_ID_CLAIM` | comma list of claims that hold the client; the first one present is used | `client_id`, `azp` |
//! | `JWT_VERIFY_EXP`, `JWT_VERIFY_NBF`, `JWT_REQUIRE_EXP` | `false` does not check `exp`, does not check `nbf`, accepts tokens without `exp` | `true` |
//! | `JWT_VERIFY_SIGNATURE`, `JWT_VERIFY_IAT` | only `true` is accepted | `true` |
//! | `JWT_GATEWAY` | `true`: the server answers the authentication requests of a gateway ([gateway mode](crate::manual::gateways)) | `false` |
//! | `JWT_INTROSPECTION_URL` | URL of the introspection endpoint ([RFC 7662]) for opaque tokens: https, or http on loopback | from the metadata of the issuer |
//! | `JWT_INTROSPECTION_CLIENT_ID`, `JWT_INTROSPECTION_CLIENT_SECRET` | the client as which this server authenticates at the endpoint (`client_secret_basic`); they turn [introspection](crate::manual::introspection) on | |
//! | `JWT_INTROSPECTION_CACHE_SECONDS` | maximum time for which an answer is used: 0 to 3600; 0 disables the cache of answers | 60 |
//! | `JWT_INTROSPECTION_ALL` | `true`: JWTs are introspected, too, after their signature if there are keys | `false` |
//! | `JWT_BACKCHANNEL_LOGOUT` | `true`: the server receives the issuer's logout tokens (`JwtSettings::back_channel_logout`); needs `JWT_ISSUER` | `false` |
//! | `JWT_LOGOUT_CLIENT_ID` | the audience of logout tokens: the client that is registered with the issuer | `JWT_CLIENT_ID`, otherwise `JWT_AUDIENCE`, if it has one entry |
//! | `JWT_LOGOUT_STORE` | the store through which all nodes receive the logouts: `redis://…`, `postgres://…`, `sqlite:PATH` (`JwtSettings::open_back_channel_logout`, feature `server`); one store per issuer | each process keeps its logouts |
//! | `JWT_RESOURCE` | the identifier of this API, an https URL (http on loopback); scheme and host are converted to lower case; with `JWT_AUTHORIZATION_SERVERS` the layer [announces](crate::layer::resource) the API | |
//! | `JWT_AUTHORIZATION_SERVERS` | comma list of the issuers that clients get tokens from; needs `JWT_RESOURCE` | |
//! | `JWT_RESOURCE_SCOPES` | comma list of the scopes that clients can request, also the scope in the challenge to a request without a token; needs `JWT_AUTHORIZATION_SERVERS` | |
//! | `JWT_DPOP` | tokens that are bound to a key of the client ([DPoP](crate::manual::dpop)): `off` refuses them, `allowed` accepts them with a proof, `required` accepts no others; needs `JWT_RESOURCE`, whose scheme, host and port are those in every proof | `off` |
//! | `JWT_DPOP_NONCE`, `JWT_DPOP_NONCE_SECONDS` | `true` demands a nonce of this server in every proof; the time for which a nonce is valid: 10 to 86400 | `false`, 300 |
//! | `JWT_DPOP_NONCE_KEY` | at least 32 random bytes in base64url, the same on all nodes | a random key, of this process |
//! | `JWT_DPOP_REPLAY` | the memory of used proofs: `memory:` in this process, `redis://…` for several nodes (feature `redis-replay`); `none` accepts a proof repeatedly while it is fresh | `memory:` |
//! | `JWT_MTLS` | tokens that are bound to the certificate of the client ([RFC 8705]): `off` refuses them, `allowed` accepts them with the certificate, `required` refuses all others | `off` |
//! | `JWT_MTLS_HEADER` | the header in which a proxy forwards the certificate: `client-cert` (`Client-Cert`), `xfcc` (`X-Forwarded-Client-Cert`), `nginx` (`X-Client-Cert`) or `haproxy` (`X-SSL-Client-DER`), see [`CertificateHeader`]; needed by `JWT_MTLS` | |
//! | `JWT_TRUSTED_PROXIES` | comma list of the addresses and networks of the proxies whose header is read; needed by `JWT_MTLS` | |
//! | `JWT_MAX_TOKEN_BYTES` | maximum length of a token: 1024 to 1048576 | 16384 |
//! | `JWT_CACHE_ENTRIES` | size of the [cache of verified tokens](crate::manual::remembered), up to 1000000; 0 disables it | 10000 |
//!
//! Exactly one of the four key variables is required. Without any of them, `JWT_ISSUER` is required,
//! and the keys are discovered from its metadata (OpenID Connect Discovery, [RFC 8414]). No key is needed
//! with `JWT_INTROSPECTION_URL`, unless `JWT_ISSUER` is a URL: its keys are then discovered for JWTs. A key set may
//! serve many audiences, so it also needs `JWT_AUDIENCE`, `JWT_CLIENT_ID` or `JWT_VERIFY_AUD=false`
//! (RFC 8725 §3.9). It may serve many issuers too: a set from a URL needs `JWT_ISSUER` or
//! `JWT_VERIFY_ISS=false` (RFC 8725 §3.8), and a set from a file without either causes one of the
//! [`warnings`](JwtSettings::warnings). Fetching needs the feature `jwks`. [The
//! manual](crate::manual::keys) describes rotation and outages. A file is read once, at start.
//!
//! **Forms.** A switch is `true` or `1`, `false` or `0`, in any case. White space around a value is
//! ignored, except in the secret. An entry of a list cannot contain a comma; use the builder for an
//! audience that does. An empty value is refused: it is usually an unfilled variable of a template, and
//! ignoring it would drop the check.
//!
//! # Roles
//!
//! An entry of `JWT_ROLES_CLAIM` is a place: a claim's name, or a JSON Pointer ([RFC 6901]) whose steps
//! may be array indices. An optional `|` starts the form of the roles in that place:
//!
//! | roles are read from | entry |
//! |---|---|
//! | a string, which is one role, or a list of strings | `roles` |
//! | the first item of a list | `/groups/0` |
//! | a string with a separator between the roles: `space`, `comma`, or other characters | `roles\|split:space`, `roles\|split:;` |
//! | the names of an object's members, except those with `false` or `null` | `urn:zitadel:iam:org:project:roles\|names` |
//! | a member of each object in a list; a name, or a JSON Pointer | `authorities\|member:authority` |
//! | an inner object, such as that of Keycloak | `/realm_access/roles` |
//!
//! A dot is part of a name: `realm_access.roles` is a claim with this name.
//!
//! A claim whose name contains a `|` needs the builder ([`roles_at`](VerifierBuilder::roles_at),
//! [`RoleForm`](crate::verify::RoleForm)).
//!
//! # Other names
//!
//! A name that resembles one of these or extends one is refused. `JWT_AUDIANCE`, `JWT_AUD` and
//! `JWT_SECRET` would otherwise silently disable a check. Every other `JWT_VERIFY_…`, `JWT_REQUIRE…`,
//! `JWT_JWKS_…` and `JWT_INTROSPECT…` is refused too. Remaining names may belong to another program in the same
//! environment. [`JwtSettings::ignored`] lists them.
//!
//! # Security
//!
//! Eight settings disable a check. The builder method of each documents the attack that becomes
//! possible:
//!
//! - `JWT_VERIFY_ISS=false`: [`dangerous_any_issuer`](VerifierBuilder::dangerous_any_issuer)
//! - `JWT_VERIFY_AUD=false`: [`dangerous_any_audience`](VerifierBuilder::dangerous_any_audience)
//! - `JWT_ACCEPT_ID_TOKENS=true`:
//!   [`dangerous_accept_id_tokens`](VerifierBuilder::dangerous_accept_id_tokens)
//! - `JWT_VERIFY_EXP=false`: [`dangerous_ignore_expiry`](VerifierBuilder::dangerous_ignore_expiry)
//! - `JWT_REQUIRE_EXP=false`: [`dangerous_optional_expiry`](VerifierBuilder::dangerous_optional_expiry)
//! - `JWT_VERIFY_NBF=false`:
//!   [`dangerous_ignore_not_before`](VerifierBuilder::dangerous_ignore_not_before)
//! - `JWT_DPOP_REPLAY=none`:
//!   [`dangerous_allow_replay`](crate::layer::dpop::DpopBuilder::dangerous_allow_replay)
//! - `JWT_JWKS_ALLOW_HTTP=true`: `dangerous_allow_http` of `RemoteKeySetBuilder`, with a warning in the
//!   log
//!
//! In [RFC 9068] mode the switches for issuer, audience and expiry are refused.
//!
//! [RFC 6901]: https://www.rfc-editor.org/rfc/rfc6901
//! [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
//! [RFC 7517 §5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
//! [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
//! [RFC 8725 §3.1]: https://www.rfc-editor.org/rfc/rfc8725#section-3.1
//! [RFC 8705]: https://www.rfc-editor.org/rfc/rfc8705#section-3
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
//! [`CertificateHeader`]: crate::layer::mtls::CertificateHeader

pub(crate) mod dpop;
mod introspection;
pub(crate) mod keys;
mod logout;
mod mtls;
mod policy;
#[cfg(feature = "jwks")]
mod remote;
pub(crate) mod resource;
pub(crate) mod vars;

use std::{fmt, net::IpAddr};

use serde::de::DeserializeOwned;

use self::{
    dpop::Proofs,
    keys::Keys,
    logout::Logout,
    policy::Policy,
    resource::{Announcement, Variables},
    vars::{Vars, refuse},
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    layer::{jwt::JwtAuthLayer, mtls::Mtls, resource::ProtectedResource},
    principal::Claims,
    verify::{Verifier, VerifierBuilder},
};

/// The settings of the `JWT_*` environment, read and checked. See the [module](self) for the variables.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::settings::JwtSettings;
///
/// let vars = [
///     ("JWT_SECRET_KEY", "a secret of at least thirty-two bytes"),
///     ("JWT_AUDIENCE", "orders"),
/// ];
/// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let settings = JwtSettings::from_vars(vars)?;
/// let layer = settings.layer()?;
/// assert_eq!(settings.address(), ("127.0.0.1", 3000));
///
/// let typo = [("JWT_AUDIANCE".to_owned(), "orders".to_owned())];
/// assert_eq!(
///     JwtSettings::from_vars(typo).unwrap_err().to_string(),
///     "JWT_AUDIANCE: unknown variable; did you mean JWT_AUDIENCE?",
/// );
/// # let _ = layer;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct JwtSettings {
    host: String,
    port: u16,
    keys: Keys,
    policy: Policy,
    gateway: bool,
    proofs: Option<Proofs>,
    #[cfg_attr(
        not(feature = "jwks"),
        allow(dead_code, reason = "refused without the feature")
    )]
    logout: Option<Logout>,
    announcement: Option<Announcement>,
    mtls: Option<Mtls>,
    events: Events,
    ignored: Vec<String>,
}

impl JwtSettings {
    /// Reads the environment of the process, and the files that it names.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Invalid`] with the variable as its name, for the first value that is invalid,
    ///   missing, or contradicts another one.
    /// - [`ConfigError::NoCrypto`] without a cryptography feature.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(Vars::from_env()?)
    }

    /// Reads variables from a source other than the environment, such as a configuration file or a
    /// test.
    ///
    /// Names other than `HOST`, `PORT` and those that start with `JWT_` are ignored.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env), and if a variable occurs twice.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::read(Vars::new(vars)?)
    }

    /// Builds the layer that authenticates requests, with everything that these settings contain: the
    /// keys, the rules for tokens, for [proofs](JwtAuthLayer::dpop) and for the [certificates of
    /// clients](JwtAuthLayer::mtls), [gateway mode](JwtAuthLayer::gateway), the [announced
    /// resource](JwtAuthLayer::resource) and the [event sink](Self::events). The claims are [`Claims`].
    ///
    /// Call it once, and clone the layer. If the keys come from the network, it starts to fetch them and
    /// must be called within a tokio runtime. The first requests wait for the keys. To open the port
    /// only with keys, wait for [`ready`](Verifier::ready) of the layer's
    /// [`verifier`](JwtAuthLayer::verifier).
    ///
    /// With the feature `tracing`, the [ignored](Self::ignored) variables are logged as warnings.
    ///
    /// # Errors
    ///
    /// As [`verifier`](Self::verifier).
    pub fn layer(&self) -> Result<JwtAuthLayer, ConfigError> {
        self.layer_for()
    }

    /// Builds the layer of [`layer`](Self::layer) for a custom claims type. A token whose claims do not
    /// match the type is refused.
    ///
    /// # Errors
    ///
    /// As [`verifier`](Self::verifier).
    pub fn layer_for<C>(&self) -> Result<JwtAuthLayer<C>, ConfigError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        #[cfg(feature = "tracing")]
        for name in self.ignored() {
            tracing::warn!("{name} is not a known variable; ignored");
        }
        let layer = JwtAuthLayer::new(self.verifier()?).with_events(self.events.clone());
        let layer = match &self.announcement {
            Some(announcement) => announcement.apply(layer),
            None => layer,
        };
        let layer = match &self.proofs {
            Some(proofs) => layer.dpop(proofs.rules.clone()),
            None => layer,
        };
        let layer = match &self.mtls {
            Some(mtls) => layer.mtls(mtls.clone()),
            None => layer,
        };
        match self.gateway {
            true => layer.gateway().build(),
            false => Ok(layer),
        }
    }

    /// Builds a verifier from these settings, for tokens that do not come from a request. Call it once,
    /// and clone the verifier. If the keys come from the network, it starts to fetch them and must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// An error if the keys come from the network and there is no tokio runtime.
    /// [`from_env`](Self::from_env) reports all others.
    pub fn verifier<C>(&self) -> Result<Verifier<C>, ConfigError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.verifier_builder()
            .build()
            .map_err(|error| self.blame(error))
    }

    /// Returns a builder with these settings, so that the application can add options that have no
    /// variable, such as a custom check or a maximum age.
    pub fn verifier_builder<C: 'static>(&self) -> VerifierBuilder<C> {
        let builder = self.keys.start().claims::<C>();
        self.policy.apply(builder)
    }

    /// Sets the event sink. It receives the events of the keys (each fetch, and each entry of a key set
    /// that is left out), of introspection calls, and those of the requests to the [`layer`](Self::layer).
    #[must_use]
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self.keys.emit(&self.events);
        self
    }

    /// Returns the address or the name of the interface to listen on.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port to listen on. With 0 the system chooses one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port, as a listener expects them.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns `true` if the server answers the authentication requests of a gateway. The
    /// [`layer`](Self::layer) is then in [gateway mode](JwtAuthLayer::gateway).
    #[must_use]
    pub fn gateway(&self) -> bool {
        self.gateway
    }

    /// Returns the resource that `JWT_RESOURCE` names. The [`layer`](Self::layer) announces it if
    /// authorization servers are set.
    #[must_use]
    pub fn resource(&self) -> Option<&ProtectedResource> {
        self.announcement.as_ref().map(Announcement::resource)
    }

    /// Returns one line for the log for each accepted setting that leaves a check open, or that does not
    /// work with several nodes.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let by_issuer = self.keys.serve_many() && self.policy.leaves_issuer_open();
        let by_issuer = by_issuer.then_some(ANY_ISSUER).into_iter();
        let by_audience = self.keys.introspect() && self.policy.leaves_audience_open();
        let proofs = self.proofs.as_ref().and_then(|proofs| proofs.warning);
        by_issuer
            .chain(by_audience.then_some(ANY_AUDIENCE))
            .chain(proofs)
    }

    /// Returns the variables that start with `JWT_` and are unknown, for the log.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().map(String::as_str)
    }

    fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let (host, port) = read_address(&mut vars)?;
        let announcement = Variables::read(&mut vars)?.required()?;
        let identifier = announcement.as_ref().map(|own| own.resource().identifier());
        let policy = Policy::read(&mut vars, identifier)?;
        let gateway = vars.switch("JWT_GATEWAY")?.unwrap_or(false);
        let proofs = dpop::read(&mut vars, identifier, gateway)?;
        let logout = logout::read(&mut vars, &policy)?;
        let mtls = mtls::read(&mut vars)?;
        let settings = Self {
            host,
            port,
            keys: Keys::read(&mut vars, policy.issuers(), policy.leaves_issuer_open())?,
            logout,
            policy,
            gateway,
            proofs,
            announcement,
            mtls,
            events: Events::default(),
            ignored: vars.into_ignored(),
        };
        // Runs the builder's checks before the port opens. Nothing is fetched yet.
        match settings.verifier_builder::<Claims>().validate() {
            Ok(()) => Ok(settings),
            Err(error) => Err(settings.blame(error)),
        }
    }

    /// Replaces an option's name in an error of the builder by that of the variable.
    fn blame(&self, error: ConfigError) -> ConfigError {
        let source = self.keys.variable();
        match error {
            ConfigError::AudienceRequired => ConfigError::invalid(
                source,
                "a key set serves many audiences: set JWT_AUDIENCE or JWT_CLIENT_ID, or \
                 JWT_VERIFY_AUD=false to accept tokens for any audience",
            ),
            ConfigError::IssuerRequired => ConfigError::invalid(
                source,
                "keys from a URL may sign for many issuers: set JWT_ISSUER, or JWT_VERIFY_ISS=false \
                 to accept tokens of any issuer",
            ),
            ConfigError::Algorithm(problem) => ConfigError::invalid("JWT_ALGORITHM", problem),
            ConfigError::MixedFamilies => {
                ConfigError::invalid(format!("JWT_ALGORITHM, {source}"), error.to_string())
            }
            ConfigError::Invalid { name, problem } => match policy::variable(&name) {
                Some(variable) => ConfigError::invalid(variable, problem),
                None => ConfigError::Invalid { name, problem },
            },
            other => other,
        }
    }
}

impl fmt::Debug for JwtSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSettings")
            .field("address", &self.address())
            .field("keys", &self.keys)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

const ANY_ISSUER: &str = "JWT_JWKS_FILE: without JWT_ISSUER, tokens of every issuer pass whose \
                          key is in the set; JWT_VERIFY_ISS=false says that this is meant";

const ANY_AUDIENCE: &str = "JWT_INTROSPECTION_CLIENT_ID: without JWT_AUDIENCE, introspected tokens for other \
                            APIs pass, and refresh tokens that their server calls active; \
                            JWT_VERIFY_AUD=false says that this is meant";

pub(crate) fn read_address(vars: &mut Vars) -> Result<(String, u16), ConfigError> {
    let host = read_host(vars)?;
    let port = vars.number("PORT", 0..=65_535)?.unwrap_or(3000);
    Ok((host, u16::try_from(port).unwrap_or_default()))
}

fn read_host(vars: &mut Vars) -> Result<String, ConfigError> {
    let Some(text) = vars.text("HOST")? else {
        return Ok("127.0.0.1".to_owned());
    };
    // `[::1]`, as in a URL.
    let host = text.trim_start_matches('[').trim_end_matches(']');
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = host
        .chars()
        .all(|one| one.is_ascii_alphanumeric() || "-._".contains(one))
        // A name that ends in a number is an invalid IPv4 address.
        && !last.chars().all(|one| one.is_ascii_digit());
    if is_name || host.parse::<IpAddr>().is_ok() {
        Ok(host.to_owned())
    } else {
        let text = text.escape_debug();
        let problem = format!("`{text}` is neither an IP address nor a host name");
        Err(refuse("HOST", problem))
    }
}
