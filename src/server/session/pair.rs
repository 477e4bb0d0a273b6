//! The pair of tokens that a client receives.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{principal::SessionId, secret::Secret, server::issue::AccessToken};

/// An access token and the refresh token that goes with it.
///
/// `Debug` shows neither token. The pair itself is not serializable; serialize
/// [`to_response`](Self::to_response).
#[derive(Clone)]
pub struct TokenPair {
    pub(super) access: AccessToken,
    pub(super) refresh_token: Secret<String>,
    pub(super) refresh_expires_in: Duration,
    pub(super) scope: String,
    pub(super) session_id: SessionId,
    pub(super) is_bound: bool,
    pub(super) is_new: bool,
}

impl TokenPair {
    /// Returns the access token.
    #[must_use]
    pub fn access_token(&self) -> &Secret<String> {
        self.access.token()
    }

    /// Returns the lifetime of the access token, in whole seconds.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.access.lifetime()
    }

    /// Returns the refresh token. The client must store it before it first uses the access token.
    #[must_use]
    pub fn refresh_token(&self) -> &Secret<String> {
        &self.refresh_token
    }

    /// Returns `true` if the refresh token differs from the one that was presented.
    ///
    /// If it returns `false`, do not set the cookie again. Responses can arrive out of order: a
    /// response that carries the old token after one with a newer token would replace it by a spent
    /// one.
    #[must_use]
    pub fn is_new_refresh_token(&self) -> bool {
        self.is_new
    }

    /// Returns the time for which the session lives if it is not used again.
    #[must_use]
    pub fn refresh_expires_in(&self) -> Duration {
        self.refresh_expires_in
    }

    /// Returns `true` if the tokens are bound to a key of the client, and work only with proofs by it.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Returns the scheme in which the access token is sent: `DPoP` if the tokens are bound to a key (RFC
    /// 9449 §5), otherwise `Bearer`.
    #[must_use]
    pub fn token_type(&self) -> &'static str {
        token_type(self.is_bound)
    }

    /// Returns the granted scope, space separated; empty if there is none.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Returns the session id.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Returns the serializable response of a token endpoint (RFC 6749 §5.1): an object with
    /// `access_token`, `token_type` (`Bearer` or `DPoP`), `expires_in`, `refresh_token`, `refresh_expires_in` and,
    /// if it is not empty, `scope`. Times are in seconds.
    ///
    /// # Security
    ///
    /// The response needs `Cache-Control: no-store`.
    #[must_use]
    pub fn to_response(&self) -> impl Serialize + Copy + fmt::Debug {
        self.response()
    }

    pub(crate) fn response(&self) -> TokenResponse<'_> {
        TokenResponse {
            access_token: self.access_token().expose(),
            token_type: self.token_type(),
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

/// Returns the scheme of an access token.
pub(crate) fn token_type(is_bound: bool) -> &'static str {
    match is_bound {
        true => "DPoP",
        false => "Bearer",
    }
}

/// The response of a token endpoint (RFC 6749 §5.1).
#[derive(Clone, Copy, Serialize)]
pub(crate) struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    refresh_expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
}

impl fmt::Debug for TokenResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenResponse(..)")
    }
}
