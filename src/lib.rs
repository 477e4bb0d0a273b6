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
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier};
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .build()?;
//! let authenticate = JwtAuthLayer::new(verifier);
//! let admins_only = RoleGuardLayer::any_of(["admin"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! Start with [the manual](manual::getting_started).
//!
//! | module | contents |
//! |---|---|
//! | [`verify`] | [`Verifier`]: the keys and rules that a token must satisfy; presets for identity providers |
//! | [`key`] | keys for verification and signing, key sets, fetched key sets |
//! | [`layer`] | the tower layers: [authentication](layer::jwt), [role guards](layer::role_guard), [API keys](layer::api_key), rate limits, sockets; extractors and error responses |
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
//! | `server` | the issuing side: tokens, sessions, login by password, endpoints, the store in memory |
//! | `tracing` | causes of refusals as `tracing` events |
//! | `rate-limit` | limits on the requests of a client |
//! | `metrics` | counters of events, through the `metrics` facade |
//! | `sqlite`, `postgres` | `server`, and stores for sessions, users, API keys, guests, revocations, over sqlx; requires Rust 1.94 |
//! | `redis` | `server`, and the same in Redis |
//! | `test-util` | clock, keys, tokens and callers for tests |
//! | `full` | all but `rust-crypto` and `test-util` |
//!
//! Without a cryptography feature everything compiles, and every key is refused with
//! [`ConfigError::NoCrypto`].
//!
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
pub mod revocation;
pub mod secret;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
pub mod settings;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod store;
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
pub use crate::settings::JwtSettings;
pub use crate::verify::{Verified, Verifier};

/// Compiles the README's code blocks as tests.
#[cfg(all(doctest, feature = "full", feature = "test-util"))]
#[doc = include_str!("../README.md")]
mod readme {}
