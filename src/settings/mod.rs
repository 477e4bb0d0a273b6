//! The `JWT_*` environment, checked as a whole and turned into a verifier.
//!
//! [`JwtSettings`] reads the variables below, loads the keys, and refuses every value that is bad
//! or contradicts another one before a port is opened. A refusal is one line that names the
//! variable; a secret is never in it.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `HOST`, `PORT` | where a server listens; port 0 lets the system choose | `127.0.0.1`, `3000` |
//! | `JWT_SECRET_KEY` | the HMAC secret, taken as its bytes: at least 32, 48 for HS384, 64 for HS512 | |
//! | `JWT_PUBLIC_KEY_FILE` | path of a PEM with public keys or a certificate | |
//! | `JWT_JWKS_FILE` | path of a JWK Set ([RFC 7517 §5]) | |
//! | `JWT_JWKS_URL` | where a JWK Set is published: https, or http on loopback | |
//! | `JWT_JWKS_CACHE_SECONDS` | how long fetched keys are fresh, exactly: 1 to 86400 | 600, moved by `Cache-Control` |
//! | `JWT_JWKS_COOLDOWN_SECONDS` | least time between fetches that unknown kids cause: 1 to 86400 | 10 |
//! | `JWT_JWKS_TIMEOUT_SECONDS` | for one whole fetch: 1 to 60 | 5 |
//! | `JWT_JWKS_STALE_SECONDS` | how long old keys serve on in an outage, past their time: 0 to 604800 | 3600 |
//! | `JWT_JWKS_CA_FILE` | path of a PEM with the private CA of the key server | the platform's roots |
//! | `JWT_JWKS_ALLOW_HTTP` | `true` accepts plain http from any host for the key set, the issuer and its metadata | `false` |
//! | `JWT_ALGORITHM` | comma list; HMAC never together with the others ([RFC 8725 §3.1]) | HS256 with a secret, else what the keys allow |
//! | `JWT_ISSUER` | comma list of names of one issuer; one of them is required in the token; without a key the one that is a URL says where the keys are | |
//! | `JWT_AUDIENCE` | comma list; one of them is required in the token | |
//! | `JWT_CLIENT_ID` | comma list; one of them is required as the client; without `JWT_AUDIENCE` an `aud` that is present must name one of them, too | |
//! | `JWT_VERIFY_ISS` | `false` accepts tokens of any issuer; contradicts `JWT_ISSUER` | `true` |
//! | `JWT_VERIFY_AUD` | `false` accepts tokens for any audience | `true` |
//! | `JWT_ACCEPT_ID_TOKENS` | `true` accepts ID tokens; needs `JWT_AUDIENCE` | `false` |
//! | `JWT_LEEWAY_SECONDS` | 0 to 300 | 60 |
//! | `JWT_REQUIRED_TYP` | the only `typ` accepted; `at+jwt` demands all of [RFC 9068], hence an issuer and an audience | `at+jwt`, `JWT` or none |
//! | `JWT_ROLES_CLAIM` | comma list of claim names and JSON Pointers (they start with `/`), merged; each with a [form](#roles) behind a `\|` | `roles` and `role` |
//! | `JWT_SCOPE_CLAIM` | comma list of further claims with scopes: names or JSON Pointers | |
//! | `JWT_SUBJECT_CLAIM` | the claim that holds the subject, a string or a whole number | `sub` |
//! | `JWT_CLIENT_ID_CLAIM` | comma list of claims that hold the client; the first one present counts | `client_id`, `azp` |
//! | `JWT_VERIFY_EXP`, `JWT_VERIFY_NBF`, `JWT_REQUIRE_EXP` | whether `exp` and `nbf` are looked at, and whether `exp` must be there | `true` |
//! | `JWT_VERIFY_SIGNATURE`, `JWT_VERIFY_IAT` | only `true` is accepted | `true` |
//! | `JWT_GATEWAY` | `true`: the server answers the authentication requests of a gateway ([gateway mode](crate::manual::gateways)) | `false` |
//! | `JWT_MAX_TOKEN_BYTES` | longest token that is read: 1024 to 1048576 | 16384 |
//! | `JWT_CACHE_ENTRIES` | how many verified tokens are remembered, up to 1000000; 0 is none | 10000 |
//!
//! Exactly one of the four keys is given, or none and `JWT_ISSUER`: its keys are then found through
//! its metadata (OpenID Connect Discovery, [RFC 8414]). A key set serves many audiences, so that it
//! needs `JWT_AUDIENCE`, `JWT_CLIENT_ID` or `JWT_VERIFY_AUD=false` beside it (RFC 8725 §3.9). It may
//! serve many issuers, too: a set from a URL needs `JWT_ISSUER` or `JWT_VERIFY_ISS=false` (RFC 8725
//! §3.8), and a set from a file without either is one of the [`warnings`](JwtSettings::warnings).
//! Fetching needs the feature `jwks`; [the manual](crate::manual::keys) tells the life of such keys.
//! A file is read once, at start.
//!
//! **Forms.** A switch is `true` or `1`, `false` or `0`, in any case. White space around a value
//! does not count, except in the secret. An entry of a list cannot hold a comma; use the builder
//! for an audience that does. A value that is empty is refused, because it is most often a variable
//! of a template that was never filled in, and the check that it stands for would be gone.
//!
//! # Roles
//!
//! An entry of `JWT_ROLES_CLAIM` is a place: a claim's name, or a JSON Pointer ([RFC 6901]) whose
//! steps may be indices of arrays. A `|` behind it starts the form in which the roles are there:
//!
//! | read | entry |
//! |---|---|
//! | a string, which is one role, or a list of strings | `roles` |
//! | the first item of a list | `/groups/0` |
//! | a string with a separator between the roles: `space`, `comma`, or other characters | `roles\|split:space`, `roles\|split:;` |
//! | the names of an object's members, except those with `false` or `null` | `urn:zitadel:iam:org:project:roles\|names` |
//! | a member of each object in a list; a name, or a JSON Pointer | `authorities\|member:authority` |
//!
//! A claim whose name holds a `|` needs the builder
//! ([`roles_at`](VerifierBuilder::roles_at), [`RoleForm`](crate::verify::RoleForm)).
//!
//! # Other names
//!
//! A name that is almost one of these, or that starts like one, is refused:
//! `JWT_AUDIANCE`, `JWT_AUD` and `JWT_SECRET` would otherwise be checks that silently do not
//! happen. So is every other `JWT_VERIFY_…`, `JWT_REQUIRE…` and `JWT_JWKS_…`. What is left may
//! belong to another program in the same environment, and is listed by [`JwtSettings::ignored`].
//!
//! # Security
//!
//! Seven switches take a check away; each is the builder's method that says which
//! attack becomes possible: `JWT_VERIFY_ISS=false`
//! ([`dangerous_any_issuer`](VerifierBuilder::dangerous_any_issuer)), `JWT_VERIFY_AUD=false`
//! ([`dangerous_any_audience`](VerifierBuilder::dangerous_any_audience)), `JWT_ACCEPT_ID_TOKENS=true`
//! ([`dangerous_accept_id_tokens`](VerifierBuilder::dangerous_accept_id_tokens)), `JWT_VERIFY_EXP=false`
//! ([`dangerous_ignore_expiry`](VerifierBuilder::dangerous_ignore_expiry)), `JWT_REQUIRE_EXP=false`
//! ([`dangerous_optional_expiry`](VerifierBuilder::dangerous_optional_expiry)),
//! `JWT_VERIFY_NBF=false`
//! ([`dangerous_ignore_not_before`](VerifierBuilder::dangerous_ignore_not_before)) and
//! `JWT_JWKS_ALLOW_HTTP=true` (`dangerous_allow_http` of
//! `RemoteKeySetBuilder`, with a warning in the log).
//! With [RFC 9068] mode the switches for issuer, audience and expiry are refused.
//!
//! [RFC 6901]: https://www.rfc-editor.org/rfc/rfc6901
//! [RFC 7517 §5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
//! [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
//! [RFC 8725 §3.1]: https://www.rfc-editor.org/rfc/rfc8725#section-3.1
//! [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068

