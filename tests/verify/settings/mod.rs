//! The variables `JWT_…`: their meaning, and the values that are refused.

mod mapped;
mod meaning;
mod refused;
