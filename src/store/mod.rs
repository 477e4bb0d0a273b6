//! Where sessions and revocations are kept.
//!
//! | store | sessions survive | revocations reach other nodes |
//! |---|---|---|
//! | [`MemoryStore`] | nothing | there are none |
//!
//! Every store passes [`contract`], which is public: one of your own runs it as well.

#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod contract;
mod memory;

pub use self::memory::MemoryStore;

use std::time::Duration;

/// How many of a subject's sessions are listed.
pub(crate) const LISTED: usize = 100;
/// How long a session is kept after its end, so that its user is told why.
pub(crate) const ENDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a session is kept after it was revoked.
pub(crate) const REVOKED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
