//! Why a token was not minted, why a key was not changed.

use std::{borrow::Cow, time::Duration};

use crate::error::ConfigError;

/// Why a token was not minted. It names claims, never their values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A claim of the application's own has a name that is spoken for.
    #[error("the claim `{0}` is reserved")]
    ReservedClaim(String),
    /// A claim cannot be written as it was given.
    #[error("the claim `{name}`: {problem}")]
    InvalidClaim {
        /// The claim.
        name: Cow<'static, str>,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// The session is over, or has not even a second left.
    #[error("the session has ended")]
    SessionEnded,
    /// The cryptographic library could not sign. It tells no cause.
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

/// Why the keys of a ring stayed as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// There is a next key already; withdraw it first.
    #[error("there is a next key already")]
    NextPresent,
    /// No key was published that could be activated.
    #[error("there is no next key")]
    NoNext,
    /// The next key has not been published for long enough: verifiers may not know it yet.
    #[error("the next key must stay published for another {} s", .ready_in.as_secs())]
    TooEarly {
        /// The time that is missing.
        ready_in: Duration,
    },
    /// The ring has no such key.
    #[error("no such key")]
    UnknownKey,
    /// The active key cannot be withdrawn: nothing would sign.
    #[error("the key is the active one; activate another first")]
    Active,
    /// The key does not fit those of the ring.
    #[error(transparent)]
    Key(#[from] ConfigError),
}
