//! Keys from the network, against a key server that misbehaves on demand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod discovery;
mod documents;
mod faults;
mod hanging;
mod issuers;
mod life;
mod lookups;
mod moved;
mod reasons;
mod refetch;
mod stopped;
mod support;
mod tls;
mod tls_server;
mod transport;
mod unknown_kids;
