//! What a client gets.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{issue::Minted, secret::Secret, token::SessionId};

/// An access token and the refresh token that goes with it.
///
/// `Debug` shows neither, and it cannot be serialized as it is: [`expose`](Self::expose) can.
#[derive(Clone)]
pub struct TokenPair {
    pub(super) access: Minted,
    pub(super) refresh_token: Secret<String>,
    pub(super) refresh_expires_in: Duration,
    pub(super) scope: String,
    pub(super) session_id: SessionId,
    pub(super) is_new: bool,
}

impl TokenPair {
    /// The access token.
    #[must_use]
    pub fn access_token(&self) -> &Secret<String> {
        self.access.token()
    }

    /// How long the access token lives, in whole seconds.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.access.lifetime()
    }

    /// The refresh token. The client keeps it before it uses the access token for the first time.
    #[must_use]
    pub fn refresh_token(&self) -> &Secret<String> {
        &self.refresh_token
    }

    /// Whether it is another refresh token than the one that was presented.
    ///
    /// Where it is not, a cookie is not set again: this answer may overtake, or be overtaken by, one
    /// that brings a newer token, and an old token that is stored last is a spent one.
    #[must_use]
    pub fn is_new_refresh_token(&self) -> bool {
        self.is_new
    }

    /// How long the session lives if it is not used again.
    #[must_use]
    pub fn refresh_expires_in(&self) -> Duration {
        self.refresh_expires_in
    }

    /// The scope granted, space separated; empty where there is none.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The session.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// The pair as a token endpoint answers it (RFC 6749 §5.1), to be serialized.
    ///
    /// # Security
    ///
    /// The answer needs `Cache-Control: no-store`.
    #[must_use]
    pub fn expose(&self) -> TokenAnswer<'_> {
        TokenAnswer {
            access_token: self.access_token().expose(),
            token_type: "Bearer",
            expires_in: self.expires_in().as_secs(),
            refresh_token: self.refresh_token.expose(),
            refresh_expires_in: self.refresh_expires_in.as_secs(),
            scope: &self.scope,
        }
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair")
            .field("session_id", &self.session_id)
            .field("expires_in", &self.expires_in())
            .field("refresh_expires_in", &self.refresh_expires_in)
            .finish_non_exhaustive()
    }
}

/// The answer of a token endpoint (RFC 6749 §5.1).
#[derive(Clone, Copy, Serialize)]
pub struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    refresh_expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

impl fmt::Debug for TokenAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenAnswer(..)")
    }
}
