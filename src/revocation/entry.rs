//! A single revocation.

use std::time::Duration;

use crate::time::Timestamp;

/// A revocation: its target and the time at which it ends.
///
/// A token is identified by a claim (`jti`), never by its text or a hash of its text. An ECDSA
/// signature has two valid forms, so an attacker could turn a token whose text is revoked into
/// another text that still verifies.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{time::Timestamp, revocation::{Revocation, RevocationTarget}};
///
/// let until = Timestamp::from_millis(1_800_000_000_000);
/// let revocation = Revocation::token("3f1c", until);
/// assert_eq!(revocation.target(), &RevocationTarget::Token("3f1c".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    target: RevocationTarget,
    until: Timestamp,
}

/// The target of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// All tokens of a session (`sid`).
    Session(String),
    /// A single token (`jti`).
    Token(String),
    /// The tokens of a subject that were issued before its epoch was raised.
    Subject {
        /// The subject (`sub`).
        subject: String,
        /// The new epoch. Tokens with a lower `ep` or without one are refused.
        epoch: u32,
    },
    /// The tokens of a subject that were issued (`iat`) at this time or earlier, in whole seconds.
    /// A token without `iat` counts as earlier.
    SubjectTokens {
        /// The subject (`sub`).
        subject: String,
        /// The latest time of issue that is revoked.
        issued_until: Timestamp,
        /// `true` if tokens that name a session (`sid`) stay valid.
        without_session: bool,
    },
    /// Every token issued (`iat`) before this time, in whole seconds. A store that has lost its
    /// revocations reports this target.
    IssuedBefore(Timestamp),
}

impl Revocation {
    /// Creates a revocation of all tokens of a session.
    #[must_use]
    pub fn session(id: impl Into<String>, until: Timestamp) -> Self {
        Self {
            target: RevocationTarget::Session(id.into()),
            until,
        }
    }

    /// Creates a revocation of a single token. `until` is the token's expiry, leeway included.
    #[must_use]
    pub fn token(id: impl Into<String>, until: Timestamp) -> Self {
        Self {
            target: RevocationTarget::Token(id.into()),
            until,
        }
    }

    /// Creates a revocation of all tokens of a subject that have no `ep`, or one lower than
    /// `epoch`.
    #[must_use]
    pub fn subject(subject: impl Into<String>, epoch: u32, until: Timestamp) -> Self {
        Self {
            target: RevocationTarget::Subject {
                subject: subject.into(),
                epoch,
            },
            until,
        }
    }

    /// Creates a revocation of all tokens of a subject that were issued at `issued_until` or
    /// earlier, in whole seconds. A token without `iat` counts as earlier. It is for issuers whose
    /// tokens have no `ep`.
    #[must_use]
    pub fn subject_tokens(
        subject: impl Into<String>,
        issued_until: Timestamp,
        until: Timestamp,
    ) -> Self {
        Self {
            target: RevocationTarget::SubjectTokens {
                subject: subject.into(),
                issued_until,
                without_session: false,
            },
            until,
        }
    }

    /// Creates a revocation of every token issued before this time, in whole seconds. Tokens
    /// without `iat` pass.
    #[must_use]
    pub fn issued_before(time: Timestamp, until: Timestamp) -> Self {
        Self {
            target: RevocationTarget::IssuedBefore(time),
            until,
        }
    }

    /// Creates a revocation of this target that ends at `until`.
    #[must_use]
    pub fn of(target: RevocationTarget, until: Timestamp) -> Self {
        Self { target, until }
    }

    /// Returns the target.
    #[must_use]
    pub fn target(&self) -> &RevocationTarget {
        &self.target
    }

    /// Returns the time at which the revocation ends. No token that it revokes is valid after that
    /// time.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// The maximum lifetime of a token that belongs to a session: 30 minutes.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The time for which a revocation is kept: [`MAX_TOKEN_LIFETIME`] plus 300 seconds for leeway and
/// clock skew.
pub const RETENTION: Duration = Duration::from_secs(30 * 60 + 300);
