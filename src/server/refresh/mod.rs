//! Refresh tokens: one counter per session instead of one row per token.
//!
//! A session is a *family* of refresh tokens. Its row contains a counter, never a token. The
//! successor of a token is computed from the token and the server's key, so that a lost response can
//! be repeated exactly, and no content of the store lets a reader sign in. The state machine is pure
//! Rust: a store loads a session, and changes it if it is still what was loaded.

mod confirm;
mod decide;
mod exchange;
mod policy;
mod token;

pub use self::policy::RefreshPolicy;
pub(crate) use self::{
    decide::{apply, confirm, decide},
    exchange::{Rotation, contended, write},
    token::{RefreshToken, RefreshTokens},
};

/// The tokens, the state machine and the refresh in a store, for tests of stores.
#[cfg(any(test, feature = "test-util"))]
#[doc(hidden)]
pub mod machine {
    pub use super::{
        decide::{apply, confirm, decide},
        exchange::{Rotation, rotate},
        token::{RefreshToken, RefreshTokens},
    };
}
