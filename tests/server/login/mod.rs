//! Login without HTTP: passwords, throttling, devices; and the form of API keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod api_keys;
#[cfg(feature = "aws-lc-rs")]
mod change;
mod crowds;
mod devices;
#[cfg(feature = "aws-lc-rs")]
mod grants;
mod hostile;
mod passwords;
#[cfg(feature = "aws-lc-rs")]
mod resets;
mod sign_in;
mod support;
mod throttling;
