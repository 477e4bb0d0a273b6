//! Real gateways that ask the example server before they forward: nginx, Caddy and Envoy, each on
//! private ports and in a temporary folder.

// Outside a `#[test]` function clippy takes a helper for production code.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "gateways/allowances.rs"]
mod allowances;
#[path = "gateways/configurations.rs"]
mod configurations;
#[path = "stores/port.rs"]
mod port;
#[path = "gateways/processes.rs"]
mod processes;
