//! The settings of tokens that are bound to a key of the client.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    layer::dpop::{Dpop, DpopBuilder},
    secret::Secret,
    verify::proof::Nonces,
};

/// The rules for proofs.
#[derive(Clone, Debug)]
pub(super) struct Proofs {
    pub(super) rules: Dpop,
    /// One line for the log, if several nodes may refuse the nonces of each other.
    pub(super) warning: Option<&'static str>,
}

/// Reads the rules for proofs. `resource` is the public URL of this server.
pub(super) fn read(
    vars: &mut Vars,
    resource: Option<&str>,
    gateway: bool,
) -> Result<Option<Proofs>, ConfigError> {
    let mode = vars.text(DPOP)?;
    let details = Details::read(vars)?;
    let required = match mode.as_deref() {
        None | Some("off") => {
            return match details.first_set() {
                Some(name) => Err(refuse(name, "has no effect without JWT_DPOP")),
                None => Ok(None),
            };
        }
        Some("allowed") => false,
        Some("required") => true,
        Some(other) => {
            let other = other.escape_debug();
            let problem = format!("`{other}` is not off, allowed or required");
            return Err(refuse(DPOP, problem));
        }
    };
    if gateway {
        let problem = "conflicts with JWT_GATEWAY: a proof is for the client's request, which a gateway \
                       does not send";
        return Err(refuse(DPOP, problem));
    }
    let Some(resource) = resource else {
        let problem = "needs JWT_RESOURCE: a proof names the public URL of the request";
        return Err(refuse(DPOP, problem));
    };
    Ok(Some(Proofs {
        rules: details.rules(("JWT_RESOURCE", resource), required)?,
        warning: details.warning(),
    }))
}

/// The variables about nonces and used proofs, as they are set.
#[derive(Clone)]
pub(crate) struct Details {
    nonces: Option<NonceVariables>,
    /// May contain a password, which no message shows.
    replay: Option<Secret<String>>,
}

#[derive(Clone)]
struct NonceVariables {
    seconds: Option<u32>,
    key: Option<Secret<Vec<u8>>>,
}

impl Details {
    pub(crate) fn read(vars: &mut Vars) -> Result<Self, ConfigError> {
        Ok(Self {
            nonces: NonceVariables::read(vars)?,
            replay: vars.secret(REPLAY)?,
        })
    }

    /// Returns the name of a variable that is set.
    pub(crate) fn first_set(&self) -> Option<&'static str> {
        let set = [
            (NONCE, self.nonces.is_some()),
            (REPLAY, self.replay.is_some()),
        ];
        set.into_iter().find_map(|(name, set)| set.then_some(name))
    }

    /// Builds the rules for a server with this public URL. Without a key, the nonces are under a new random one.
    pub(crate) fn rules(
        &self,
        (name, public_url): (&'static str, &str),
        required: bool,
    ) -> Result<Dpop, ConfigError> {
        let mut builder = Dpop::at(public_url);
        if required {
            builder = builder.required();
        }
        if let Some(nonces) = &self.nonces {
            builder = builder.nonces(nonces.build()?);
        }
        if let Some(place) = &self.replay {
            builder = detect(builder, place.expose().trim())?;
        }
        builder.build().map_err(|error| match error {
            ConfigError::Invalid { problem, .. } => refuse(name, problem),
            other => other,
        })
    }

    /// Returns a line for the log if several nodes refuse the nonces of each other.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        let nonces = self.nonces.as_ref();
        let own = nonces.is_some_and(|nonces| nonces.key.is_none());
        let place = self.replay.as_ref();
        let several = place.is_some_and(|place| is_redis(place.expose().trim()));
        (own && several).then_some(OWN_NONCES)
    }
}

impl NonceVariables {
    fn read(vars: &mut Vars) -> Result<Option<Self>, ConfigError> {
        let demanded = vars.switch(NONCE)?.unwrap_or(false);
        let seconds = vars.number(NONCE_SECONDS, 10..=86_400)?;
        let key = vars.secret(NONCE_KEY)?;
        if !demanded {
            let set = [
                (NONCE_SECONDS, seconds.is_some()),
                (NONCE_KEY, key.is_some()),
            ];
            return match set.into_iter().find(|(_, set)| *set) {
                Some((name, _)) => Err(refuse(name, "has no effect without JWT_DPOP_NONCE=true")),
                None => Ok(None),
            };
        }
        let key = key.map(|text| read_key(text.expose())).transpose()?;
        Ok(Some(Self { seconds, key }))
    }

    fn build(&self) -> Result<Nonces, ConfigError> {
        let nonces = match &self.key {
            None => Nonces::generate()?,
            Some(key) => Nonces::with_key(key.expose())?,
        };
        match self.seconds {
            None => Ok(nonces),
            Some(seconds) => nonces.lifetime(Duration::from_secs(seconds.into())),
        }
    }
}

fn read_key(text: &str) -> Result<Secret<Vec<u8>>, ConfigError> {
    let key = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    match key.map(Secret::new) {
        Ok(key) if key.expose().len() >= KEY_BYTES => Ok(key),
        _ => Err(refuse(NONCE_KEY, "not at least 32 bytes in base64url")),
    }
}

fn is_redis(place: &str) -> bool {
    place.starts_with("redis://") || place.starts_with("rediss://")
}

/// Sets the detection of used proofs.
fn detect(builder: DpopBuilder, place: &str) -> Result<DpopBuilder, ConfigError> {
    match place {
        "memory:" => Ok(builder),
        "none" => Ok(builder.dangerous_allow_replay()),
        url if is_redis(url) => in_redis(builder, url),
        _ => Err(refuse(REPLAY, "is not `memory:`, `none` or `redis://…`")),
    }
}

#[cfg(feature = "redis-replay")]
fn in_redis(builder: DpopBuilder, url: &str) -> Result<DpopBuilder, ConfigError> {
    use crate::verify::proof::RedisReplayStore;

    match RedisReplayStore::new(url) {
        Ok(store) => Ok(builder.replay_store(store)),
        Err(ConfigError::Invalid { problem, .. }) => Err(refuse(REPLAY, problem)),
        Err(error) => Err(error),
    }
}

#[cfg(not(feature = "redis-replay"))]
fn in_redis(_: DpopBuilder, _: &str) -> Result<DpopBuilder, ConfigError> {
    Err(refuse(REPLAY, "Redis needs the feature `redis-replay`"))
}

const OWN_NONCES: &str = "JWT_DPOP_NONCE: with a random key, nodes refuse the nonces of each other; set \
                          JWT_DPOP_NONCE_KEY to one value on all nodes";
const DPOP: &str = "JWT_DPOP";
const NONCE: &str = "JWT_DPOP_NONCE";
const NONCE_SECONDS: &str = "JWT_DPOP_NONCE_SECONDS";
const NONCE_KEY: &str = "JWT_DPOP_NONCE_KEY";
const REPLAY: &str = "JWT_DPOP_REPLAY";
const KEY_BYTES: usize = 32;
