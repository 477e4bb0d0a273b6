//! The login server of the examples as a process, over HTTP.

mod bound;
mod chat;
pub(crate) mod client;
mod cookies;
#[path = "../../../examples/auth_server/chat.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod example_chat;
mod foreign;
mod kept;
mod live;
mod load;
mod proxies;
mod refused;
mod ring;
mod shared;
pub(crate) mod socket;
mod walk;
