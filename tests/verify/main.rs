//! Tokens and keys, up to the verdict of a verifier; the variables `JWT_…`; and the repository itself.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod algorithms;
mod builders;
mod cached;
mod chosen_claims;
mod claims;
mod explained;
mod form;
mod headers;
#[cfg(feature = "jwks")]
mod issuers;
mod json;
mod key;
mod lists;
mod presets;
mod profile;
mod remains;
mod repository;
mod settings;
mod times;
mod token_use;
mod vectors;
mod verdicts;

#[path = "../support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod challenge;
    pub(crate) mod fixture;
    #[cfg(feature = "tracing")]
    pub(crate) mod log;
    #[cfg(feature = "jwks")]
    pub(crate) mod remote;
    #[cfg(feature = "jwks")]
    pub(crate) mod settle;
    pub(crate) mod text;
    #[cfg(feature = "jwks")]
    pub(crate) mod tls_server;
    pub(crate) mod unreachable;
    #[cfg(feature = "jwks")]
    pub(crate) mod until;
    pub(crate) mod vars;
}
