//! Tokens that are bound to a key of the client (RFC 9449): section G.

mod nonces;
mod proofs;
mod replay;
mod schemes;

use http::{HeaderValue, Request, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};
use tower_jwt_auth::{
    JwtAuthLayer,
    key::Algorithm,
    layer::dpop::{Dpop, DpopBuilder},
    test_util::{DpopClient, TestClock},
};

use crate::support::{
    answer::{Answer, send},
    challenge::{Challenge, parse_challenges},
    fixture::Fixture,
};

const SERVER: &str = "https://api.example";
const TARGET: &str = "https://api.example/notes";

/// An issuer, a server, and a client with a token.
struct World {
    fixture: Fixture,
    client: DpopClient,
    token: String,
}

impl World {
    fn new() -> Self {
        Self::with(Algorithm::Es256)
    }

    fn with(algorithm: Algorithm) -> Self {
        let fixture = Fixture::new();
        let client = DpopClient::new(algorithm).clock(fixture.clock.clone());
        let token = fixture.es.bound_token(&client, |_| ());
        Self {
            fixture,
            client,
            token,
        }
    }

    fn clock(&self) -> &TestClock {
        &self.fixture.clock
    }

    fn rules(&self) -> DpopBuilder {
        Dpop::at(SERVER).clock(self.clock().clone())
    }

    fn layer(&self) -> JwtAuthLayer {
        self.layer_with(self.rules())
    }

    fn layer_with(&self, rules: DpopBuilder) -> JwtAuthLayer {
        self.fixture.layer().dpop(rules.build().unwrap())
    }

    /// A request with this proof for the client's token.
    fn with_proof(&self, proof: &str) -> Request<String> {
        request(&self.token, &[proof])
    }

    /// A request with a good proof.
    fn proven(&self) -> Request<String> {
        self.with_proof(&self.client.proof("GET", TARGET, &self.token))
    }

    /// A request with a signed proof whose header and claims were edited.
    fn edited<R>(
        &self,
        edit: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>) -> R,
    ) -> Request<String> {
        self.with_proof(&self.client.edited_proof("GET", TARGET, &self.token, edit))
    }

    /// A request whose proof has another claim.
    fn with_claim(&self, claim: &str, value: Value) -> Request<String> {
        self.edited(|_, claims| claims.insert(claim.into(), value))
    }
}

/// A request for `/notes` with a token of the scheme `DPoP`, and these proofs.
fn request(token: &str, proofs: &[&str]) -> Request<String> {
    let mut request = Request::get("/notes")
        .header("authorization", format!("DPoP {token}"))
        .body(String::new())
        .unwrap();
    for proof in proofs {
        let proof = HeaderValue::from_str(proof).unwrap();
        request.headers_mut().append("dpop", proof);
    }
    request
}

/// All challenges of a response, in any number of lines.
#[track_caller]
fn challenges(answer: &Answer) -> Vec<Challenge> {
    let lines = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    lines
        .flat_map(|line| parse_challenges(line.to_str().unwrap()).unwrap())
        .collect()
}

/// Asserts the schemes of the challenges, each with its error.
#[track_caller]
fn asked_for(answer: &Answer, status: StatusCode, expected: &[(&str, Option<&str>)], case: &str) {
    assert_eq!(answer.status, status, "{case}: {:?}", answer.kind());
    assert!(!answer.ran(), "{case}");
    let challenges = challenges(answer);
    let mut found: Vec<_> = challenges
        .iter()
        .map(|challenge| (challenge.scheme.as_str(), challenge.get("error")))
        .collect();
    found.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{case}");
}

/// Asserts a refused proof: only the challenge of `DPoP` has an error.
#[track_caller]
fn refused(answer: &Answer, error: &str, case: &str) {
    let expected = [("Bearer", None), ("DPoP", Some(error))];
    asked_for(answer, StatusCode::UNAUTHORIZED, &expected, case);
}

#[track_caller]
fn invalid_proof(answer: &Answer, case: &str) {
    refused(answer, "invalid_dpop_proof", case);
}

async fn ask(layer: &JwtAuthLayer, request: Request<String>) -> Answer {
    send(layer.clone(), request).await
}

fn bound_to(jkt: &str) -> Value {
    json!({ "jkt": jkt })
}
