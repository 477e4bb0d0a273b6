//! The guard, and the claims that it reads.

mod claims;
mod policy;
mod requirements;
mod roles;
mod scopes;
mod step_up;
mod unreadable;
