//! Opaque tokens, which their authorization server reads (RFC 7662): section I.

mod answers;
mod cached;
mod calls;
mod issuers;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    test_util::{IntrospectionFixture, TestClock},
    verify::{VerifierBuilder, introspection::Introspection},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{AUDIENCE, bearer},
};

const TOKEN: &str = "opaque-1";
/// Longer than any test that works: only a broken one gets there.
const LONG: Duration = Duration::from_secs(50);

/// An authorization server, and a resource server that asks it.
struct World {
    server: IntrospectionFixture,
    clock: TestClock,
}

impl World {
    fn new() -> Self {
        Self {
            server: IntrospectionFixture::start(),
            clock: TestClock::new(),
        }
    }

    fn settings(&self) -> Introspection {
        let endpoint = Introspection::at(self.server.url());
        endpoint.basic("api", "secret").timeout(LONG)
    }

    fn builder(&self) -> VerifierBuilder {
        self.builder_with(self.settings())
    }

    fn builder_with(&self, settings: Introspection) -> VerifierBuilder {
        let builder = Verifier::introspected(settings);
        builder.audience(AUDIENCE).clock(self.clock.clone())
    }

    fn layer(&self) -> JwtAuthLayer {
        JwtAuthLayer::new(self.builder().build().unwrap())
    }

    fn layer_with(&self, settings: Introspection) -> JwtAuthLayer {
        JwtAuthLayer::new(self.builder_with(settings).build().unwrap())
    }

    /// The members of a good answer but `active`.
    fn members(&self) -> Map<String, Value> {
        let now = self.clock.timestamp();
        let members = json!({
            "sub": "alice", "client_id": "web", "aud": AUDIENCE, "iss": "https://as.example",
            "scope": "orders:read orders:write", "iat": now, "exp": now + 600, "jti": "j1",
        });
        serde_json::from_value(members).unwrap()
    }

    /// Has the server call a token active, with edited members.
    fn activate<R>(&self, token: &str, edit: impl FnOnce(&mut Map<String, Value>) -> R) {
        let mut members = self.members();
        edit(&mut members);
        self.server.activate(token, Value::Object(members));
    }
}

async fn ask(layer: &JwtAuthLayer, token: &str) -> Answer {
    send(layer.clone(), bearer(token)).await
}

/// Asserts 503 because of the authorization server.
#[track_caller]
fn unavailable(answer: Answer, case: &str) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{case}");
    answer
        .unavailable(case)
        .because(AuthErrorKind::IntrospectionUnavailable);
}
