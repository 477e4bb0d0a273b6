//! Why a store could not do what it was asked for.

use std::{error::Error, fmt};

/// Why a store could not do what it was asked for.
///
/// Its `source` is what the database said; neither is ever shown to a client.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// The store cannot be reached or is too busy, and nothing was written.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, source)
    }

    /// The store was lost while it answered: whether it wrote is unknown.
    #[must_use]
    pub fn interrupted(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Interrupted, source)
    }

    /// What the store holds, or what it was given, makes no sense to it.
    #[must_use]
    pub fn invalid(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Invalid, source)
    }

    fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The cause, for those who decide whether to try again.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Interrupted => "the store was lost while it answered",
            StoreErrorKind::Invalid => "the store holds or was given what it cannot read",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// The cause of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached or is too busy. Nothing was written.
    Unavailable,
    /// The store was lost while it answered. Whether it wrote is unknown.
    Interrupted,
    /// What the store holds, or what it was given, makes no sense to it.
    Invalid,
}
