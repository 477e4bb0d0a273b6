//! Refresh tokens: one counter per session instead of one row per token.
//!
//! A session is a *family* of refresh tokens. Its row holds a counter, never a token: the successor
//! of a token is computed from the token, so that an answer which got lost can be given again, word
//! for word, and nothing in the store lets anybody in. [`decide`] is the whole state machine; every
//! store does exactly the same in one atomic step.

mod confirm;
mod decide;
mod policy;
mod store;
mod token;

pub(crate) use self::store::LISTED;
pub use self::{
    confirm::Confirmations,
    decide::{Family, Outcome, Reuse, apply, confirm, decide},
    policy::RefreshPolicy,
    store::{Creation, NewSession, Peek, RevokeReason, Rotation, SessionRecord, SessionStore},
    token::{RefreshToken, RefreshTokens},
};
