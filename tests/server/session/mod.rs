//! Refresh tokens and sessions: the rules through the public API, every short history by a model
//! checker, and what the policies cost, by a simulation.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod background;
mod codec;
mod confirmations;
mod crossing;
mod ending;
mod events;
mod faults;
mod grants;
mod housekeeping;
mod lifetimes;
mod model;
mod refreshing;
mod simulation;
mod support;
mod table;
