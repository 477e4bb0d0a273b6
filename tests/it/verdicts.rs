//! Section Q, Q4 and Q5: how long a verdict holds, and what it leaves behind.

use std::time::Duration;

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, SharedKeySet},
    test_util::{TestIssuer, TestKeys},
};

use crate::support::{AUDIENCE, Fixture};

fn kind<T>(verdict: Result<T, tower_jwt_auth::AuthError>) -> Result<(), AuthErrorKind> {
    verdict.map(drop).map_err(|error| error.kind())
}

#[test]
fn q4_a_verdict_ends_with_the_tokens_time() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let token = fixture.with("exp", json!(fixture.now() + 100));
    for _ in 0..3 {
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    }
    fixture.clock.advance(Duration::from_secs(159));
    assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(
        kind(verifier.verify_now(&token)),
        Err(AuthErrorKind::Expired)
    );
}

#[test]
fn q4_a_verdict_ends_with_its_key() {
    let set = |keys: TestKeys| KeySet::from_jwks(keys.jwks()).unwrap();
    let keys = SharedKeySet::new(set(TestKeys::new()));
    let verifier = Verifier::key_source(keys.clone())
        .audience(AUDIENCE)
        .build()
        .unwrap();
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    for _ in 0..3 {
        assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
    }
    keys.replace(set(TestKeys::other()));
    assert_eq!(
        kind(verifier.verify_now(&token)),
        Err(AuthErrorKind::UnknownKey)
    );
    keys.replace(set(TestKeys::new()));
    assert_eq!(kind(verifier.verify_now(&token)), Ok(()));
}

#[test]
fn q5_tokens_leave_no_memory_behind() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let good = fixture.token();
    let (message, _) = good.rsplit_once('.').unwrap();
    let run = |from: u32, to: u32| {
        for number in from..to {
            let forged = format!("{message}.{number:086}");
            assert!(verifier.verify_now(&forged).is_err());
            assert!(verifier.verify_now(&good).is_ok());
        }
    };
    // The first round may fill what is filled once in a process.
    run(0, 1);
    let left = allocation_counter::measure(|| run(1, 200));
    assert_eq!(left.bytes_current, 0, "{left:?}");
    assert!(left.count_total > 0);
}
