//! The variables and their values.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    env,
    ops::RangeInclusive,
};

use crate::{error::ConfigError, secret::Secret};

/// The variables of this crate. Each is removed when it is read.
pub(crate) struct Vars {
    values: BTreeMap<String, Secret<String>>,
    ignored: Vec<String>,
}

impl Vars {
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::new(environment(is_ours)?)
    }

    /// Returns the variables of a login server.
    #[cfg(feature = "server")]
    pub(crate) fn of_server_from_env() -> Result<Self, ConfigError> {
        Self::of_server(environment(is_of_server)?)
    }

    #[cfg(feature = "server")]
    pub(crate) fn of_server(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (mut values, mut ignored) = (BTreeMap::new(), Vec::new());
        for (name, value) in vars {
            let value = Secret::new(value);
            if !is_of_server(&name) {
                continue;
            }
            if OF_SERVER.contains(&name.as_str()) {
                match values.entry(name) {
                    Entry::Vacant(place) => place.insert(value),
                    Entry::Occupied(first) => return Err(refuse(first.key(), "given twice")),
                };
                continue;
            }
            match resembled(&name, &OF_SERVER, &[]) {
                // Variables that another server in the same environment reads.
                _ if KNOWN.contains(&name.as_str()) => ignored.push(name),
                Some(known) => {
                    let problem = format!("unknown variable; did you mean {known}?");
                    return Err(refuse(&name, problem));
                }
                None => ignored.push(name),
            }
        }
        Ok(Self { values, ignored })
    }

    pub(crate) fn new(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        let mut ignored = Vec::new();
        for (name, value) in vars {
            let value = Secret::new(value);
            if !is_ours(&name) || OF_ISSUERS.contains(&name.as_str()) {
                continue;
            }
            if is_read(&name) {
                match values.entry(name) {
                    Entry::Vacant(place) => place.insert(value),
                    Entry::Occupied(first) => return Err(refuse(first.key(), "given twice")),
                };
            } else if let Some(known) = resembled(&name, &KNOWN, &FAMILIES) {
                let problem = format!("unknown variable; did you mean {known}?");
                return Err(refuse(&name, problem));
            } else {
                ignored.push(name);
            }
        }
        Ok(Self { values, ignored })
    }

    pub(crate) fn into_ignored(self) -> Vec<String> {
        self.ignored
    }

    /// Returns the value unchanged, including white space.
    pub(crate) fn secret(
        &mut self,
        name: &'static str,
    ) -> Result<Option<Secret<String>>, ConfigError> {
        let value = self.values.remove(name);
        match &value {
            Some(value) if value.expose().trim().is_empty() => Err(refuse(name, EMPTY)),
            _ => Ok(value),
        }
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let value = self.secret(name)?;
        Ok(value.map(|value| value.expose().trim().to_owned()))
    }

    pub(crate) fn list(&mut self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let entries: Vec<_> = text.split(',').map(|one| one.trim().to_owned()).collect();
        if entries.iter().any(String::is_empty) {
            return Err(refuse(name, "an entry of the list is empty"));
        }
        Ok(Some(entries))
    }

    pub(crate) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = range.into_inner();
                let text = text.escape_debug();
                let problem = format!("`{text}` is not a whole number from {least} to {most}");
                Err(refuse(name, problem))
            }
        }
    }

    pub(crate) fn switch(&mut self, name: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => {
                let text = text.escape_debug();
                Err(refuse(name, format!("`{text}` is neither true nor false")))
            }
        }
    }
}

/// Creates the error for a variable's value. A name from outside cannot break the line.
pub(crate) fn refuse(name: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::invalid(name.escape_debug().to_string(), problem.into())
}

