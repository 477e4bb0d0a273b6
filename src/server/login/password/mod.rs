//! Passwords: input, stored hashes, hashing and verification.

mod builder;
mod cost;
mod hasher;
mod input;
mod pepper;
mod policy;
mod pool;
mod stored;

pub(super) use self::pool::{Caller, Permit};
pub use self::{
    builder::PasswordHasherBuilder,
    cost::Argon2Cost,
    hasher::{PasswordError, PasswordHasher, Verification},
    input::Password,
    policy::{PasswordPolicy, PasswordRule},
    stored::PasswordHash,
};
