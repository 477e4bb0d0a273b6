//! The login server of the examples as a process, spoken to over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "auth_server/chat.rs"]
mod chat;
#[path = "auth_server/cookies.rs"]
mod cookies;
#[path = "../examples/auth_server/chat.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod example_chat;
#[path = "auth_server/foreign.rs"]
mod foreign;
#[path = "auth_server/kept.rs"]
mod kept;
#[path = "auth_server/live.rs"]
mod live;
#[path = "auth_server/load.rs"]
mod load;
#[path = "stores/port.rs"]
mod port;
#[path = "stores/postgres/server.rs"]
#[allow(dead_code, reason = "the tests of the stores use all of it")]
mod postgres;
#[path = "auth_server/process.rs"]
mod process;
#[path = "auth_server/proxies.rs"]
mod proxies;
#[path = "stores/redis/server.rs"]
#[allow(dead_code, reason = "the tests of the stores use all of it")]
mod redis;
#[path = "auth_server/refused.rs"]
mod refused;
#[path = "auth_server/ring.rs"]
mod ring;
#[path = "auth_server/shared.rs"]
mod shared;
#[path = "auth_server/socket.rs"]
mod socket;
#[path = "auth_server/walk.rs"]
mod walk;
