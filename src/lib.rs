//! Tower middleware that verifies JWT bearer tokens, puts the claims into request extensions and
//! guards roles.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod auth;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
pub mod body;
pub mod claims;
pub mod clock;
pub mod deny;
pub mod error;
pub mod extract;
pub mod head;
pub mod key;
pub mod principal;
pub mod role_guard;
pub mod secret;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
pub mod token;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;
pub mod verify;
#[cfg(feature = "warp")]
#[cfg_attr(docsrs, doc(cfg(feature = "warp")))]
pub mod warp;

pub use crate::auth::JwtAuthLayer;
pub use crate::claims::Claims;
pub use crate::error::{AuthError, ConfigError};
pub use crate::principal::{Anonymous, Principal};
pub use crate::role_guard::RoleGuardLayer;
pub use crate::verify::{Verified, Verifier};
