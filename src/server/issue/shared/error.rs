//! The errors of a shared key ring.

use crate::error::StoreError;

/// The reason for which a shared key ring was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharedRingError {
    /// The store failed. A change may or may not have been written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored ring cannot be read: no configured secret opens it, or it was changed.
    #[error("{0}")]
    Unreadable(String),
    /// The ring does not contain this key.
    #[error("the ring does not contain this key")]
    UnknownKey,
    /// Other nodes changed the ring at every attempt.
    #[error("other nodes kept changing the key ring")]
    Contended,
    /// The cryptographic library failed to generate or to seal a key.
    #[error("the cryptographic library failed to generate or seal a key")]
    Crypto,
}

/// The reason for which a stored ring cannot be read. No part of such a ring is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Not the text form of a ring.
    Malformed,
    /// The text form of another version of this crate.
    Format,
    /// The record with this name does not open, or does not contain its key.
    Sealed(String),
}

impl From<Unreadable> for SharedRingError {
    fn from(problem: Unreadable) -> Self {
        Self::Unreadable(match problem {
            Unreadable::Malformed => "the key ring in the store is malformed".to_owned(),
            Unreadable::Format => {
                "the key ring in the store has the form of another version".to_owned()
            }
            Unreadable::Sealed(kid) => format!(
                "no configured secret opens the signing key `{}` in the store: it was sealed under \
                 another secret, or changed",
                kid.escape_debug()
            ),
        })
    }
}
