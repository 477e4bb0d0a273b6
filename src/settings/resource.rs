//! The protected resource that a server announces.

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    layer::{jwt::JwtAuthLayer, resource::ProtectedResource},
};

/// The variables, as they are set.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    identifier: Option<String>,
    servers: Vec<String>,
    scopes: Vec<String>,
}

/// A resource, and the scope of its challenges. It is announced if it has an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    resource: ProtectedResource,
    is_announced: bool,
    scope: Option<String>,
}

impl Variables {
    pub(crate) fn read(vars: &mut Vars) -> Result<Self, ConfigError> {
        let (servers, scopes) = (vars.list(SERVERS)?, vars.list(SCOPES)?);
        if servers.is_none() && scopes.is_some() {
            return Err(refuse(SCOPES, format!("has no effect without {SERVERS}")));
        }
        Ok(Self {
            identifier: vars.text(RESOURCE)?,
            servers: servers.unwrap_or_default(),
            scopes: scopes.unwrap_or_default(),
        })
    }

    /// Returns the resource of a server that has no other name.
    pub(super) fn required(&self) -> Result<Option<Announcement>, ConfigError> {
        match &self.identifier {
            Some(identifier) => self.announcement(identifier).map(Some),
            None if self.servers.is_empty() => Ok(None),
            None => Err(refuse(SERVERS, format!("has no effect without {RESOURCE}"))),
        }
    }

    /// Returns the resource of a server with this public URL, which is the default of the identifier.
    /// `None` if nothing is set and the URL cannot be an identifier.
    #[cfg(feature = "server")]
    pub(crate) fn or_named(&self, public_url: &str) -> Result<Option<Announcement>, ConfigError> {
        let identifier = self.identifier.as_deref().unwrap_or(public_url);
        match self.announcement(identifier) {
            Err(_) if self.identifier.is_none() && self.servers.is_empty() => Ok(None),
            announcement => announcement.map(Some),
        }
    }

    /// Returns the identifier, if it is set.
    #[cfg(feature = "server")]
    pub(crate) fn identifier(&self) -> Option<&str> {
        self.identifier.as_deref()
    }

    fn announcement(&self, identifier: &str) -> Result<Announcement, ConfigError> {
        let builder = ProtectedResource::builder(identifier).scopes(&self.scopes);
        let servers = self.servers.iter();
        let builder = servers.fold(builder, |builder, one| builder.authorization_server(one));
        Ok(Announcement {
            resource: builder.build().map_err(blame)?,
            is_announced: !self.servers.is_empty(),
            scope: Some(self.scopes.join(" ")).filter(|scope| !scope.is_empty()),
        })
    }
}

impl Announcement {
    pub(crate) fn resource(&self) -> &ProtectedResource {
        &self.resource
    }

    /// Announces the resource by a layer.
    pub(crate) fn apply<C, R>(&self, layer: JwtAuthLayer<C, R>) -> JwtAuthLayer<C, R> {
        if !self.is_announced {
            return layer;
        }
        let layer = layer.resource(&self.resource);
        match &self.scope {
            Some(scope) => layer.challenge_scope(scope),
            None => layer,
        }
    }
}

/// Replaces the name of a setting by that of its variable.
fn blame(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Invalid { name, problem } => {
            let variable = match &*name {
                "authorization_server" => SERVERS,
                "scopes" => SCOPES,
                _ => RESOURCE,
            };
            refuse(variable, problem)
        }
        other => other,
    }
}

const RESOURCE: &str = "JWT_RESOURCE";
const SERVERS: &str = "JWT_AUTHORIZATION_SERVERS";
const SCOPES: &str = "JWT_RESOURCE_SCOPES";
