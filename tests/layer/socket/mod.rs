//! Guests, who they become, and sockets that end with their token.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod claims;
mod contexts;
mod conversations;
mod crowd;
mod services;
mod sockets;
mod streams;
mod support;
mod waking;
