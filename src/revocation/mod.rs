//! Revocation of tokens before they expire.
//!
//! An access token verifies until it expires, even if its session ends earlier. A [`RevocationSet`]
//! in every process therefore holds the sessions, tokens and subjects' epochs that were revoked. A
//! layer looks each request up in it
//! ([`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation)), also if the token is in the
//! verifier's cache. A [`Feed`] fills the set from a store. Without a store, the process
//! [inserts](RevocationSet::insert) revocations itself.
//!
//! | item | role |
//! |---|---|
//! | [`RevocationSet`] | the set in memory, which follows a feed |
//! | [`Revocation`], [`RevocationTarget`] | an entry: a session, a token, a subject's epoch, a subject's tokens up to a time of issue, or all tokens issued before a time |
//! | [`Feed`] | the source of revocations by other nodes |
//! | [`RevocationLog`] | the destination of revocations, with the feature `server` |
//! | [`Broadcast`] | both sides in one process, with the feature `server` |
//! | [`RevocationCheck`], [`check_fn`] | a custom check, for example a query |
//! | [`RevocationChecks`] | several checks of any type |
//! | [`Changes`] | the revocations of one caller, for connections that outlive a request |
//!
//! An *epoch* is a number that every access token of a session carries. Raising the epoch of a subject
//! revokes all of its sessions and tokens with one entry. Other systems call it a security stamp.
//!
//! | state of the set | response to the request |
//! |---|---|
//! | contains the token's `sid` or `jti`, a newer epoch of its `sub`, or its `sub` with its `iat` or a later one | 401 `invalid_token` |
//! | follows a store that has no records of the time at which the token was issued | 401 `invalid_token` |
//! | was never loaded | 503 |
//! | is up to date | passes |
//! | lost its feed | passes for 30 minutes ([`MAX_TOKEN_LIFETIME`]), then 503; with [`require_fresh`](RevocationSet::require_fresh) 503 after 10 s |
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower_jwt_auth::{JwtAuthLayer, Verifier, time::Timestamp};
//! use tower_jwt_auth::revocation::{Revocation, RevocationSet};
//!
//! let revoked = RevocationSet::local();
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let everywhere = JwtAuthLayer::new(verifier.clone()).revocation(revoked.clone());
//! let payments = JwtAuthLayer::new(verifier).revocation(revoked.clone().require_fresh());
//!
//! let until = Timestamp::from(std::time::SystemTime::now()).plus(tower_jwt_auth::revocation::RETENTION);
//! revoked.insert(&Revocation::session("1f0953f2e859f2e1f589274be44a2338", until));
//! # Ok(())
//! # }
//! ```
//!
//! [`RevocationLog`]: trait.RevocationLog.html
//! [`Broadcast`]: struct.Broadcast.html

mod both;
#[cfg(feature = "server")]
mod broadcast;
mod changes;
mod check;
mod checks;
mod entries;
mod entry;
mod expected;
mod feed;
mod follow;
#[cfg(feature = "server")]
mod log;
mod set;

#[cfg(feature = "server")]
pub(crate) use self::expected::expect;
pub(crate) use self::expected::note_unchecked;
pub use self::{
    changes::Changes,
    check::{CheckResult, RevocationCheck, RevocationStatus, check_fn},
    checks::RevocationChecks,
    entry::{MAX_TOKEN_LIFETIME, RETENTION, Revocation, RevocationTarget},
    feed::Feed,
    set::RevocationSet,
};
// Named only to write down the type of a layer.
#[doc(hidden)]
pub use self::{both::Both, check::NoRevocation};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use self::{
    broadcast::{Broadcast, BroadcastFeed},
    log::RevocationLog,
};
