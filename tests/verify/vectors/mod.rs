//! Signatures, tokens and keys that nobody of this project made, and properties that must hold for
//! every input.
//!
//! The tests that read files beside the repository are ignored unless asked for:
//!
//! ```sh
//! VECTORS_DIR=../shared/vectors cargo test --features test-util --test verify vectors:: -- --include-ignored
//! ```

mod oracle;
mod published;
mod robust;
mod shapes;
mod shared;
mod tampering;
