//! The socket message that carries a token.

use std::fmt;

use serde::Deserialize;

use crate::secret::Secret;

/// The message `{"type":"auth","token":"…"}`, with which a client authenticates a socket in its
/// first message and renews the token later.
pub struct AuthMessage {
    token: Secret<String>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "type")]
    kind: String,
    token: String,
}

impl AuthMessage {
    /// Parses a text message. Returns `None` if it is another message, or longer than 16 KiB.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let text: Text = serde_json::from_str(text).ok()?;
        let token = Secret::new(text.token);
        (text.kind == "auth").then_some(Self { token })
    }

    /// Returns the token.
    #[must_use]
    pub fn token(&self) -> &Secret<String> {
        &self.token
    }
}

impl fmt::Debug for AuthMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthMessage(..)")
    }
}

const MAX_LENGTH: usize = 16 * 1024;
