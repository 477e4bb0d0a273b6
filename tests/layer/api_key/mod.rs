//! API keys: issued, rolled, revoked, and let in beside tokens.
//!
//! A test that proves a rule is named after it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod beside;
mod layer;
mod life;
mod owners;
mod remembered;
#[path = "../support/waiting.rs"]
mod rules_of_waiting;
mod support;
mod uses;
mod waiting;
