//! The failure of an operation of a store.

use std::{error::Error, fmt};

/// The failure of an operation of a store.
///
/// `source` is the error of the database. Neither error is ever sent to a client.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error for a store that is unreachable or too busy. Nothing was written.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, source)
    }

    /// Creates an error for a connection that was lost during an operation. The store may or may
    /// not have written.
    #[must_use]
    pub fn interrupted(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Interrupted, source)
    }

    /// Creates an error for invalid data, in the store or in the arguments of the operation.
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

    /// Returns the error and its causes in one line, for an operator.
    ///
    /// # Security
    ///
    /// The line may contain names of tables, users and hosts from the database. Never send it to a
    /// client.
    #[must_use]
    pub fn causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            let text_of_cause = error.to_string();
            // Many errors contain the text of their cause.
            if !text.contains(&text_of_cause) {
                text.push_str(": ");
                text.push_str(&text_of_cause);
            }
            cause = error.source();
        }
        // Control characters in the text of the database must not break the line.
        let breaks = |character: char| character.is_control();
        text.replace(breaks, " ")
    }

    /// Returns the cause, on which the decision to retry depends.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store is unavailable",
            StoreErrorKind::Interrupted => {
                "the connection to the store was lost during the operation"
            }
            StoreErrorKind::Invalid => "the store contains or was given invalid data",
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
    /// The store is unreachable or too busy. Nothing was written.
    Unavailable,
    /// The connection was lost during the operation. The store may or may not have written.
    Interrupted,
    /// The store contains or was given invalid data.
    Invalid,
}
