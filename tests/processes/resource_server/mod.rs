//! The example server as a process: its routes, its keys, and what it refuses at its start.

mod gateway;
mod network;
mod process;
mod proxies;
