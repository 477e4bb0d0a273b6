//! A service that issues tokens: keys and tokens, sessions, logins, and their endpoints.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod endpoints;
mod front;
mod issue;
mod login;
mod mail;
mod refresh;
mod secrecy;
mod session;
mod settings;

#[path = "../support"]
mod support {
    #[cfg(feature = "axum")]
    pub(crate) mod chat;
    pub(crate) mod endpoints;
    pub(crate) mod flaky;
    pub(crate) mod issuing;
    #[cfg(feature = "tracing")]
    pub(crate) mod log;
    pub(crate) mod login;
    pub(crate) mod postbox;
    pub(crate) mod sessions;
    #[cfg(feature = "totp")]
    pub(crate) mod totp;
    pub(crate) mod until;
    pub(crate) mod users;
    pub(crate) mod watched;
}
