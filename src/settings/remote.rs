//! The settings for keys from the network.

use std::{fmt, time::Duration};

use super::{keys::read_file, vars::Vars};
use crate::{
    error::ConfigError,
    event::Events,
    key::remote::{RemoteKeySet, RemoteKeySetBuilder},
    verify::introspection::Introspection,
};

/// The source from which a key set is fetched.
#[derive(Clone)]
pub(super) enum Place {
    Url(String),
    Issuer(String),
}

impl fmt::Debug for Place {
    // The query of a URL may contain a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, place) = match self {
            Self::Url(url) => ("Url", url),
            Self::Issuer(issuer) => ("Issuer", issuer),
        };
        let shown = place.split(['?', '#']).next().unwrap_or_default();
        f.debug_tuple(kind).field(&shown).finish()
    }
}

/// The limits for fetches, and the trusted root.
///
/// They are checked even if no keys are fetched, so that an invalid value is always reported.
#[derive(Clone, Debug)]
pub(super) struct Fetching {
    max_age: Option<Duration>,
    cooldown: Option<Duration>,
    timeout: Option<Duration>,
    stale: Option<Duration>,
    root: Option<Vec<u8>>,
    allow_http: bool,
    events: Events,
}

impl Fetching {
    pub(super) fn read(vars: &mut Vars) -> Result<Self, ConfigError> {
        let mut seconds = |name, least, most| {
            let seconds = vars.number(name, least..=most)?;
            Ok::<_, ConfigError>(seconds.map(|seconds| Duration::from_secs(seconds.into())))
        };
        Ok(Self {
            max_age: seconds(CACHE, 1, DAY)?,
            cooldown: seconds(COOLDOWN, 1, DAY)?,
            timeout: seconds(TIMEOUT, 1, 60)?,
            stale: seconds(STALE, 0, 7 * DAY)?,
            root: match vars.text(CA_FILE)? {
                Some(path) => Some(read_file(CA_FILE, &path)?),
                None => None,
            },
            allow_http: vars.switch(ALLOW_HTTP)?.unwrap_or(false),
            events: Events::default(),
        })
    }

    pub(super) fn emit(&mut self, events: Events) {
        self.events = events;
    }

    pub(super) fn start(&self, place: &Place) -> RemoteKeySetBuilder {
        let mut keys = match place {
            Place::Url(url) => RemoteKeySet::jwks(url),
            Place::Issuer(issuer) => RemoteKeySet::oidc(issuer),
        };
        if let Some(max_age) = self.max_age {
            keys = keys.max_age(max_age);
        }
        if let Some(cooldown) = self.cooldown {
            keys = keys.cooldown(cooldown);
        }
        if let Some(timeout) = self.timeout {
            keys = keys.timeout(timeout);
        }
        if let Some(stale) = self.stale {
            keys = keys.stale(stale);
        }
        if self.allow_http {
            keys = keys.dangerous_allow_http();
        }
        keys = keys.with_events(self.events.clone());
        match &self.root {
            Some(root) => keys.root_certificate(root.clone()),
            None => keys,
        }
    }

    /// Applies the limits and the trusted root to calls of the authorization server.
    pub(super) fn limit(&self, settings: Introspection) -> Introspection {
        let mut settings = settings;
        if let Some(timeout) = self.timeout {
            settings = settings.timeout(timeout);
        }
        if self.allow_http {
            settings = settings.dangerous_allow_http();
        }
        match &self.root {
            Some(root) => settings.root_certificate(root.clone()),
            None => settings,
        }
    }
}

const DAY: u32 = 24 * 3600;
const CACHE: &str = "JWT_JWKS_CACHE_SECONDS";
const COOLDOWN: &str = "JWT_JWKS_COOLDOWN_SECONDS";
const TIMEOUT: &str = "JWT_JWKS_TIMEOUT_SECONDS";
const STALE: &str = "JWT_JWKS_STALE_SECONDS";
const ALLOW_HTTP: &str = "JWT_JWKS_ALLOW_HTTP";
const CA_FILE: &str = "JWT_JWKS_CA_FILE";
