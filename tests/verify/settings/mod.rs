//! The variables `JWT_…`: their meaning, and the values that are refused.

mod dpop;
#[cfg(feature = "jwks")]
mod layer;
mod mapped;
mod meaning;
mod mtls;
mod refused;
mod resource;
