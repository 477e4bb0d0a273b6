//! The names that most applications need, and no module names.
//!
//! Modules of this crate are called like frameworks (`axum`, `tonic`, `warp`), so a glob import of
//! the crate's root would hide those. This one is safe.
//!
//! ```
//! use tower_jwt_auth::prelude::*;
//! ```

pub use crate::{
    auth::JwtAuthLayer,
    claims::Claims,
    error::{AuthError, ConfigError},
    principal::{Anonymous, Principal},
    role_guard::RoleGuardLayer,
    verify::{Verified, Verifier},
};
