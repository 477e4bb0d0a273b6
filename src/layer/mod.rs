//! The tower layers, and the HTTP vocabulary that they share.

pub mod api_key;
pub(crate) mod confirmations;
pub mod extract;
pub mod jwt;
pub mod middleware;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod rate_limit;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod require_https;
pub mod response;
pub mod role_guard;
pub mod socket;

pub use self::confirmations::Confirmations;
