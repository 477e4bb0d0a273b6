//! Logout that an identity provider sends ([OpenID Connect Back-Channel Logout 1.0]).
//!
//! A user who signs out at the provider still has access tokens, which verify until they expire. The
//! provider therefore posts a logout token to the URL that was registered for the client
//! (`backchannel_logout_uri`). [`BackChannelLogout`] is the service for that URL. It verifies the logout
//! token with the keys of the issuer, and writes the revocation into the [`RevocationSet`] of the layers.
//!
//! | logout token | revoked |
//! |---|---|
//! | `sid` | the tokens with this `sid` |
//! | `sid` and `sub` | the same, and the subject's tokens without a `sid`, if they were issued until the logout |
//! | `sub` | all tokens of the subject that were issued until the logout |
//!
//! | request | response |
//! |---|---|
//! | a valid logout token, also a repeated one | 200 |
//! | any other logout token, or none | 400 with `{"error":"invalid_request"}`; nothing is revoked |
//! | keys or store unavailable | 503 with `Retry-After`; the provider should try again |
//! | another method than `POST` | 405 |
//!
//! A logout token has the `typ` `logout+jwt`, `JWT` or none (§2.4). It must name the issuer, the client as
//! its audience, a time of issue in the last two minutes, a `jti`, the logout event, and `sub` or `sid`. A
//! token with a `nonce` is refused, because it is an ID token (§2.6). Tokens are not remembered: a repeated
//! one has no further effect.
//!
//! The route needs no other authentication. Limit its requests with a
//! [`RateLimitLayer`](crate::layer::rate_limit) if it is reachable by others than the provider.
//!
//! # Several nodes
//!
//! The provider calls one node. Without a store, only that node revokes the tokens, until it restarts. With
//! [`log`](../../layer/logout/struct.BackChannelLogout.html#method.log), the revocation is written to a store, and the sets of all nodes follow
//! its feed.
//!
//! # Several issuers
//!
//! Subjects and sessions are unique within one issuer only. A verifier of several issuers therefore needs a
//! set that is limited to one of them ([`of_issuer`](crate::revocation::RevocationSet::of_issuer)), and the service accepts the
//! logout tokens of that issuer only. Use a service, a set and a store for each issuer.
//!
//! See [the manual](crate::manual::operation#logout-at-an-identity-provider) for what a logout does not end.
//!
//! # Examples
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::{get, post_service}};
//! use tower_jwt_auth::{
//!     JwtAuthLayer, Verifier, layer::logout::BackChannelLogout, revocation::RevocationSet,
//! };
//!
//! let issuer = "https://sso.example/realms/shop";
//! let verifier = Verifier::oidc(issuer).audience("https://api.shop.example").build()?;
//! let revoked = RevocationSet::local().of_issuer(issuer);
//! let logout = BackChannelLogout::new(&verifier, "shop-web", &revoked)?;
//! let app: Router = Router::new()
//!     .route("/orders", get(async || "none"))
//!     .route_layer(JwtAuthLayer::new(verifier).revocation(revoked))
//!     .route("/backchannel-logout", post_service(logout));
//! # let _ = app;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! [OpenID Connect Back-Channel Logout 1.0]: https://openid.net/specs/openid-connect-backchannel-1_0.html
//! [`RevocationSet`]: crate::revocation::RevocationSet

mod answer;
mod service;

pub use self::service::BackChannelLogout;
