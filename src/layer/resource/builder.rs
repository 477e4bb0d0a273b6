//! The builder of a protected resource.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    Inner, ProtectedResource,
    url::{Identifier, check_issuer},
};
use crate::{
    error::ConfigError,
    layer::response::{Announced, OFFLINE, is_scope_token},
};

/// A builder for a [`ProtectedResource`].
#[derive(Clone, Debug)]
#[must_use = "nothing is built before `build` is called"]
pub struct ProtectedResourceBuilder {
    identifier: String,
    servers: Vec<String>,
    scopes: Vec<String>,
    aliases: BTreeMap<Box<str>, Box<str>>,
    members: Map<String, Value>,
    mcp: bool,
}

impl ProtectedResourceBuilder {
    pub(super) fn new(identifier: String) -> Self {
        Self {
            identifier,
            servers: Vec::new(),
            scopes: Vec::new(),
            aliases: BTreeMap::new(),
            members: Map::new(),
            mcp: false,
        }
    }

    pub(super) fn of(built: &Inner) -> Self {
        Self {
            identifier: built.identifier.as_str().to_owned(),
            servers: built.servers.clone(),
            scopes: built.scopes.clone(),
            aliases: built.aliases.clone(),
            members: built.members.clone(),
            mcp: built.mcp,
        }
    }

    /// Adds an authorization server that issues tokens for the resource, by its issuer identifier
    /// (`authorization_servers`). May be called repeatedly.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.servers.push(issuer.into());
        self
    }

    /// Adds scopes that clients can request (`scopes_supported`), by the names that tokens and rules
    /// use. May be called repeatedly.
    pub fn scopes<I>(mut self, scopes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// Sets the name under which clients request a scope, if tokens contain another one. Microsoft
    /// Entra ID, for example, expects `api://CLIENT-ID/orders.read` in a request and writes
    /// `orders.read` into the token.
    ///
    /// Rules, [`scopes`](Self::scopes) and
    /// [`challenge_scope`](crate::JwtAuthLayer::challenge_scope) use the name in tokens. The document
    /// and the challenges contain the requested name.
    pub fn scope_alias(mut self, in_tokens: &str, requested: &str) -> Self {
        self.aliases.insert(in_tokens.into(), requested.into());
        self
    }

    /// Sets the name of the resource for users (`resource_name`).
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with("resource_name", name.into())
    }

    /// Sets the URL of a page for developers (`resource_documentation`).
    pub fn documentation(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.with("resource_documentation", url.into())
    }

    /// Sets another member of the document, such as `resource_policy_uri`, `resource_tos_uri`,
    /// `resource_name#de` or an extension (RFC 9728 §2). An empty list is left out.
    ///
    /// [`build`](Self::build) refuses the members that other methods and the settings of the layer
    /// determine.
    pub fn member(self, name: &str, value: impl Into<Value>) -> Self {
        self.with(name, value.into())
    }

    /// Marks the resource as a server of the Model Context Protocol (MCP), whose authorization
    /// specification demands more than RFC 9728:
    ///
    /// - At least one authorization server is required.
    /// - The layer removes the token from requests that pass, as with
    ///   [`strip_credential`](crate::JwtAuthLayer::strip_credential): a server must not pass it on.
    /// - The verifier of the layer must expect an audience. If it does not, the layer's
    ///   [`build`](crate::JwtAuthLayer::build) returns an error, and a layer that was not built answers
    ///   every request with 500.
    pub fn mcp(mut self) -> Self {
        self.mcp = true;
        self
    }

    /// Validates the values and builds the resource.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if
    ///
    /// - the identifier or an authorization server is not an https URL, or has a fragment or user
    ///   information. An http URL on loopback is accepted.
    /// - a scope or an alias is not a scope token (RFC 6749 §3.3).
    /// - a scope is `offline_access`, which a client requests for itself.
    /// - a member is determined by another method or by the layer, or
    ///   `resource_signing_alg_values_supported` contains `none` (RFC 9728 §2).
    /// - an MCP server has no authorization server.
    pub fn build(self) -> Result<ProtectedResource, ConfigError> {
        let identifier = Identifier::parse(&self.identifier)?;
        self.servers.iter().try_for_each(|one| check_issuer(one))?;
        let tokens = self.scopes.iter().map(String::as_str);
        let aliases = self
            .aliases
            .iter()
            .flat_map(|(token, name)| [&**token, name]);
        tokens.chain(aliases).try_for_each(check_scope)?;
        self.members
            .iter()
            .try_for_each(|(name, value)| check_member(name, value))?;
        if self.mcp && self.servers.is_empty() {
            return Err(ConfigError::invalid(
                "authorization_server",
                "an MCP server needs at least one, from which its clients get tokens",
            ));
        }
        let url = format!("{}{}", identifier.origin(), identifier.document());
        let announced = Announced {
            url: url.into(),
            scopes: self.aliases.clone(),
        };
        Ok(ProtectedResource {
            inner: Arc::new(Inner {
                identifier,
                servers: self.servers,
                scopes: self.scopes,
                aliases: self.aliases,
                members: self.members,
                mcp: self.mcp,
                announced: Arc::new(announced),
            }),
        })
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }
}

fn check_scope(token: &str) -> Result<(), ConfigError> {
    let problem = match token {
        OFFLINE => "`offline_access` is for refresh tokens, which clients request for themselves",
        token if is_scope_token(token) => return Ok(()),
        _ => "an empty scope token, or one with a character outside RFC 6749 §3.3",
    };
    Err(ConfigError::invalid("scopes", problem))
}

fn check_member(name: &str, value: &Value) -> Result<(), ConfigError> {
    let refuse = |problem: &str| {
        Err(ConfigError::invalid(
            "member",
            format!("`{name}` {problem}"),
        ))
    };
    if DETERMINED.contains(&name) {
        return refuse("is determined by another method or by the settings of the layer");
    }
    let none = |value: &Value| value.as_str() == Some("none");
    let lists_none = value
        .as_array()
        .is_some_and(|values| values.iter().any(none));
    match name {
        "resource_signing_alg_values_supported" if lists_none => {
            refuse("must not contain `none` (RFC 9728 §2)")
        }
        _ => Ok(()),
    }
}

/// The members that are not free.
const DETERMINED: [&str; 7] = [
    "resource",
    "authorization_servers",
    "scopes_supported",
    "bearer_methods_supported",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
    "tls_client_certificate_bound_access_tokens",
];
