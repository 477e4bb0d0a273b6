//! This crate beside its peers: what they cost, and how they behave.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- speed [accepted|growth|threads] [--quick] [--svg FILE]
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- behaviour
//! ```
//!
//! Each prints Markdown. How a peer is set up stands in its own file under `peers/`: as its
//! documentation recommends, and as strict as its settings allow. Both programs share it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod behaviour;
mod floor;
#[path = "../../harness/mod.rs"]
mod harness;
mod peer;
mod peers;
mod setup;
mod speed;

use std::env;

fn main() {
    // jsonwebtoken asks the process for its cryptography.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    match arguments.first().map(String::as_str) {
        Some("speed") => {
            let part = arguments.get(1).filter(|part| !part.starts_with("--"));
            speed::main(has("--quick"), after("--svg"), part.cloned());
        }
        Some("behaviour") => behaviour::main(),
        _ => println!("speed [accepted|growth|threads] [--quick] [--svg FILE] | behaviour"),
    }
}
