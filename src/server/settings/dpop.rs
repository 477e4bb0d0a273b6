//! The settings of sessions that are bound to a key of the client.

use super::AuthSettings;
use crate::{
    error::ConfigError,
    layer::dpop::Dpop,
    settings::vars::{Vars, refuse},
};

/// The value of `AUTH_DPOP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    Off,
    /// Not set: proofs are accepted if this build can verify them.
    Unset,
    Allowed,
    Required,
}

pub(super) fn read_binding(vars: &mut Vars) -> Result<Binding, ConfigError> {
    match vars.text(NAME)?.as_deref() {
        None => Ok(Binding::Unset),
        Some("off") => Ok(Binding::Off),
        Some("allowed") => Ok(Binding::Allowed),
        Some("required") => Ok(Binding::Required),
        Some(_) => Err(refuse(NAME, "must be off, allowed or required")),
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
        let rules = Dpop::at(url);
        match self.binding {
            Binding::Off => Ok(None),
            Binding::Allowed => rules.build().map(Some),
            Binding::Required => rules.required().build().map(Some),
            Binding::Unset => match rules.build() {
                Err(ConfigError::NoCrypto) => Ok(None),
                built => built.map(Some),
            },
        }
    }

    /// Returns the URL of the API behind the layer, if it is set.
    pub(crate) fn resource_url(&self) -> Option<&str> {
        self.resource.identifier()
    }
}

const NAME: &str = "AUTH_DPOP";
