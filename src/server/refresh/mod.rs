//! Refresh tokens: one counter per session instead of one row per token.
//!
//! A session is a *family* of refresh tokens. Its row contains a counter, never a token. The
//! successor of a token is computed from the token and the server's key, so that a lost answer can
//! be repeated exactly, and no content of the store lets a reader sign in. [`decide`] is the
//! complete state machine; every store implements it in one atomic step.

mod confirm;
mod decide;
mod policy;
mod token;

pub use self::{
    decide::{Family, RefreshOutcome, ReuseKind, apply, confirm, decide},
    policy::RefreshPolicy,
    token::{RefreshToken, RefreshTokens},
};