#[cfg(feature = "endpoints")]
mod browsers;
mod keys;
mod policy;
#[cfg(feature = "jwks")]
mod remote;
#[cfg(feature = "endpoints")]
mod secrets;
#[cfg(feature = "endpoints")]
mod seeds;
#[cfg(feature = "endpoints")]
mod server;
mod vars;

use std::{fmt, net::IpAddr};

use serde::de::DeserializeOwned;

use self::{
    keys::Keys,
    policy::Policy,
    vars::{Vars, refuse},
};
use crate::{
    claims::Claims,
    error::ConfigError,
    event::{EventSink, Events},
    verify::{Verifier, VerifierBuilder},
};

#[cfg(feature = "endpoints")]
#[cfg_attr(docsrs, doc(cfg(feature = "endpoints")))]
pub use self::{secrets::AuthSecrets, seeds::SeedUser, server::AuthSettings};

/// The `JWT_*` environment, read and checked. See the [module](self) for the variables.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use tower_jwt_auth::{Claims, JwtAuthLayer, settings::JwtSettings};
///
/// let vars = [
///     ("JWT_SECRET_KEY", "a secret of at least thirty-two bytes"),
///     ("JWT_AUDIENCE", "orders"),
/// ];
/// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let settings = JwtSettings::from_vars(vars)?;
/// let layer = JwtAuthLayer::new(settings.verifier::<Claims>()?);
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
    ignored: Vec<String>,
}

