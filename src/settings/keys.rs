//! The source of the keys, and their algorithms.

#[cfg(feature = "jwks")]
use super::remote;
use super::{
    introspection,
    vars::{Vars, refuse},
};
#[cfg(feature = "jwks")]
use crate::verify::introspection::Introspection;
use crate::{
    error::ConfigError,
    event::Events,
    key::{Algorithm, KeySet, VerifyingKey},
    secret::Secret,
    verify::{Verifier, VerifierBuilder},
};
use std::fs;

/// The keys, loaded or still to be fetched, and the algorithms that were listed for them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    variable: &'static str,
    place: Place,
    algorithms: Option<Vec<Algorithm>>,
    #[cfg(feature = "jwks")]
    introspection: Option<Introspection>,
}

#[derive(Clone, Debug)]
enum Place {
    Here(KeySet),
    #[cfg(feature = "jwks")]
    Network(remote::Place, remote::Fetching),
    /// Every token is introspected.
    #[cfg(feature = "jwks")]
    Nothing,
}

/// The source of the keys in one variable.
enum Source {
    Secret(Secret<String>),
    PemFile(String),
    JwksFile(String),
    #[cfg(feature = "jwks")]
    Network(remote::Place),
    #[cfg(not(feature = "jwks"))]
    Network,
    /// Every token is introspected.
    Nothing,
}

#[cfg(feature = "jwks")]
impl Source {
    fn url(url: String) -> Self {
        Self::Network(remote::Place::Url(url))
    }

    fn issuer(issuer: &str) -> Self {
        Self::Network(remote::Place::Issuer(issuer.to_owned()))
    }
}

#[cfg(not(feature = "jwks"))]
impl Source {
    fn url(_: String) -> Self {
        Self::Network
    }

    fn issuer(_: &str) -> Self {
        Self::Network
    }
}

impl Keys {
    /// Reads the variables. `any_issuer`: no setting restricts the issuer.
    pub(super) fn read(
        vars: &mut Vars,
        issuers: &[String],
        any_issuer: bool,
    ) -> Result<Self, ConfigError> {
        let algorithms = read_algorithms(vars)?;
        #[cfg(feature = "jwks")]
        let fetching = remote::Fetching::read(vars)?;
        #[cfg(not(feature = "jwks"))]
        refuse_fetching(vars)?;
        let introspected = introspection::Variables::read(vars)?;
        #[cfg(feature = "jwks")]
        let introspection = introspected.as_ref().map(|all| all.settings(&fetching));
        let (variable, source) = read_source(vars, (issuers, any_issuer), introspected.as_ref())?;
        let listed = algorithms.as_deref().and_then(|all| all.first().copied());
        let clash = |key: &str| {
            let wrong = listed.map_or("", Algorithm::as_str);
            let problem = format!("{wrong} does not work with {key} (RFC 8725 §3.1)");
            Err(refuse(&format!("{ALGORITHM}, {variable}"), problem))
        };
        let set = match (source, listed.map(Algorithm::is_hmac)) {
            (Source::Secret(_), Some(false)) => return clash("a secret"),
            (Source::PemFile(_), Some(true)) => return clash("a public key"),
            #[cfg(feature = "jwks")]
            (Source::Network(_), Some(true)) => return clash("published keys"),
            (Source::Secret(secret), _) => {
                let listed = algorithms.as_deref().unwrap_or(&[Algorithm::Hs256]);
                from_secret(&secret, listed)
            }
            (Source::PemFile(path), _) => read_file(variable, &path).and_then(|pem| from_pem(&pem)),
            (Source::JwksFile(path), _) => read_file(variable, &path).and_then(KeySet::from_jwks),
            #[cfg(feature = "jwks")]
            (Source::Network(place), _) => {
                return Ok(Self {
                    variable,
                    place: Place::Network(place, fetching),
                    algorithms,
                    introspection,
                });
            }
            #[cfg(feature = "jwks")]
            (Source::Nothing, _) => {
                return Ok(Self {
                    variable,
                    place: Place::Nothing,
                    algorithms,
                    introspection,
                });
            }
            #[cfg(not(feature = "jwks"))]
            (Source::Network | Source::Nothing, _) => return Err(refuse(variable, NO_JWKS)),
        };
        let set = set.map_err(|error| match error {
            ConfigError::Invalid { .. } | ConfigError::NoCrypto => error,
            other => refuse(variable, other.to_string()),
        })?;
        Ok(Self {
            variable,
            place: Place::Here(set),
            algorithms,
            #[cfg(feature = "jwks")]
            introspection,
        })
    }

