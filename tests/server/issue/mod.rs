//! Issuing: acceptance rules S1 to S6, and rotation without a gap.

mod minting;
mod oracle;
mod publishing;
mod reserved;
mod rotation;
mod shared;
