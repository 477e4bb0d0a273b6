//! The guard, and the claims that it reads.

mod claims;
mod roles;
mod unreadable;
