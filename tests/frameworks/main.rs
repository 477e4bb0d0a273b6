//! Every framework, through its real server and a real client, each on a loopback socket of its
//! own. A server stops with its test's runtime.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod api_keys;
mod dpop;
mod every_host;
mod examples;
mod extractors;
mod filters;
mod grpc;
#[cfg(unix)]
mod mcp;
mod mtls;
mod proxy;
mod readiness;
mod requirements;
mod resource;
mod sockets;
mod unread;
mod websocket;

#[path = "../support"]
mod support {
    pub(crate) mod http_client;
    pub(crate) mod http_server;
    pub(crate) mod late_keys;
    pub(crate) mod tokens;
    pub(crate) mod touchy;
}
