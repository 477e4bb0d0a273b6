//! The settings for browsers: origins and cookies.

use crate::{
    error::ConfigError,
    server::endpoints::{CookieNames, trusted},
    settings::vars::{Vars, refuse},
};

/// Reads the public origin, in the form that browsers write.
pub(super) fn read_public_url(vars: &mut Vars) -> Result<Option<String>, ConfigError> {
    let Some(url) = vars.text(PUBLIC_URL)? else {
        return Ok(None);
    };
    let names = CookieNames::new(&url, "/").map_err(blame(PUBLIC_URL))?;
    Ok(Some(names.origin().to_owned()))
}

pub(super) fn read_trusted(vars: &mut Vars) -> Result<Vec<String>, ConfigError> {
    let origins = vars.list(TRUSTED)?.unwrap_or_default();
    let origins = origins
        .iter()
        .map(|origin| trusted(origin).map(String::from));
    origins.collect::<Result<_, _>>().map_err(blame(TRUSTED))
}

pub(super) fn read_prefix(vars: &mut Vars) -> Result<Option<String>, ConfigError> {
    let Some(prefix) = vars.text(COOKIES)? else {
        return Ok(None);
    };
    let names = CookieNames::new("https://localhost", "/")?;
    names.prefix(&prefix).map_err(blame(COOKIES))?;
    Ok(Some(prefix))
}

/// Replaces the name in an error by that of a variable.
fn blame(variable: &'static str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| match error {
        ConfigError::Invalid { problem, .. } => refuse(variable, problem),
        other => other,
    }
}

const PUBLIC_URL: &str = "AUTH_PUBLIC_URL";
const TRUSTED: &str = "AUTH_TRUSTED_ORIGINS";
const COOKIES: &str = "AUTH_COOKIE_PREFIX";
