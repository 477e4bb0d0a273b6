//! Guests, who they become, and sockets that end with their token.

mod client;
mod contexts;
mod conversations;
mod crowd;
mod services;
mod sockets;
mod streams;
mod waking;
mod withdrawn;
