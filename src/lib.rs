//! Tower middleware that verifies JWT bearer tokens, puts the claims into request extensions, and
//! guards routes by role. With the feature `server` it also is a login server: users sign in, and their
//! tokens are issued, rotated and revoked.
//!
//! It works with any tower or hyper stack: axum, tonic, warp, plain hyper, a reverse proxy. Keys are
//! prepared once, verified tokens are cached, and no future is boxed on the path of a token.
//!
//! A [`Verifier`] holds the keys and the rules. A [`JwtAuthLayer`] authenticates requests with it, and a
//! [`RoleGuardLayer`] inside that layer requires roles or scopes:
//!
//! ```no_run
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! # #[cfg(feature = "axum")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use axum::{Router, routing::get};
//! use tower_jwt_auth::{JwtSettings, Principal, RoleGuardLayer};
//!
//! async fn me(caller: Principal) -> String {
//!     format!("hello {}", caller.subject().unwrap_or("you"))
//! }
//!
//! let auth = JwtSettings::from_env()?.layer()?;
//! let app: Router = Router::new()
//!     .route("/me", get(me))
//!     .route("/admin", get(me).layer(RoleGuardLayer::any_of(["admin"])))
//!     .layer(auth);
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to start
//!
//! | I want to … | take |
//! |---|---|
//! | verify tokens, configured by `JWT_*` variables | [`JwtSettings::layer`] |
//! | verify tokens of an identity provider, configured in code | `Verifier::provider`, `Verifier::oidc` (feature `jwks`), then [`JwtAuthLayer::new`] |
//! | verify tokens with a secret or a key file | [`Verifier::hs256`], `Verifier::pem` (feature `pem`) |
//! | require a role, a scope or a condition | [`RoleGuardLayer`], [`Rule`](layer::role_guard::Rule) |
//! | another scope for reading than for writing | [a guard by verb](manual::recipes::verbs) |
//! | a rule for each gRPC method | [`Rule::grpc`](layer::role_guard::Rule::grpc) |
//! | decide in the handler | [`Principal::require_scope`], [`require_role`](Principal::require_role), [`require_kind`](Principal::require_kind) |
//! | read the claims in a handler | [`Verified<C>`](Verified) with your claims type, [`Principal`] without one |
//! | accept users only, no services and no guests | [`UserPrincipal`](principal::UserPrincipal) |
//! | serve requests with and without a token | [`JwtAuthLayer::optional`] |
//! | read the token from a cookie, the query or another header | [`layer::extract`] |
//! | return my own JSON for errors | [`json_body`](layer::response::json_body) |
//! | know why a token is refused | [`Verifier::explain`], [the recipe](manual::recipes::refused) |
//! | accept tokens of several issuers, or old and new ones during a migration | [`Verifier::by_issuer`], [`Verifier::by_algorithm`], [moving from jsonwebtoken](manual::moving_from_jsonwebtoken) |
//! | revoke tokens before they expire | [`RevocationSet`](revocation::RevocationSet), [`JwtAuthLayer::revocation`] |
//! | announce the authorization servers and scopes of an API, protect an MCP server | [`layer::resource`] |
//! | accept API keys of programs | [`layer::api_key`], [the recipe](manual::recipes::api_keys) |
//! | protect an application behind nginx, Caddy, Envoy or Traefik | [`JwtAuthLayer::gateway`], [the recipe](manual::recipes::gate) |
//! | forward the caller to an upstream | [`JwtAuthLayer::forward_as`] |
//! | limit requests by client or by caller | `layer::rate_limit` (feature `rate-limit`) |
//! | close sockets when their token ends | [`layer::socket`] |
//! | sign users in, and issue, rotate and revoke tokens | [`AuthServer`](server/struct.AuthServer.html), [`server`] (feature `server`) |
//! | issue a token for a service | `server::issue::TokenIssuer`, [the recipe](manual::recipes::service_tokens) |
//! | count and audit | [`event`] |
//! | test handlers without tokens, or with tokens of a test issuer | `test_util` (feature `test-util`) |
//!
//! # Modules
//!
//! Start with [the manual](manual::getting_started).
//!
//! | module | contents |
//! |---|---|
//! | [`verify`] | [`Verifier`]: the keys and rules that a token must satisfy; presets for identity providers |
//! | [`key`] | keys for verification and signing, key sets, fetched key sets |
//! | [`layer`] | the tower layers: [authentication](layer::jwt), [role guards](layer::role_guard), [API keys], rate limits, sockets; extractors and error responses |
//! | [`principal`] | [`Principal`], the caller of a request, and parts of tokens: [`Claims`], scopes, session ids |
//! | [`revocation`] | revocation of tokens before they expire |
//! | [`event`] | events for audit logs and metrics |
//! | [`settings`] | configuration by environment variables |
//! | [`axum`], [`tonic`], [`warp`] | extractors, request extensions, filters |
//! | [`server`] | the issuing side: tokens, sessions, guests, passwords, endpoints |
//! | [`store`] | the stores of the issuing side: in memory, SQLite, PostgreSQL, Redis, or yours |
//! | [`error`], [`secret`], [`time`](mod@time) | errors, secrets that are never printed, clocks and timestamps |
//! | [`test_util`] | tokens, keys, callers and a clock for tests |
//! | [`prelude`] | the names for a glob import, which leaves out the modules `axum`, `tonic` and `warp` |
//! | [`manual`] | one chapter per topic |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `aws-lc-rs` *(default)* | cryptography by aws-lc-rs, every key prepared once |
//! | `pem` *(default)* | keys from PEM and DER |
//! | `rust-crypto` | pure-Rust cryptography through jsonwebtoken; if both are enabled, aws-lc-rs is used |
//! | `jwks` | keys from the network: JWKS URLs and discovery; includes aws-lc-rs through TLS |
//! | `axum`, `tonic`, `warp` | extractors, request extensions, filters |
//! | `server` | the issuing side: tokens, sessions, login by password, endpoints, API keys, the store in memory |
//! | `tracing` | causes of refusals as `tracing` events |
//! | `rate-limit` | limits on the requests of a client |
//! | `metrics` | counters of events, through the `metrics` facade |
//! | `totp` | `server`, and second factors: authenticator apps, recovery codes |
//! | `sqlite`, `postgres` | `server`, and stores for sessions, users, API keys, guests, revocations, over sqlx; requires Rust 1.94 |
//! | `redis` | `server`, and the same in Redis |
//! | `redis-replay` | used DPoP proofs of several nodes, in Redis |
//! | `test-util` | clock, keys, tokens and callers for tests |
//! | `full` | all but `rust-crypto` and `test-util` |
//!
//! Without a cryptography feature everything compiles, and every key is refused with
//! [`ConfigError::NoCrypto`].
//!
//! [API keys]: layer/api_key/index.html
//! [`layer::api_key`]: layer/api_key/index.html
//! [`axum`]: axum/index.html
//! [`tonic`]: tonic/index.html
//! [`warp`]: warp/index.html
//! [`server`]: server/index.html
//! [`store`]: store/index.html
//! [`test_util`]: test_util/index.html
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
mod erased;
pub mod error;
pub mod event;
pub mod key;
pub mod layer;
pub mod manual;
pub mod prelude;
pub mod principal;
#[cfg(feature = "redis-replay")]
mod redis_link;
pub mod revocation;
pub mod secret;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
pub mod settings;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod store;
mod stripes;
mod task;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
pub mod time;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;
pub mod verify;
#[cfg(feature = "warp")]
#[cfg_attr(docsrs, doc(cfg(feature = "warp")))]
pub mod warp;

pub use crate::error::{AuthError, ConfigError};
pub use crate::layer::jwt::JwtAuthLayer;
pub use crate::layer::role_guard::RoleGuardLayer;
pub use crate::principal::{Anonymous, Claims, Principal};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::server::{AuthServer, AuthSettings};
pub use crate::settings::JwtSettings;
pub use crate::verify::{Verified, Verifier};

/// Compiles the README's code blocks as tests.
#[cfg(all(doctest, feature = "full", feature = "test-util"))]
#[doc = include_str!("../README.md")]
mod readme {}
