//! The metadata by which a protected resource announces itself: [RFC 9728].
//!
//! A client that knows only the URL of an API learns from the metadata which authorization server issues
//! tokens for it, and which scopes there are. Clients of the Model Context Protocol (MCP) sign in this
//! way.
//!
//! A [`ProtectedResource`] is configured once, and passed to the layer:
//!
//! - Every challenge of the layer and of the guards inside it names the URL of the document
//!   (`resource_metadata`, RFC 9728 §5.1).
//! - The layer answers requests for the document itself, without a token, if it sees them. A layer on
//!   some routes of a router does not: add a route to [`JwtAuthLayer::metadata`].
//! - The document states how the layer accepts tokens, from the settings of the layer.
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::resource::ProtectedResource};
//!
//! let resource = ProtectedResource::builder("https://api.example/orders")
//!     .authorization_server("https://auth.example")
//!     .scopes(["orders:read", "orders:write"])
//!     .build()?;
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
//!     .audience(resource.identifier())
//!     .build()?;
//! let layer = JwtAuthLayer::new(verifier)
//!     .resource(&resource)
//!     .challenge_scope("orders:read")
//!     .build()?;
//! let service = layer.layer(service_fn(async |_: Request<String>| {
//!     Ok::<_, Infallible>(Response::new("orders".to_owned()))
//! }));
//!
//! let request = Request::get("/orders").body(String::new())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(
//!     response.headers()["www-authenticate"],
//!     "Bearer realm=\"api\", scope=\"orders:read\", \
//!      resource_metadata=\"https://api.example/.well-known/oauth-protected-resource/orders\"",
//! );
//!
//! let document = "/.well-known/oauth-protected-resource/orders";
//! let response = service.oneshot(Request::get(document).body(String::new())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728
//! [`JwtAuthLayer::metadata`]: crate::JwtAuthLayer::metadata

mod builder;
mod metadata;
mod url;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::{Map, Value};

pub(crate) use self::url::WELL_KNOWN;
pub use self::{builder::ProtectedResourceBuilder, metadata::ResourceMetadata};
use crate::layer::response::Announced;

/// A protected resource: an API that accepts tokens, under the name that its clients and its tokens
/// use.
///
/// Cheap to clone. See the [module](self).
#[derive(Clone)]
pub struct ProtectedResource {
    inner: Arc<Inner>,
}

struct Inner {
    identifier: url::Identifier,
    servers: Vec<String>,
    /// The scopes by their names in tokens.
    scopes: Vec<String>,
    aliases: BTreeMap<Box<str>, Box<str>>,
    members: Map<String, Value>,
    mcp: bool,
    announced: Arc<Announced>,
}

impl ProtectedResource {
    /// Creates a builder for the resource with this identifier: the URL under which clients reach it,
    /// as `https://api.example/mcp`.
    ///
    /// The identifier is compared by clients character by character (RFC 9728 §3.3). A slash at the end
    /// is part of it. Scheme and host are converted to lower case.
    pub fn builder(identifier: impl Into<String>) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder::new(identifier.into())
    }

    /// Returns a builder with the values of this resource.
    pub fn to_builder(&self) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder::of(&self.inner)
    }

    /// Returns the identifier, which tokens for this resource name as their audience (RFC 8707 §2).
    #[must_use]
    pub fn identifier(&self) -> &str {
        self.inner.identifier.as_str()
    }

    /// Returns the origin of the identifier: its scheme, its host and its port.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.inner.identifier.origin()
    }

    /// Returns the URL of the metadata document (RFC 9728 §3).
    #[must_use]
    pub fn metadata_url(&self) -> &str {
        &self.inner.announced.url
    }

    /// Returns `true` if the resource is [a server of the Model Context
    /// Protocol](ProtectedResourceBuilder::mcp).
    #[must_use]
    pub fn is_mcp(&self) -> bool {
        self.inner.mcp
    }

    /// Returns the parts that challenges contain.
    pub(crate) fn announced(&self) -> &Arc<Announced> {
        &self.inner.announced
    }
}

impl fmt::Debug for ProtectedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedResource")
            .field("identifier", &self.identifier())
            .field("mcp", &self.is_mcp())
            .finish_non_exhaustive()
    }
}
