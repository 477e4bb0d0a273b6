//! The example server as a process: its routes, its keys, and what it refuses at its start.

mod announced;
mod certificates;
mod dpop;
mod gateway;
mod introspection;
mod logout;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod logout_nodes;
mod network;
mod page;
mod process;
mod proxies;

use std::{ffi::OsStr, process::ExitStatus};

use crate::support::process::{Server, refused_by};

pub(crate) fn start<V: AsRef<OsStr>>(vars: &[(&str, V)]) -> Server {
    Server::start_example("resource_server", vars)
}

fn refused<V: AsRef<OsStr>>(vars: &[(&str, V)]) -> (ExitStatus, String, String) {
    refused_by("resource_server", vars)
}
