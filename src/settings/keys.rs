//! Where the keys come from, and for which algorithms.

use std::fs;

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    key::{Algorithm, KeySet, VerifyingKey},
    secret::Secret,
    verify::{Verifier, VerifierBuilder},
};

/// The keys, loaded, and the algorithms that were listed for them.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    variable: &'static str,
    set: KeySet,
    algorithms: Option<Vec<Algorithm>>,
}

/// What one variable says about the keys.
enum Source {
    Secret(Secret<String>),
    PemFile(String),
    JwksFile(String),
    Url,
}

impl Keys {
    pub(super) fn read(vars: &mut Vars, names_issuer: bool) -> Result<Self, ConfigError> {
        let algorithms = read_algorithms(vars)?;
        for name in NOT_YET {
            if vars.text(name)?.is_some() {
                return Err(refuse(name, UNAVAILABLE));
            }
        }
        let (variable, source) = read_source(vars, names_issuer)?;
        let listed = algorithms.as_deref().and_then(|all| all.first().copied());
        let clash = |key: &str| {
            let wrong = listed.map_or("", Algorithm::as_str);
            let problem = format!("{wrong} does not work with {key} (RFC 8725 §3.1)");
            Err(refuse(&format!("{ALGORITHM}, {variable}"), problem))
        };
        let set = match (source, listed.map(Algorithm::is_hmac)) {
            (Source::Secret(_), Some(false)) => return clash("a secret"),
            (Source::PemFile(_), Some(true)) => return clash("a public key"),
            (Source::Secret(secret), _) => {
                let listed = algorithms.as_deref().unwrap_or(&[Algorithm::Hs256]);
                from_secret(&secret, listed)
            }
            (Source::PemFile(path), _) => read_file(variable, &path).and_then(|pem| from_pem(&pem)),
            (Source::JwksFile(path), _) => read_file(variable, &path).and_then(KeySet::from_jwks),
            (Source::Url, _) => return Err(refuse(variable, UNAVAILABLE)),
        };
        let set = set.map_err(|error| match error {
            ConfigError::Invalid { .. } | ConfigError::NoCrypto => error,
            other => refuse(variable, other.to_string()),
        })?;
        Ok(Self {
            variable,
            set,
            algorithms,
        })
    }

    /// The variable that the keys come from.
    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    pub(super) fn start(&self) -> VerifierBuilder {
        let builder = Verifier::key_set(self.set.clone());
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

/// The one variable that names the keys. Two would leave open which of them is to be believed.
fn read_source(vars: &mut Vars, names_issuer: bool) -> Result<(&'static str, Source), ConfigError> {
    let mut sources = [
        (SECRET, vars.secret(SECRET)?.map(Source::Secret)),
        (PEM_FILE, vars.text(PEM_FILE)?.map(Source::PemFile)),
        (JWKS_FILE, vars.text(JWKS_FILE)?.map(Source::JwksFile)),
        (JWKS_URL, vars.text(JWKS_URL)?.map(|_| Source::Url)),
    ]
    .into_iter()
    .filter_map(|(variable, source)| source.map(|source| (variable, source)));
    match (sources.next(), sources.next()) {
        (Some(source), None) => Ok(source),
        (Some((one, _)), Some((other, _))) => Err(refuse(
            &format!("{one}, {other}"),
            "both name the keys; set one of them",
        )),
        (None, _) if names_issuer => Err(refuse(
            "JWT_ISSUER",
            format!("finding the keys by the issuer alone is {UNAVAILABLE}; {ONE_OF}"),
        )),
        (None, _) => Err(refuse(
            &format!("{SECRET}, {PEM_FILE}, {JWKS_FILE}"),
            format!("no key to verify tokens with; {ONE_OF}"),
        )),
    }
}

fn read_file(variable: &'static str, path: &str) -> Result<Vec<u8>, ConfigError> {
    // A key that stands where its path should is not repeated: it may be a private one.
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
    KeySet::try_from(VerifyingKey::from_pem(pem)?)
}

#[cfg(not(feature = "pem"))]
fn from_pem(_: &[u8]) -> Result<KeySet, ConfigError> {
    Err(ConfigError::Key("built without the feature `pem`".into()))
}

const ALGORITHM: &str = "JWT_ALGORITHM";
const SECRET: &str = "JWT_SECRET_KEY";
const PEM_FILE: &str = "JWT_PUBLIC_KEY_FILE";
const JWKS_FILE: &str = "JWT_JWKS_FILE";
const JWKS_URL: &str = "JWT_JWKS_URL";

const ONE_OF: &str = "set one of JWT_SECRET_KEY, JWT_PUBLIC_KEY_FILE and JWT_JWKS_FILE";
const UNAVAILABLE: &str = "not available in this version";

const NOT_YET: [&str; 5] = [
    "JWT_JWKS_CACHE_SECONDS",
    "JWT_JWKS_COOLDOWN_SECONDS",
    "JWT_JWKS_TIMEOUT_SECONDS",
    "JWT_JWKS_STALE_SECONDS",
    "JWT_JWKS_CA_FILE",
];
