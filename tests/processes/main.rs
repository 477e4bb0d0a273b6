//! The examples as processes, over HTTP: alone, behind gateways, with a real browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod auth_server;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod browser;
mod gateways;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod mail;
mod mcp;
mod resource_server;

#[path = "../support"]
mod support {
    pub(crate) mod port;
    #[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
    pub(crate) mod postgres;
    pub(crate) mod process;
    #[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
    pub(crate) mod redis;
    pub(crate) mod script;
    #[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
    pub(crate) mod socket;
    pub(crate) mod tls_proxy;
    pub(crate) mod tls_server;
    pub(crate) mod vars;
}
