//! Revocation of tokens before they expire.
//!
//! An access token verifies until it expires, even if its session ends earlier. A [`RevocationSet`]
//! in every process therefore holds the sessions, tokens and subjects' epochs that were revoked. A
//! layer looks each request up in it
//! ([`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation)), also if the token is in the
//! verifier's cache. A [`Feed`] fills the set from a store. A [`Broadcast`] fills the sets within
//! one process.
//!
//! | item | role |
//! |---|---|
//! | [`RevocationSet`] | the set in memory, which follows a feed |
//! | [`Revocation`], [`RevocationTarget`] | an entry: a session, a token, a subject's epoch, or all tokens issued before a time |
//! | [`RevocationLog`], [`Feed`] | the write and the read side of a store of revocations |
//! | [`Broadcast`] | both sides in one process, without a store |
//! | [`RevocationCheck`], [`check_fn`] | a custom check, for example a query |
//! | [`Changes`] | the revocations of one caller, for connections that outlive a request |
//!
//! An *epoch* is a number that every access token of a session carries. Raising the epoch of a subject
//! revokes all of its sessions and tokens with one entry. Other systems call it a security stamp.
//!
//! | state of the set | response to the request |
//! |---|---|
//! | contains the token's `sid` or `jti`, or a newer epoch of its `sub` | 401 `invalid_token` |
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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_jwt_auth::{JwtAuthLayer, Verifier, time::Timestamp};
//! use tower_jwt_auth::revocation::{Broadcast, Revocation, RevocationLog, RevocationSet};
//!
//! let news = Broadcast::new();
//! let revoked = RevocationSet::follow(news.feed())?;
//! assert!(revoked.loaded(Duration::from_secs(30)).await);
//!
//! let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
//! let everywhere = JwtAuthLayer::new(verifier.clone()).revocation(revoked.clone());
//! let payments = JwtAuthLayer::new(verifier).revocation(revoked.require_fresh());
//!
//! let until = Timestamp::from(std::time::SystemTime::now()).plus(tower_jwt_auth::revocation::RETENTION);
//! news.append(Revocation::session("1f0953f2e859f2e1f589274be44a2338", until)).await?;
//! # Ok(())
//! # }
//! ```

mod both;
mod broadcast;
mod changes;
mod check;
mod entries;
mod entry;
mod feed;
mod follow;
mod log;
mod set;

pub use self::{
    both::{Both, BothFuture},
    broadcast::{Broadcast, BroadcastFeed},
    changes::Changes,
    check::{CheckFn, CheckResult, NoRevocation, RevocationCheck, RevocationStatus, check_fn},
    entry::{MAX_TOKEN_LIFETIME, RETENTION, Revocation, RevocationTarget},
    feed::Feed,
    log::RevocationLog,
    set::RevocationSet,
};
