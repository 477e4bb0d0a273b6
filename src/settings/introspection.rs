//! The settings of introspection.

#[cfg(feature = "jwks")]
use std::time::Duration;

#[cfg(feature = "jwks")]
use super::remote::Fetching;
use super::vars::{Vars, refuse};
#[cfg(feature = "jwks")]
use crate::verify::introspection::Introspection;
use crate::{error::ConfigError, secret::Secret};

/// The variables, of which the client is always set.
pub(super) struct Variables {
    url: Option<String>,
    #[cfg_attr(
        not(feature = "jwks"),
        allow(dead_code, reason = "refused without the feature")
    )]
    client: (String, Secret<String>),
    #[cfg_attr(
        not(feature = "jwks"),
        allow(dead_code, reason = "refused without the feature")
    )]
    cache: Option<u32>,
    all: bool,
}

impl Variables {
    /// Reads the variables. `None` if tokens are not introspected.
    pub(super) fn read(vars: &mut Vars) -> Result<Option<Self>, ConfigError> {
        let url = vars.text(URL)?;
        let id = vars.text(CLIENT_ID)?;
        let secret = vars.secret(CLIENT_SECRET)?;
        let cache = vars.number(CACHE, 0..=MAX_CACHE)?;
        let all = vars.switch(ALL)?;
        let (id, secret) = match (id, secret) {
            (Some(id), Some(secret)) => (id, secret),
            (Some(_), None) => return Err(refuse(CLIENT_SECRET, needed_by(CLIENT_ID))),
            (None, Some(_)) => return Err(refuse(CLIENT_ID, needed_by(CLIENT_SECRET))),
            (None, None) if url.is_some() => {
                let names = format!("{CLIENT_ID}, {CLIENT_SECRET}");
                return Err(refuse(&names, needed_by(URL)));
            }
            (None, None) => {
                let others = [(CACHE, cache.is_some()), (ALL, all == Some(true))];
                return match others.iter().find(|(_, is_set)| *is_set) {
                    Some((name, _)) => Err(refuse(name, format!("needs {CLIENT_ID}"))),
                    None => Ok(None),
                };
            }
        };
        if cfg!(not(feature = "jwks")) {
            return Err(refuse(CLIENT_ID, "built without the feature `jwks`"));
        }
        Ok(Some(Self {
            url,
            client: (id, secret),
            cache,
            all: all.unwrap_or(false),
        }))
    }

    /// Returns `true` if the endpoint is named, so that no metadata are needed for it.
    pub(super) fn has_url(&self) -> bool {
        self.url.is_some()
    }

    /// Returns an error if JWTs of any issuer would be sent to the server without a check.
    pub(super) fn check_alone(&self, any_issuer: bool) -> Result<(), ConfigError> {
        match self.all && any_issuer {
            true => Err(refuse(
                ALL,
                "needs JWT_ISSUER or a key, so that no JWT of another issuer is sent to the server; \
                 JWT_VERIFY_ISS=false sends every JWT",
            )),
            false => Ok(()),
        }
    }

    #[cfg(feature = "jwks")]
    pub(super) fn settings(&self, fetching: &Fetching) -> Introspection {
        let (id, secret) = &self.client;
        let mut settings = match &self.url {
            Some(url) => Introspection::at(url),
            None => Introspection::discovered(),
        };
        settings = settings.basic(id, secret.expose());
        if let Some(seconds) = self.cache {
            settings = settings.cache_for(Duration::from_secs(seconds.into()));
        }
        if self.all {
            settings = settings.all_tokens();
        }
        fetching.limit(settings)
    }
}

fn needed_by(other: &str) -> String {
    format!("needed by {other}")
}

pub(super) const URL: &str = "JWT_INTROSPECTION_URL";
const CLIENT_ID: &str = "JWT_INTROSPECTION_CLIENT_ID";
const CLIENT_SECRET: &str = "JWT_INTROSPECTION_CLIENT_SECRET";
const CACHE: &str = "JWT_INTROSPECTION_CACHE_SECONDS";
const ALL: &str = "JWT_INTROSPECTION_ALL";
const MAX_CACHE: u32 = 3600;
