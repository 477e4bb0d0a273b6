//! The errors of minting tokens and of changing keys.

use std::{borrow::Cow, time::Duration};

use crate::error::ConfigError;

/// The reason for which a token was not minted. It contains names of claims, never their values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A custom claim has a reserved name.
    #[error("the claim `{0}` is reserved")]
    ReservedClaim(String),
    /// A claim has an invalid value.
    #[error("the claim `{name}`: {problem}")]
    InvalidClaim {
        /// The name of the claim.
        name: Cow<'static, str>,
        /// The problem with the value.
        problem: Cow<'static, str>,
    },
    /// The session has ended, or ends within a second.
    #[error("the session has ended")]
    SessionEnded,
    /// The key ring was not read from its store for so long that another key may sign by now. A new
    /// attempt succeeds after the store is available again.
    #[error("the key ring is out of date")]
    KeysUnavailable,
    /// The cryptographic library failed to sign. It gives no cause.
    #[error("signing failed")]
    SigningFailed,
}

impl IssueError {
    pub(super) fn invalid(
        name: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::InvalidClaim {
            name: name.into(),
            problem: problem.into(),
        }
    }
}

/// The reason for which the keys of a ring were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// A next key already exists. Withdraw it first.
    #[error("a next key already exists")]
    NextPresent,
    /// There is no next key to activate.
    #[error("there is no next key")]
    NoNext,
    /// The next key has not been published for long enough, so verifiers may not have it yet.
    #[error("the next key must stay published for another {} s", .ready_in.as_secs())]
    TooEarly {
        /// The remaining time.
        ready_in: Duration,
    },
    /// The ring does not contain this key.
    #[error("the ring does not contain this key")]
    UnknownKey,
    /// The active key cannot be withdrawn, because it signs the tokens.
    #[error("the active key cannot be withdrawn; activate another key first")]
    Active,
    /// The keys are in a store that several nodes share. Change them through their
    /// [`SharedKeyRing`](super::SharedKeyRing).
    #[error("the keys are in a store; change them through the shared key ring")]
    Shared,
    /// The key is not compatible with the other keys of the ring.
    #[error(transparent)]
    Key(#[from] ConfigError),
}
