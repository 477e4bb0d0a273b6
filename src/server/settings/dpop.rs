//! The settings of sessions that are bound to a key of the client.

use super::AuthSettings;
use crate::{
    error::ConfigError,
    layer::dpop::Dpop,
    settings::{
        dpop::Details,
        vars::{Vars, refuse},
    },
};

/// The variables about proofs.
#[derive(Clone)]
pub(super) struct Binding {
    mode: Mode,
    details: Details,
}

/// The value of `AUTH_DPOP`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    /// Not set: proofs are accepted if this build can verify them.
    Unset,
    Allowed,
    Required,
}

pub(super) fn read_binding(vars: &mut Vars) -> Result<Binding, ConfigError> {
    let mode = match vars.text(NAME)?.as_deref() {
        None => Mode::Unset,
        Some("off") => Mode::Off,
        Some("allowed") => Mode::Allowed,
        Some("required") => Mode::Required,
        Some(_) => return Err(refuse(NAME, "must be off, allowed or required")),
    };
    let details = Details::read(vars)?;
    match details.first_set().filter(|_| mode == Mode::Off) {
        Some(name) => Err(refuse(name, "has no effect with AUTH_DPOP=off")),
        None => Ok(Binding { mode, details }),
    }
}

impl AuthSettings {
    /// Returns the rules for proofs at a server with this URL. `None` if `AUTH_DPOP` is `off`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the URL is not an `https` URL (or `http` on loopback), and
    /// [`ConfigError::NoCrypto`] if `AUTH_DPOP` is set in a build without cryptography.
    pub fn dpop(&self, url: &str) -> Result<Option<Dpop>, ConfigError> {
        let Binding { mode, details } = &self.binding;
        if *mode == Mode::Off {
            return Ok(None);
        }
        let name = match self.resource_url() == Some(url) {
            true => "JWT_RESOURCE",
            false => "AUTH_PUBLIC_URL",
        };
        match details.rules((name, url), *mode == Mode::Required) {
            Err(ConfigError::NoCrypto) if *mode == Mode::Unset => Ok(None),
            built => built.map(Some),
        }
    }

    /// Returns the URL of the API behind the layer, if it is set.
    pub(crate) fn resource_url(&self) -> Option<&str> {
        self.resource.identifier()
    }
}

const NAME: &str = "AUTH_DPOP";
