//! The guard, and the claims that it reads.

mod claims;
mod policy;
mod requirements;
mod roles;
mod scopes;
mod unreadable;