    /// Returns `true` if the keys may sign for many issuers.
    pub(super) fn serve_many(&self) -> bool {
        self.variable == JWKS_FILE || self.variable == JWKS_URL
    }

    /// Returns `true` if tokens are introspected.
    pub(super) fn introspect(&self) -> bool {
        #[cfg(feature = "jwks")]
        return self.introspection.is_some();
        #[cfg(not(feature = "jwks"))]
        false
    }

    /// Returns the variable that names the source of the keys.
    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    pub(super) fn emit(&mut self, events: &Events) {
        match &mut self.place {
            Place::Here(set) => set.emit_skipped(events),
            #[cfg(feature = "jwks")]
            Place::Network(_, fetching) => fetching.emit(events.clone()),
            #[cfg(feature = "jwks")]
            Place::Nothing => {}
        }
        #[cfg(feature = "jwks")]
        if let Some(introspection) = self.introspection.take() {
            self.introspection = Some(introspection.with_events(events.clone()));
        }
    }

    pub(super) fn start(&self) -> VerifierBuilder {
        let builder = match &self.place {
            Place::Here(set) => Verifier::key_set(set.clone()),
            #[cfg(feature = "jwks")]
            Place::Network(place, fetching) => Verifier::remote(fetching.start(place)),
            #[cfg(feature = "jwks")]
            Place::Nothing => Verifier::without_keys(),
        };
        #[cfg(feature = "jwks")]
        let builder = match &self.introspection {
            Some(settings) => builder.introspection(settings.clone()),
            None => builder,
        };
        match &self.algorithms {
            Some(listed) => builder.algorithms(listed.iter().copied()),
            None => builder,
        }
    }
}

fn read_algorithms(vars: &mut Vars) -> Result<Option<Vec<Algorithm>>, ConfigError> {
    let Some(names) = vars.list(ALGORITHM)? else {
        return Ok(None);
    };
    let mut algorithms = names
        .iter()
        .map(|name| name.parse::<Algorithm>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(ALGORITHM, error.to_string()))?;
    algorithms.sort_unstable();
    algorithms.dedup();
    let secrets = algorithms.iter().filter(|one| one.is_hmac()).count();
    if secrets != 0 && secrets != algorithms.len() {
        return Err(refuse(ALGORITHM, ConfigError::MixedFamilies.to_string()));
    }
    Ok(Some(algorithms))
}

/// Reads the only variable that names a source of keys. Two would leave open which of them applies.
fn read_source(
    vars: &mut Vars,
    (issuers, any_issuer): (&[String], bool),
    introspected: Option<&introspection::Variables>,
) -> Result<(&'static str, Source), ConfigError> {
    let mut sources = [
        (SECRET, vars.secret(SECRET)?.map(Source::Secret)),
        (PEM_FILE, vars.text(PEM_FILE)?.map(Source::PemFile)),
        (JWKS_FILE, vars.text(JWKS_FILE)?.map(Source::JwksFile)),
        (JWKS_URL, vars.text(JWKS_URL)?.map(Source::url)),
    ]
    .into_iter()
    .filter_map(|(variable, source)| source.map(|source| (variable, source)));
    match (sources.next(), sources.next()) {
        (Some(source), None) => Ok(source),
        (Some((one, _)), Some((other, _))) => Err(refuse(
            &format!("{one}, {other}"),
            "both name the keys; set one of them",
        )),
        (None, _) => match alone(issuers, introspected) {
            Some(introspected) => {
                introspected.check_alone(any_issuer)?;
                Ok((introspection::URL, Source::Nothing))
            }
            None => of_issuer(issuers),
        },
    }
}

