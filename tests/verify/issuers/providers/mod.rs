//! The documents and tokens of real providers, after their public documentation, with keys of our
//! own: found by discovery, read by their presets.

mod auth0;
mod cognito;
mod entra;
mod google;
mod keycloak;
mod okta;

use serde_json::{Value, json};
use tower_jwt_auth::{
    Principal, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, remote::RemoteKeySet},
    test_util::{TestClock, TestIssuer},
    verify::VerifierBuilder,
};

use super::{memory::Memory, published, timed};

/// A provider as it is seen over the network, and what signs for it.
struct Realm {
    verifier: Verifier,
    memory: Memory,
    clock: TestClock,
    kid: &'static str,
}

impl Realm {
    /// Finds the keys from the issuer's name alone.
    async fn discover(
        issuer: &str,
        kid: &'static str,
        memory: Memory,
        rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let keys = RemoteKeySet::oidc(issuer)
            .fetch(memory.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        keys.ready().await.unwrap();
        let verifier = rules(
            Verifier::key_source(keys)
                .issuer(issuer)
                .clock(clock.clone()),
        );
        let verifier = verifier.build().unwrap();
        Self {
            verifier,
            memory,
            clock,
            kid,
        }
    }

    fn sign(&self, header: Value, claims: Value) -> String {
        let mut header = header;
        header["alg"] = "RS256".into();
        header["kid"] = self.kid.into();
        let claims = timed(claims, &self.clock);
        TestIssuer::new(Algorithm::Rs256).raw(&header.to_string(), claims.as_bytes())
    }

    fn accepts(&self, header: Value, claims: Value) -> Principal {
        let token = self.sign(header, claims);
        self.verifier.verify_now(token).unwrap().principal()
    }

    fn refuses(&self, header: Value, claims: Value) -> AuthErrorKind {
        let token = self.sign(header, claims);
        self.verifier.verify_now(token).unwrap_err().kind()
    }
}

fn rsa(members: Value) -> Value {
    published(Algorithm::Rs256, members)
}

fn roles(principal: &Principal) -> Vec<&str> {
    principal.roles().collect()
}

fn scope(principal: &Principal) -> Vec<&str> {
    principal.scope().collect()
}

fn jwt() -> Value {
    json!({"typ": "JWT"})
}

/// Some providers write no `typ`.
fn bare() -> Value {
    json!({})
}
