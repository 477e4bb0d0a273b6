//! Every store, through the contract that all of them obey, and each one's own faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod any;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod child;
#[cfg(feature = "full")]
mod housekeeping;
#[cfg(feature = "full")]
mod key_ring;
mod login;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod patient;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
#[cfg(feature = "full")]
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite;

#[path = "../support"]
mod support {
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) mod port;
    #[cfg(feature = "postgres")]
    pub(crate) mod postgres;
    #[cfg(feature = "redis")]
    pub(crate) mod redis;
    #[cfg(feature = "totp")]
    pub(crate) mod totp;
    #[cfg(feature = "redis")]
    pub(crate) mod until;
}
