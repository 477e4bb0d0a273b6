//! Section D, D23, D38, D39 and D54: the choice among several keys.

use serde_json::{Value, json};
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet},
    test_util::TestKeys,
};

use crate::support::{Fixture, bearer, judge, jwk};

fn set(keys: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string()).unwrap()
}

#[tokio::test]
async fn d54_a_known_kid_whose_key_does_not_serve_the_algorithm_has_a_reason_of_its_own() {
    let fixture = Fixture::new();
    let open = jwk(Algorithm::Rs256, |jwk| {
        jwk.as_object_mut().unwrap().remove("alg")
    });
    let bound = jwk(Algorithm::Rs256, |_| ());
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    for key in [open, bound] {
        let keys = set([key, jwk(Algorithm::Es256, |_| ())]);
        let builder = || fixture.any_algorithm(Verifier::key_source(keys.clone()));
        for algorithm in [Algorithm::Ps256, Algorithm::Es256] {
            let issuer = fixture.issuer(algorithm).kid(Some(&kid));
            judge(builder, bearer(issuer.token(|_| ())))
                .await
                .invalid_token(algorithm.as_str())
                .because(AuthErrorKind::KeyAlgorithmMismatch);
        }
        // Controls: another kid, and the algorithm that the key serves.
        let unknown = fixture.issuer(Algorithm::Ps256).kid(Some("unknown"));
        judge(builder, bearer(unknown.token(|_| ())))
            .await
            .invalid_token("unknown")
            .because(AuthErrorKind::UnknownKey);
        judge(builder, bearer(fixture.rs.token(|_| ())))
            .await
            .passes("RS256");
    }
    let kind = AuthErrorKind::KeyAlgorithmMismatch;
    assert_eq!(kind.as_str(), "key_algorithm_mismatch");
}