/// Returns the variables of the process that are selected by `is_ours`.
fn environment(is_ours: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, ConfigError> {
    // `env::vars` panics on values that are not UTF-8, also in unrelated variables.
    let mut ours = Vec::new();
    for (name, value) in env::vars_os() {
        let Ok(name) = name.into_string() else {
            continue;
        };
        if is_ours(&name) {
            match value.into_string() {
                Ok(value) => ours.push((name, value)),
                Err(_) => return Err(refuse(&name, "not UTF-8")),
            }
        }
    }
    Ok(ours)
}

#[cfg(feature = "server")]
fn is_of_server(name: &str) -> bool {
    is_ours(name) || begins(name, "AUTH_")
}

fn is_ours(name: &str) -> bool {
    name == "HOST" || name == "PORT" || begins(name, "JWT_")
}

fn begins(name: &str, prefix: &str) -> bool {
    let own = name.get(..prefix.len()).unwrap_or_default();
    own.eq_ignore_ascii_case(prefix)
}

fn is_read(name: &str) -> bool {
    name == "HOST" || name == "PORT" || KNOWN.contains(&name)
}

/// Returns the known name that an unknown name resembles. Ignoring it would silently drop a check.
fn resembled(
    name: &str,
    known: &[&'static str],
    families: &[&'static str],
) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let known = || known.iter().copied();
    let extends = |known: &&str| known.starts_with(&name) || name.starts_with(*known);
    if let Some(known) = known().find(extends) {
        return Some(known);
    }
    let nearest = known().min_by_key(|known| distance(&name, known))?;
    let family = families.iter().any(|family| name.starts_with(family));
    // The plural of `…_PROXY` differs in three letters.
    let slip = if nearest.len() < LONG { 2 } else { 3 };
    (family || distance(&name, nearest) <= slip).then_some(nearest)
}

/// Returns the number of letters to change, add or remove to turn `a` into `b` (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (done, from) in a.bytes().enumerate() {
        let (mut corner, mut left) = (done, done + 1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (above, to) in cells.zip(b.bytes()) {
            let changed = corner + usize::from(from != to);
            corner = *above;
            left = changed.min(left + 1).min(corner + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A name of this length or longer may differ in one more letter.
const LONG: usize = 16;
const EMPTY: &str = "empty; give it a value, or do not set it";

const KNOWN: [&str; 50] = [
    "JWT_ALGORITHM",
    "JWT_SECRET_KEY",
    "JWT_PUBLIC_KEY_FILE",
    "JWT_JWKS_FILE",
    "JWT_JWKS_URL",
    "JWT_JWKS_CACHE_SECONDS",
    "JWT_JWKS_COOLDOWN_SECONDS",
    "JWT_JWKS_TIMEOUT_SECONDS",
    "JWT_JWKS_STALE_SECONDS",
    "JWT_JWKS_ALLOW_HTTP",
    "JWT_JWKS_CA_FILE",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "JWT_CLIENT_ID",
    "JWT_ACCEPT_ID_TOKENS",
    "JWT_LEEWAY_SECONDS",
    "JWT_REQUIRED_TYP",
    "JWT_ROLES_CLAIM",
    "JWT_SCOPE_CLAIM",
    "JWT_SUBJECT_CLAIM",
    "JWT_CLIENT_ID_CLAIM",
    "JWT_MAX_TOKEN_BYTES",
    "JWT_VERIFY_ISS",
    "JWT_VERIFY_AUD",
    "JWT_VERIFY_EXP",
    "JWT_VERIFY_NBF",
    "JWT_VERIFY_SIGNATURE",
    "JWT_VERIFY_IAT",
    "JWT_REQUIRE_EXP",
    "JWT_CACHE_ENTRIES",
    "JWT_GATEWAY",
    "JWT_DPOP",
    "JWT_DPOP_NONCE",
    "JWT_DPOP_NONCE_SECONDS",
    "JWT_DPOP_NONCE_KEY",
    "JWT_DPOP_REPLAY",
    "JWT_INTROSPECTION_URL",
    "JWT_INTROSPECTION_CLIENT_ID",
    "JWT_INTROSPECTION_CLIENT_SECRET",
    "JWT_INTROSPECTION_CACHE_SECONDS",
    "JWT_INTROSPECTION_ALL",
    "JWT_BACKCHANNEL_LOGOUT",
    "JWT_LOGOUT_CLIENT_ID",
    "JWT_LOGOUT_STORE",
    "JWT_RESOURCE",
    "JWT_AUTHORIZATION_SERVERS",
    "JWT_RESOURCE_SCOPES",
    "JWT_MTLS",
    "JWT_MTLS_HEADER",
    "JWT_TRUSTED_PROXIES",
];

/// Every name with such a prefix is meant to configure a check.
const FAMILIES: [&str; 4] = ["JWT_VERIFY_", "JWT_REQUIRE", "JWT_JWKS_", "JWT_INTROSPECT"];

/// Variables that only a login server reads. It often shares an environment with a verifying server.
const OF_ISSUERS: [&str; 5] = [
    "JWT_PRIVATE_KEY_FILE",
    "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
    "JWT_REFRESH_TOKEN_EXPIRE_DAYS",
    "JWT_TOKEN_TYPE",
    "JWT_TOKEN_URL",
];

#[cfg(feature = "server")]
const OF_SERVER: [&str; 40] = [
    "HOST",
    "PORT",
    "AUTH_PUBLIC_URL",
    "AUTH_TRUSTED_ORIGINS",
    "AUTH_COOKIE_PREFIX",
    "AUTH_ACR_MFA",
    "AUTH_DPOP",
    "JWT_DPOP_NONCE",
    "JWT_DPOP_NONCE_SECONDS",
    "JWT_DPOP_NONCE_KEY",
    "JWT_DPOP_REPLAY",
    "JWT_CLIENT_ID",
    "AUTH_SECRET_KEY",
    "AUTH_KEY_ROTATION_DAYS",
    "AUTH_TRUSTED_PROXIES",
    "AUTH_REFRESH_POLICY",
    "AUTH_REFRESH_GRACE_SECONDS",
    "AUTH_MAX_SESSIONS",
    "AUTH_STORE",
    "AUTH_REGISTRATION",
    "AUTH_SEED_USER",
    "AUTH_PASSWORD_MIN_CHARS",
    "AUTH_COMMON_PASSWORDS_FILE",
    "AUTH_REQUIRE_VERIFIED_EMAIL",
    "AUTH_EMAIL_CLAIMS",
    "AUTH_REMEMBER_DEVICE_DAYS",
    "AUTH_SMTP_URL",
    "AUTH_MAIL_FROM",
    "JWT_PRIVATE_KEY_FILE",
    "JWT_SECRET_KEY",
    "JWT_ALGORITHM",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "JWT_RESOURCE",
    "JWT_AUTHORIZATION_SERVERS",
    "JWT_RESOURCE_SCOPES",
    "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
    "JWT_REFRESH_TOKEN_EXPIRE_DAYS",
    "JWT_TOKEN_TYPE",
    "JWT_TOKEN_URL",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    type Names = BTreeSet<&'static str>;

    const SETTINGS: &str = include_str!("mod.rs");
    #[cfg(feature = "server")]
    const SERVER: &str = include_str!("../server/settings/mod.rs");

    /// The variables in the first column of a table in a module's docs.
    fn documented(module: &'static str) -> Names {
        let rows = module.lines().filter_map(|line| {
            let row = line.trim_start_matches("//!").trim_start_matches("///");
            row.strip_prefix(" | `")?.split_once("` | ")
        });
        rows.flat_map(|(names, _)| names.split("`, `")).collect()
    }

    /// Those of these variables whose names stand nowhere in the code.
    fn unread(names: &Names, modules: &[&str]) -> Names {
        let code = modules.iter().flat_map(|module| module.lines());
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.collect();
        let unread = |name: &&&str| !code.contains(&format!("\"{name}\""));
        names.iter().filter(unread).copied().collect()
    }

    #[test]
    fn what_a_resource_server_knows_it_documents_and_reads() {
        let known: Names = KNOWN.into_iter().chain(["HOST", "PORT"]).collect();
        assert_eq!(documented(SETTINGS), known);
        let modules = [
            SETTINGS,
            include_str!("dpop.rs"),
            include_str!("introspection.rs"),
            include_str!("keys.rs"),
            include_str!("logout.rs"),
            include_str!("mtls.rs"),
            include_str!("policy.rs"),
            include_str!("remote.rs"),
            include_str!("resource.rs"),
        ];
        assert_eq!(unread(&known, &modules), Names::new());
    }

    #[cfg(feature = "server")]
    #[test]
    fn what_a_login_server_knows_it_documents_and_reads() {
        let known: Names = OF_SERVER.into_iter().collect();
        assert_eq!(documented(SERVER), known);
        let modules = [
            SETTINGS,
            SERVER,
            include_str!("dpop.rs"),
            include_str!("resource.rs"),
            include_str!("../server/settings/accounts.rs"),
            include_str!("../server/settings/browsers.rs"),
            include_str!("../server/settings/dpop.rs"),
            include_str!("../server/settings/seeds.rs"),
            include_str!("../server/settings/signing.rs"),
        ];
        assert_eq!(unread(&known, &modules), Names::new());
        // A resource server ignores exactly the variables that only a login server reads.
        for name in OF_ISSUERS {
            assert!(known.contains(name) && !KNOWN.contains(&name), "{name}");
        }
    }
}
