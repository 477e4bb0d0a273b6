//! Real gateways that ask the example server before they forward: nginx, Caddy and Envoy, each on
//! private ports and in a temporary folder.

mod allowances;
mod configurations;
mod processes;
