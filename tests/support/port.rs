//! A port for a server that takes no open socket.

use std::{
    hash::{BuildHasher, RandomState},
    net::TcpListener,
};

/// One that nobody listens on, and that nobody is given by chance: it lies below those that systems
/// give to whoever wants any, so that no connection has it before the server does, nor while the
/// server is down. A client that tries to reach it then could otherwise even meet itself.
pub(crate) fn free_port() -> u16 {
    loop {
        let random = RandomState::new().hash_one(()) % 12_000;
        let port = 10_000 + u16::try_from(random).expect("below 12 000");
        // A node of a Redis cluster listens 10 000 above it as well.
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}
