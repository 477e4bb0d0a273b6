//! The endpoints of a login server, through their tower service.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wrong_self_convention,
    reason = "tests fail by panicking"
)]

mod bodies;
mod change_password;
mod cookies;
mod devices;
mod events;
mod flaky;
mod floods;
mod generations;
mod guests;
mod logout;
mod names;
mod origins;
mod passwords;
mod register;
mod settings;
mod sign_in;
mod standing;
mod support;
mod surface;
mod tokens;
mod well_known;
