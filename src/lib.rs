//! Tower middleware that verifies JWT bearer tokens, inserts the claims into request extensions and
//! guards roles. The issuing side signs users in, and issues, rotates and revokes tokens.
//!
//! It works in any tower or hyper stack: axum, tonic, warp, plain hyper, a proxy. Keys are prepared
//! once, a repeated token is found in the cache of verified tokens, and [`JwtAuthLayer`] and
//! [`RoleGuardLayer`] box no futures.
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
//! Start with [the manual](manual::getting_started). [`verify`] documents keys and rules, [`layer`] the
//! tower layers, and [`settings`] the environment variables. The issuing side needs the feature
//! `server`: `server::issue` issues tokens, `server::session` keeps sessions, `server::login` verifies
//! passwords, `server::endpoints` serves all of it over HTTP, and `store` has the stores.
//!
//! For glob imports use the [`prelude`], because this crate's modules `axum`, `tonic` and `warp` would
//! shadow the frameworks.
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
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
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
