//! One thing that is revoked.

use std::time::Duration;

use crate::clock::Timestamp;

/// What is revoked, and until when that matters.
///
/// Tokens are named by what is in them, never by their text or a hash of it: an ECDSA signature has
/// two forms that both verify, so a text that is refused has a twin that is not.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{clock::Timestamp, revoke::{Revocation, Target}};
///
/// let until = Timestamp::from_millis(1_800_000_000_000);
/// let revocation = Revocation::token("3f1c", until);
/// assert_eq!(revocation.target(), &Target::Token("3f1c".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    target: Target,
    until: Timestamp,
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// The tokens of a session (`sid`).
    Session(String),
    /// One token (`jti`).
    Token(String),
    /// The tokens of a subject that were issued before its epoch was raised.
    Subject {
        /// The subject (`sub`).
        subject: String,
        /// Tokens whose `ep` is lower are refused, and those that have none.
        epoch: u32,
    },
    /// Every token that was issued (`iat`) before this, to the second: what a store says that lost
    /// what was revoked.
    IssuedBefore(Timestamp),
}

impl Revocation {
    /// All tokens of a session.
    #[must_use]
    pub fn session(id: impl Into<String>, until: Timestamp) -> Self {
        Self {
            target: Target::Session(id.into()),
            until,
        }
    }

    /// One token; `until` is when it expires, leeway included.
    #[must_use]
    pub fn token(id: impl Into<String>, until: Timestamp) -> Self {
        Self {
            target: Target::Token(id.into()),
            until,
        }
    }

    /// All tokens of a subject whose `ep` is lower than `epoch`, and those that have none.
    #[must_use]
    pub fn subject(subject: impl Into<String>, epoch: u32, until: Timestamp) -> Self {
        Self {
            target: Target::Subject {
                subject: subject.into(),
                epoch,
            },
            until,
        }
    }

    /// Every token that was issued before this time, to the second; those that do not say when pass.
    #[must_use]
    pub fn issued_before(time: Timestamp, until: Timestamp) -> Self {
        Self {
            target: Target::IssuedBefore(time),
            until,
        }
    }

    /// This target, until then.
    #[must_use]
    pub fn of(target: Target, until: Timestamp) -> Self {
        Self { target, until }
    }

    /// What is revoked.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// From when on it is forgotten: no token that it concerns lives longer.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// The longest life of a token that belongs to a session: 30 minutes.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long a revocation is kept: the longest life of a token, and 300 seconds for leeway and for
/// clocks that differ.
pub const LIFETIME: Duration = Duration::from_secs(30 * 60 + 300);
