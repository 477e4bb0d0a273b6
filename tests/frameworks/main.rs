//! Every framework, through its real server and a real client, each on a loopback socket of its
//! own. A server stops with its test's runtime.

// Outside a `#[test]` function clippy takes a helper for production code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "frameworks/api_keys.rs"]
mod api_keys;
#[path = "frameworks/every_host.rs"]
mod every_host;
#[path = "frameworks/examples.rs"]
mod examples;
#[path = "frameworks/extractors.rs"]
mod extractors;
#[path = "frameworks/filters.rs"]
mod filters;
#[path = "frameworks/grpc.rs"]
mod grpc;
#[path = "frameworks/proxy.rs"]
mod proxy;
#[path = "frameworks/readiness.rs"]
mod readiness;
#[path = "frameworks/requirements.rs"]
mod requirements;
#[path = "frameworks/sockets.rs"]
mod sockets;
#[path = "frameworks/support/mod.rs"]
mod support;
#[path = "frameworks/websocket.rs"]
mod websocket;
