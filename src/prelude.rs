//! The names that most applications need, and no module names.
//!
//! Modules of this crate are called like frameworks (`axum`, `tonic`, `warp`), so a glob import of
//! the crate's root would hide those. This one is safe.
//!
//! ```
//! use tower_jwt_auth::prelude::*;
//! ```

pub use crate::{
    error::{AuthError, ConfigError},
    layer::{jwt::JwtAuthLayer, role_guard::RoleGuardLayer},
    principal::{Anonymous, Claims, Principal},
    verify::{Verified, Verifier},
};