impl JwtSettings {
    /// Reads the process's environment, and the files that it names.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with the variable as its name, for the first value that is bad,
    /// missing or in contradiction to another one; [`ConfigError::NoCrypto`].
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(Vars::from_env()?)
    }

    /// Reads variables from elsewhere than the environment: a configuration file, a test.
    ///
    /// Names that are neither `HOST`, `PORT` nor start with `JWT_` are passed over.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env); also a variable that is given twice.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::read(Vars::new(vars)?)
    }

    /// A verifier by these settings. Where keys come from the network it starts to fetch them, and
    /// must be called within a tokio runtime; call it once, and clone the verifier.
    ///
    /// # Errors
    ///
    /// None that [`from_env`](Self::from_env) did not report already, but for a missing runtime.
    pub fn verifier<C>(&self) -> Result<Verifier<C>, ConfigError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.verifier_builder()
            .build()
            .map_err(|error| self.blame(error))
    }

    /// A verifier by these settings that is yet to be built, so that the application may add what
    /// has no variable: a check of its own, a greatest age.
    pub fn verifier_builder<C: 'static>(&self) -> VerifierBuilder<C> {
        let builder = self.keys.start().claims::<C>();
        self.policy.apply(builder)
    }

    /// Sets the event sink for keys: it receives an event for each entry of a key set that is left
    /// out, and, if keys are fetched, for each fetch.
    #[must_use]
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.keys.tell(Events::to(sink));
        self
    }

    /// The address or the name of the interface to listen on.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to listen on; 0 lets the system choose one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as a listener takes them.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Returns `true` if the server is to answer the authentication requests of a gateway, by
    /// [`JwtAuthLayer::gateway`](crate::JwtAuthLayer::gateway).
    #[must_use]
    pub fn gateway(&self) -> bool {
        self.gateway
    }

    /// Returns one line for each setting that is accepted and leaves something open: for the log.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let any_issuer = self.keys.serve_many() && self.policy.leaves_issuer_open();
        any_issuer.then_some(ANY_ISSUER).into_iter()
    }

    /// The variables that start with `JWT_` and that this crate does not know: for the log.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().map(String::as_str)
    }

    fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let (host, port) = read_address(&mut vars)?;
        let policy = Policy::read(&mut vars)?;
        let gateway = vars.switch("JWT_GATEWAY")?.unwrap_or(false);
        let settings = Self {
            host,
            port,
            keys: Keys::read(&mut vars, policy.issuers())?,
            policy,
            gateway,
            ignored: vars.into_ignored(),
        };
        // The builder has the last word, and before the port opens. Nothing is fetched yet.
        match settings.verifier_builder::<Claims>().validate() {
            Ok(()) => Ok(settings),
            Err(error) => Err(settings.blame(error)),
        }
    }

    /// Names the variable that a complaint of the builder is about.
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

fn read_address(vars: &mut Vars) -> Result<(String, u16), ConfigError> {
    let host = read_host(vars)?;
    let port = vars.number("PORT", 0..=65_535)?.unwrap_or(3000);
    Ok((host, u16::try_from(port).unwrap_or_default()))
}

fn read_host(vars: &mut Vars) -> Result<String, ConfigError> {
    let Some(text) = vars.text("HOST")? else {
        return Ok("127.0.0.1".to_owned());
    };
    // `[::1]`, as it stands in a URL.
    let host = text.trim_start_matches('[').trim_end_matches(']');
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_name = host
        .chars()
        .all(|one| one.is_ascii_alphanumeric() || "-._".contains(one))
        // Numbers at the end are an address, or meant to be one.
        && !last.chars().all(|one| one.is_ascii_digit());
    if is_name || host.parse::<IpAddr>().is_ok() {
        Ok(host.to_owned())
    } else {
        let text = text.escape_debug();
        let problem = format!("`{text}` is neither an IP address nor a host name");
        Err(refuse("HOST", problem))
    }
}
