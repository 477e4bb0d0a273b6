//! The `JWT_*` environment: what it means, what is refused, and the example server as a process.

// Outside a `#[test]` function clippy takes a helper for production code.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "resource_server/fixture.rs"]
mod fixture;
#[path = "resource_server/gateway.rs"]
mod gateway;
#[path = "resource_server/layer.rs"]
mod layer;
#[path = "resource_server/mapped.rs"]
mod mapped;
#[path = "resource_server/network.rs"]
mod network;
#[path = "resource_server/page.rs"]
mod page;
#[path = "resource_server/process.rs"]
mod process;
#[path = "resource_server/proxies.rs"]
mod proxies;
#[path = "resource_server/refused.rs"]
mod refused;
#[path = "resource_server/settings.rs"]
mod settings;
#[path = "remote/tls_server.rs"]
mod tls_server;