/// Returns the issuer as the source of the keys.
fn of_issuer(issuers: &[String]) -> Result<(&'static str, Source), ConfigError> {
    match issuers.is_empty() {
        true => Err(refuse(
            &format!("{SECRET}, {PEM_FILE}, {JWKS_FILE}, {JWKS_URL}, {ISSUER}"),
            "no key to verify tokens with; set one of them",
        )),
        false => discovered(issuers).map(|issuer| (ISSUER, Source::issuer(issuer))),
    }
}

/// Returns the variables if the endpoint is named, and no issuer is a URL from which keys could be
/// discovered.
fn alone<'v>(
    issuers: &[String],
    introspected: Option<&'v introspection::Variables>,
) -> Option<&'v introspection::Variables> {
    introspected.filter(|variables| variables.has_url() && !issuers.iter().any(|one| is_url(one)))
}

fn is_url(issuer: &str) -> bool {
    issuer.starts_with("https://") || issuer.starts_with("http://")
}

/// Returns the issuer whose metadata names the keys: OpenID Connect Discovery §4, RFC 8414 §3.
fn discovered(issuers: &[String]) -> Result<&str, ConfigError> {
    if let [one] = issuers {
        return Ok(one);
    }
    let mut urls = issuers.iter().filter(|one| is_url(one));
    match (urls.next(), urls.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(refuse(
            ISSUER,
            format!("none of them is a URL from which the keys can be discovered; set {JWKS_URL}"),
        )),
        (Some(_), Some(_)) => Err(refuse(
            ISSUER,
            format!(
                "several of them are URLs from which the keys can be discovered; set {JWKS_URL}"
            ),
        )),
    }
}

#[cfg(not(feature = "jwks"))]
fn refuse_fetching(vars: &mut Vars) -> Result<(), ConfigError> {
    for name in [
        "JWT_JWKS_CACHE_SECONDS",
        "JWT_JWKS_COOLDOWN_SECONDS",
        "JWT_JWKS_TIMEOUT_SECONDS",
        "JWT_JWKS_STALE_SECONDS",
        "JWT_JWKS_ALLOW_HTTP",
        "JWT_JWKS_CA_FILE",
    ] {
        if vars.text(name)?.is_some() {
            return Err(refuse(name, NO_JWKS));
        }
    }
    Ok(())
}

pub(crate) fn read_file(variable: &'static str, path: &str) -> Result<Vec<u8>, ConfigError> {
    // A key in place of a path is not printed, because it may be a private one.
    if path.contains("-----BEGIN ") || path.starts_with('{') {
        return Err(refuse(
            variable,
            "this is a key; put it into a file, and give the file's path",
        ));
    }
    fs::read(path).map_err(|error| {
        let path = path.escape_debug();
        refuse(variable, format!("cannot read {path}: {error}"))
    })
}

fn from_secret(secret: &Secret<String>, algorithms: &[Algorithm]) -> Result<KeySet, ConfigError> {
    let keys = algorithms
        .iter()
        .map(|algorithm| VerifyingKey::from_secret(*algorithm, secret.expose()))
        .collect::<Result<Vec<_>, _>>()?;
    KeySet::new(keys)
}

#[cfg(feature = "pem")]
fn from_pem(pem: &[u8]) -> Result<KeySet, ConfigError> {
    KeySet::from_pem(pem)
}

#[cfg(not(feature = "pem"))]
fn from_pem(_: &[u8]) -> Result<KeySet, ConfigError> {
    Err(ConfigError::Key("built without the feature `pem`".into()))
}

const ALGORITHM: &str = "JWT_ALGORITHM";
const SECRET: &str = "JWT_SECRET_KEY";
const PEM_FILE: &str = "JWT_PUBLIC_KEY_FILE";
const JWKS_FILE: &str = "JWT_JWKS_FILE";
const ISSUER: &str = "JWT_ISSUER";
const JWKS_URL: &str = "JWT_JWKS_URL";

#[cfg(not(feature = "jwks"))]
const NO_JWKS: &str = "built without the feature `jwks`";
