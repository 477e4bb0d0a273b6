//! An authorization server that answers about opaque tokens.

use std::fmt;

use serde_json::{Value, json};

use super::{Answer, JwksFixture, jwks::INTROSPECT};

/// An authorization server on a free port of the loopback interface, for tests of introspection (RFC 7662).
///
/// It answers at [`url`](Self::url) that a token is active, as a test tells it to, and that every other token
/// is not. It also publishes the keys and metadata of a [`JwksFixture`], which name the endpoint. Its
/// responses can be changed while it runs, and it counts requests. It accepts any client authentication. It
/// needs no async runtime, and stops when it is dropped.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use serde_json::json;
/// use tower_jwt_auth::{
///     Verifier,
///     test_util::{Answer, IntrospectionFixture},
///     verify::introspection::Introspection,
/// };
///
/// let server = IntrospectionFixture::start();
/// server.activate("opaque-1", json!({ "client_id": "batch", "aud": "orders", "exp": 4_102_444_800_u64 }));
///
/// let endpoint = Introspection::discovered().basic("orders", "secret");
/// let verifier = Verifier::oidc(&server.issuer())
///     .audience("orders")
///     .introspection(endpoint)
///     .build()?;
/// let caller = verifier.verify("opaque-1").await?.principal();
/// assert_eq!(caller.client_id(), Some("batch"));
///
/// // The server is in trouble: answers that are cached are still used, and nothing else passes.
/// server.answer(Answer::status(500));
/// assert!(verifier.verify("opaque-1").await.is_ok());
/// let refused = verifier.verify("opaque-2").await.unwrap_err();
/// assert_eq!(refused.status(), 503);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
pub struct IntrospectionFixture {
    server: JwksFixture,
}

impl IntrospectionFixture {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// If the operating system provides no port.
    #[must_use]
    pub fn start() -> Self {
        let fixture = Self {
            server: JwksFixture::start(),
        };
        fixture.answer(Answer::json(json!({ "active": false }).to_string()));
        fixture
    }

    /// Returns the URL of the endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url_of(INTROSPECT)
    }

    /// Returns the issuer that the metadata name: the server's origin.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.server.issuer()
    }

    /// Returns the server of the keys and the metadata, which is the same one.
    #[must_use]
    pub fn keys(&self) -> &JwksFixture {
        &self.server
    }

    /// Answers that this token is active from now on, with these members.
    ///
    /// # Panics
    ///
    /// If the members are not a JSON object.
    pub fn activate(&self, token: &str, members: Value) {
        let Value::Object(mut answer) = members else {
            panic!("a JSON object is needed, not {members}");
        };
        answer.insert("active".to_owned(), true.into());
        self.answer_to(token, Answer::json(Value::Object(answer).to_string()));
    }

    /// Answers that this token is not active from now on.
    pub fn revoke(&self, token: &str) {
        self.answer_to(token, Answer::json(json!({ "active": false }).to_string()));
    }

    /// Sets the response to requests about this token from now on.
    pub fn answer_to(&self, token: &str, answer: Answer) {
        let mut state = self.server.board.lock();
        state.forms.answers.insert(token.to_owned(), answer);
    }

    /// Sets the response to requests about any token from now on.
    pub fn answer(&self, answer: Answer) {
        self.server.board.lock().forms.answers.clear();
        self.server.answer_at(INTROSPECT, answer);
    }

    /// Closes the port: connections are refused.
    ///
    /// # Panics
    ///
    /// Never, because a thread of the server does not panic.
    pub fn down(&self) {
        self.server.down();
    }

    /// Opens the same port again.
    ///
    /// # Panics
    ///
    /// If another process took the port in the meantime.
    pub fn up(&self) {
        self.server.up();
    }

    /// Sends all responses that are [held](Answer::held) now.
    pub fn release(&self) {
        self.server.release();
    }

    /// Returns the number of requests to the endpoint.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.server.hits_at(INTROSPECT)
    }

    /// Returns the number of requests about this token.
    #[must_use]
    pub fn hits_of(&self, token: &str) -> usize {
        let state = self.server.board.lock();
        state.forms.hits.get(token).copied().unwrap_or(0)
    }

    /// Returns a header of the last request to the endpoint.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.server.header_at(INTROSPECT, name)
    }

    /// Returns a field of the form in the last request.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let state = self.server.board.lock();
        state.forms.field(name).map(str::to_owned)
    }
}

impl fmt::Debug for IntrospectionFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionFixture")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}
