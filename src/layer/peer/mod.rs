//! The peer of a connection: its address and its certificate, as request extensions.
//!
//! Only the code that accepts connections knows them. It inserts them into the extensions of every request
//! of the connection. No client can set an extension.
//!
//! | extension | read by |
//! |---|---|
//! | [`PeerAddr`] | rate limits, [certificates from a proxy](crate::layer::mtls) |
//! | [`PeerCertificate`] | a layer with [`mtls`](crate::JwtAuthLayer::mtls) |

mod address;
mod certificate;

pub(crate) use self::address::TrustedProxies;
pub use self::{address::PeerAddr, certificate::PeerCertificate};
