//! Issuing: acceptance rules S1 to S6, and rotation without a gap.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod minting;
mod oracle;
mod publishing;
mod reserved;
mod rotation;
#[cfg(feature = "aws-lc-rs")]
mod shared;
mod support;
