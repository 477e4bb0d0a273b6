//! The unusable entries of a key set.

use std::borrow::Cow;

use crate::{error::ConfigError, event::AuthEvent};

/// An unusable entry of a key set, which was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    kid: Option<String>,
    why: String,
    /// The reason from a fixed list, for events.
    reason: &'static str,
}

impl Skipped {
    /// Creates the entry for a secret in a published set.
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
            ConfigError::Algorithm(_) => "this build does not support the algorithm",
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

    /// Returns the `kid` for a log line, escaped and truncated, because the publisher can choose
    /// any text.
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

    /// Writes a log line.
    pub(super) fn log(&self) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            kid = self.shown_kid(),
            reason = self.reason,
            "skipped an unusable key of a key set"
        );
    }
}

/// The maximum number of characters of a `kid` in a message.
const LONGEST_NAMED: usize = 64;
