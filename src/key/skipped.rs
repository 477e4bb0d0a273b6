//! The entries of a key set that cannot be used.

use std::borrow::Cow;

use crate::{error::ConfigError, event::AuthEvent};

/// An entry of a key set that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    kid: Option<String>,
    why: String,
    /// The same from a fixed list, for events.
    reason: &'static str,
}

impl Skipped {
    /// A secret in a published set.
    pub(super) fn secret(kid: Option<String>) -> Self {
        let reason = "a secret in a published key set";
        Self {
            kid,
            why: reason.to_owned(),
            reason,
        }
    }

    pub(super) fn because(kid: Option<String>, error: &ConfigError) -> Self {
        let reason = match error {
            ConfigError::Key(Cow::Borrowed(reason)) => reason,
            ConfigError::SecretTooShort { .. } => "the secret is too short (RFC 7518 §3.2)",
            ConfigError::SecretIsAKey(_) => "the secret is a public or private key",
            ConfigError::Algorithm(_) => "the algorithm is not in this build",
            _ => "the key cannot be used",
        };
        Self {
            kid,
            why: error.to_string(),
            reason,
        }
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Returns the `kid` for a log line. The publisher wrote it, at any length.
    pub(super) fn shown_kid(&self) -> String {
        let kid = self.kid().unwrap_or("no kid");
        kid.escape_debug().take(LONGEST_NAMED).collect()
    }

    pub(super) fn event(&self) -> AuthEvent<'_> {
        AuthEvent::KeySkipped {
            kid: self.kid(),
            reason: self.reason,
        }
    }

    /// Writes one line to the log.
    pub(super) fn log(&self) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            kid = self.shown_kid(),
            reason = self.reason,
            "a key of the key set is left out"
        );
    }
}

/// The characters of a `kid` that a message holds.
const LONGEST_NAMED: usize = 64;
