//! OpenAPI descriptions of what the layers require.
//!
//! The values come from the layers and rules that guard the routes, so that a document cannot describe
//! another guard than the one that runs. They are JSON values in the form of [OpenAPI 3.1], for any
//! library that builds such a document:
//!
//! - [`JwtAuthLayer::openapi`](crate::JwtAuthLayer::openapi) returns the [`SecuritySchemes`] of a layer.
//! - [`Rule::openapi_security`] returns the `security` of an operation.
//! - [`Rule::openapi_extension`] returns the whole rule, with what `security` cannot express.
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use serde_json::json;
//! use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier};
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let layer = JwtAuthLayer::new(verifier);
//! let guard = RoleGuardLayer::scope("orders:write");
//!
//! let schemes = layer.openapi()?;
//! let document = json!({
//!     "openapi": "3.1.0",
//!     "info": { "title": "Orders", "version": "1" },
//!     "components": { "securitySchemes": schemes.to_value() },
//!     "paths": { "/orders": { "post": {
//!         "security": guard.rule().openapi_security(&schemes),
//!         "responses": { "201": { "description": "created" } },
//!     } } },
//! });
//! assert_eq!(
//!     document["components"]["securitySchemes"],
//!     json!({ "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } }),
//! );
//! assert_eq!(
//!     document["paths"]["/orders"]["post"]["security"],
//!     json!([{ "bearer": ["orders:write"] }]),
//! );
//! # Ok(())
//! # }
//! ```
//!
//! [OpenAPI 3.1]: https://spec.openapis.org/oas/v3.1.1.html
//! [`Rule::openapi_security`]: crate::layer::role_guard::Rule::openapi_security
//! [`Rule::openapi_extension`]: crate::layer::role_guard::Rule::openapi_extension

use serde_json::{Map, Value, json};

use crate::{
    error::ConfigError,
    layer::extract::{NamedPlace, Place},
};

/// The security schemes of a layer: the credentials that it accepts, each of which is sufficient.
///
/// | the layer reads | name | scheme |
/// |---|---|---|
/// | `Authorization`, keys found through an issuer's metadata | `openIdConnect` | `openIdConnect` with the URL of the metadata |
/// | `Authorization`, other keys | `bearer` | `http`, `bearer`, format `JWT` |
/// | `Authorization`, tokens with a [proof](crate::layer::dpop) | `dpop` | `http`, `dpop` |
/// | another header | `header` | `apiKey` in `header` |
/// | a cookie | `cookie` | `apiKey` in `cookie` |
/// | the query | `query` | `apiKey` in `query` |
/// | an API key | `apiKey` | `apiKey` in `header` |
///
/// A second scheme of the same kind has the suffix `_2`, a third one `_3`. OpenAPI cannot express the
/// subprotocol of a WebSocket, which is left out. A layer that [requires
/// proofs](crate::layer::dpop::DpopBuilder::required) has the scheme `dpop` only. OpenAPI has no place for the
/// header with the proof, so the description of the scheme names it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecuritySchemes {
    schemes: Vec<(String, Value)>,
    is_optional: bool,
}

impl SecuritySchemes {
    /// Creates the schemes of a layer. `issuers` are those whose metadata name the keys, and
    /// `has_others` is `true` if keys of another source verify tokens as well.
    pub(crate) fn of_tokens(
        places: &[NamedPlace],
        issuers: &[String],
        has_others: bool,
    ) -> Result<Self, ConfigError> {
        let mut all = Self::default();
        for place in places {
            if place.place() != Place::Authorization {
                all.add_place(place);
                continue;
            }
            for issuer in issuers {
                // OpenID Connect Discovery §4: a slash at the end is removed first.
                let base = issuer.strip_suffix('/').unwrap_or(issuer);
                let url = format!("{base}/.well-known/openid-configuration");
                let scheme = json!({ "type": "openIdConnect", "openIdConnectUrl": url });
                all.add("openIdConnect", scheme);
            }
            if has_others || issuers.is_empty() {
                let scheme = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
                all.add("bearer", scheme);
            }
        }
        match all.schemes.is_empty() {
            // An empty requirement would describe an open route.
            true => Err(ConfigError::invalid(
                "openapi",
                "the extractor describes no place that OpenAPI can express",
            )),
            false => Ok(all),
        }
    }

    /// Creates the scheme of a layer that accepts no token without a proof.
    pub(crate) fn of_proofs() -> Self {
        Self::default().and_proofs()
    }

    /// Adds the scheme of tokens with a proof (RFC 9449 §7.1).
    pub(crate) fn and_proofs(mut self) -> Self {
        let scheme = json!({
            "type": "http",
            "scheme": "dpop",
            "description": "An access token that is bound to a key of the client, with a proof in the header \
                            `DPoP` (RFC 9449).",
        });
        self.add("dpop", scheme);
        self
    }

    /// Creates the schemes of a layer for API keys in these headers.
    #[cfg(feature = "server")]
    pub(crate) fn of_api_keys(places: &[NamedPlace]) -> Self {
        let mut all = Self::default();
        for place in places {
            let scheme = json!({ "type": "apiKey", "in": "header", "name": place.name() });
            all.add("apiKey", scheme);
        }
        all
    }

    /// Adds the schemes of another layer around the same routes: either is sufficient.
    ///
    /// Two layers on one route are both optional, and a guard inside them requires a caller. Both
    /// optional, they accept an anonymous request.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.is_optional &= other.is_optional;
        for (name, scheme) in other.schemes {
            self.add(&name, scheme);
        }
        self
    }

    pub(crate) fn optional(mut self, is_optional: bool) -> Self {
        self.is_optional = is_optional;
        self
    }

    fn add_place(&mut self, place: &NamedPlace) {
        let kind = match place.place() {
            Place::Header => "header",
            Place::Cookie => "cookie",
            Place::Query => "query",
            Place::Authorization | Place::WebSocket => return,
        };
        let scheme = json!({ "type": "apiKey", "in": kind, "name": place.name() });
        self.add(kind, scheme);
    }

    fn add(&mut self, kind: &str, scheme: Value) {
        let mut name = kind.to_owned();
        let mut number = 2;
        while self.names().any(|taken| taken == name) {
            name = format!("{kind}_{number}");
            number += 1;
        }
        self.schemes.push((name, scheme));
    }

    /// Returns the names of the schemes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.schemes.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the value of `securitySchemes` in the components of a document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.schemes.iter().cloned().collect())
    }

    /// Returns the `security` of a route without a guard, or of the whole document: one of the schemes.
    ///
    /// If the layer is [optional](crate::JwtAuthLayer::optional), the last alternative is an empty
    /// requirement, which describes an anonymous request.
    #[must_use]
    pub fn requirement(&self) -> Value {
        let mut alternatives = self.requiring([Vec::new()]);
        if self.is_optional {
            alternatives.push(Value::Object(Map::new()));
        }
        Value::Array(alternatives)
    }

    /// Returns the alternatives: each scheme with each of these lists of scopes.
    pub(crate) fn requiring<'a, I>(&self, alternatives: I) -> Vec<Value>
    where
        I: IntoIterator<Item = Vec<&'a str>>,
    {
        let mut requirements = Vec::new();
        for scopes in alternatives {
            for (name, _) in &self.schemes {
                let requirement = [(name.clone(), Value::from(scopes.clone()))];
                requirements.push(Value::Object(requirement.into_iter().collect()));
            }
        }
        requirements
    }
}
