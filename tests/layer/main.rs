//! Every tower layer, around a service in memory.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod api_key;
mod events;
mod extract;
#[cfg(feature = "jwks")]
mod introspection;
mod jwt;
mod logged;
#[cfg(all(feature = "jwks", feature = "server"))]
mod logout;
mod mcp;
mod openapi;
mod rate_limit;
mod require_https;
mod response;
mod role_guard;
mod secrecy;
#[cfg(feature = "axum")]
mod socket;

#[path = "../support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod api_key;
    pub(crate) mod challenge;
    #[cfg(feature = "axum")]
    pub(crate) mod chat;
    pub(crate) mod fixture;
    #[cfg(feature = "tracing")]
    pub(crate) mod log;
    pub(crate) mod refusals;
    pub(crate) mod request;
    pub(crate) mod settle;
    #[cfg(feature = "axum")]
    pub(crate) mod socket;
    pub(crate) mod touchy;
    pub(crate) mod unreachable;
    pub(crate) mod until;
    pub(crate) mod waiting;
}
