//! The tower layers, and the parts that they share.
//!
//! | layer | effect on a request | refusals |
//! |---|---|---|
//! | [`JwtAuthLayer`](jwt::JwtAuthLayer) | authenticates it by a JWT | 400, 401, 503 |
//! | [`ApiKeyLayer`] | authenticates it by an API key | 400, 401, 503 |
//! | [`RoleGuardLayer`](role_guard::RoleGuardLayer) | requires roles, scopes, a custom condition or the decision of a policy engine | 401, 403, 503 |
//! | [`McpGuardLayer`](mcp::McpGuardLayer) | requires scopes or roles for the tools of an MCP server | 400, 401, 403 |
//! | [`McpSessionLayer`] | binds the sessions of an MCP server to callers | 400, 404 |
//! | [`ChatLayer`](socket::ChatLayer) | inserts a [`ChatContext`](socket::ChatContext) for guests and users | |
//! | [`RateLimitLayer`] | limits the requests of a client or a caller | 429 |
//! | [`RequireHttpsLayer`] | redirects or refuses plain HTTP | 308, 403 |
//!
//! | service | effect of a request |
//! |---|---|
//! | `logout::BackChannelLogout`, with the feature `jwks` | revokes the tokens of a user who signed out at the provider |
//!
//! | shared part | contents |
//! |---|---|
//! | [`extract`] | the places in a request from which a credential is read |
//! | [`response`] | the responses to refused requests: challenges, problem details, gRPC |
//! | [`openapi`] | OpenAPI descriptions of credentials and rules |
//! | [`resource`] | the metadata by which an API announces its authorization servers and scopes |
//! | [`dpop`] | the rules for tokens that are bound to a key of the client |
//! | [`mtls`] | the rules for tokens that are bound to the certificate of the client |
//! | [`peer`] | the address and the certificate of a connection's peer |
//! | [`middleware`] | the response future and the response body of every layer |
//! | [`socket`] | guards for WebSockets and event streams, which outlive a request |
//!
//! Every layer keeps these rules:
//!
//! - A refused request never reaches the inner service. The cause is an
//!   [`AuthError`](crate::AuthError) in the extensions of the response.
//! - Failures of the server are 500 or 503, never 401.
//! - Every refusal is `private`, and so is the response to a credential outside `Authorization`.
//! - The layer calls the instance of the inner service that was polled ready. A request that waits, for
//!   keys or for a store, holds no permit of that service.
//!
//! # Order
//!
//! A guard stands inside the layer that authenticates. In a `ServiceBuilder` the first layer is the
//! outermost one; in axum's `Router` the last one is ([middleware
//! order](crate::manual::frameworks#middleware-order)):
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower::ServiceBuilder;
//! use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier};
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let layers = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier))
//!     .layer(RoleGuardLayer::any_of(["admin"]));
//! # let _ = layers.service(());
//! # Ok(())
//! # }
//! ```
//!
//! [`ApiKeyLayer`]: api_key/index.html
//! [`McpSessionLayer`]: mcp/struct.McpSessionLayer.html
//! [`RateLimitLayer`]: rate_limit/index.html
//! [`RequireHttpsLayer`]: require_https/index.html

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod api_key;
#[cfg_attr(
    not(feature = "server"),
    allow(
        dead_code,
        unreachable_pub,
        reason = "only the issuing side creates confirmations"
    )
)]
pub(crate) mod confirmations;
pub mod dpop;
pub mod extract;
pub mod jwt;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub mod logout;
pub mod mcp;
pub mod middleware;
pub mod mtls;
pub mod openapi;
pub mod peer;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod rate_limit;
#[cfg(any(feature = "jwks", feature = "server"))]
pub(crate) mod request_body;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod require_https;
pub mod resource;
pub mod response;
pub mod role_guard;
pub mod socket;

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use self::confirmations::Confirmations;
