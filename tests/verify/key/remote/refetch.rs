//! Another key under a kid that is known: D53, D54.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::StatusCode;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyLookup, KeyQuery, KeySet, KeySource},
    test_util::{Answer, JwksFixture, TestClock, TestIssuer, TestKeys},
};

use crate::support::remote::{
    ALGORITHM, SHORT, Setup, forged, issuer_of, kind, remote, renamed_keys, seconds, token_of,
    token_with_kid, verifier, verifier_of,
};
use crate::support::until::until;

#[tokio::test]
async fn d53_another_key_under_the_same_kid_is_accepted_by_the_request_that_brings_it() {
    let setup = Setup::ready().await;
    let old = setup.token();
    // Remembered, until the keys are others.
    assert_eq!(setup.status(&old).await.0, StatusCode::OK);
    setup.server.serve(renamed_keys());
    let new = forged(&setup.clock);
    assert_eq!(setup.status(&new).await.0, StatusCode::OK);
    assert_eq!(setup.status(&new).await.0, StatusCode::OK);
    assert_eq!(setup.status(&old).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d53_many_requests_share_the_fetch() {
    let setup = Setup::ready().await;
    setup.server.serve(renamed_keys());
    let new = forged(&setup.clock);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (setup.verifier.clone(), new.clone());
            tokio::spawn(async move { verifier.verify(token).await.is_ok() })
        })
        .collect();
    for one in all {
        assert!(one.await.unwrap());
    }
    assert_eq!(setup.server.hits(), 2);
}

#[tokio::test]
async fn d53_forged_tokens_cause_one_fetch_a_minute() {
    let setup = Setup::ready().await;
    for minute in 1..=3 {
        for number in 0..40 {
            let forged = issuer_of(TestKeys::other(), &setup.clock)
                .kid(Some(&TestKeys::new().kid(ALGORITHM)))
                .token(|claims| drop(claims.insert("jti".into(), number.into())));
            assert_eq!(setup.status(&forged).await.0, StatusCode::UNAUTHORIZED);
            assert_eq!(setup.status(&setup.token()).await.0, StatusCode::OK);
        }
        assert_eq!(setup.server.hits(), 1 + minute);
        setup.clock.advance(seconds(59));
        assert_eq!(
            setup.status(&forged(&setup.clock)).await.0,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(setup.server.hits(), 1 + minute);
        setup.clock.advance(seconds(1));
    }
    // The allowance for unknown kids is another one.
    for kid in ["a", "b", "c"] {
        let unknown = token_with_kid(kid, &setup.clock);
        assert_eq!(setup.status(&unknown).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(setup.server.hits(), 1 + 3 + 2);
}

#[tokio::test]
async fn d53_forged_tokens_are_401_through_outages_and_slow_answers() {
    let setup = Setup::ready_with(|keys| keys.wait(SHORT)).await;
    setup.server.answer(Answer::status(500));
    for _ in 0..3 {
        assert_eq!(
            setup.status(&forged(&setup.clock)).await.0,
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(setup.server.hits(), 2);
    setup.clock.advance(seconds(61));
    setup.server.answer(Answer::hang());
    assert_eq!(
        setup.status(&forged(&setup.clock)).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(setup.status(&setup.token()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn d53_a_decision_at_once_waits_for_nothing() {
    let setup = Setup::ready().await;
    let refused = kind(&setup.verifier, &forged(&setup.clock));
    assert_eq!(refused, Err(AuthErrorKind::InvalidSignature));
}

#[tokio::test]
async fn d53_a_token_of_an_issuer_that_is_not_trusted_causes_no_fetch() {
    let setup = Setup::ready().await;
    let forged = issuer_of(TestKeys::other(), &setup.clock)
        .issuer("https://other.example")
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ());
    assert_eq!(setup.status(&forged).await.0, StatusCode::UNAUTHORIZED);
    // Nor does one that names no key.
    let nameless = issuer_of(TestKeys::other(), &setup.clock)
        .kid(None)
        .token(|_| ());
    assert_eq!(setup.status(&nameless).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.server.hits(), 1);
}

#[tokio::test]
async fn d53_of_several_issuers_the_one_that_the_token_names_is_asked() {
    let (one, other) = (JwksFixture::start(), JwksFixture::start());
    let clock = TestClock::new();
    let mut members = Vec::new();
    for server in [&one, &other] {
        let keys = remote(server, &clock).build().unwrap();
        keys.ready().await.unwrap();
        members.push(verifier_of(&server.issuer(), &keys, &clock));
    }
    let verifier = Verifier::by_issuer(members).unwrap();
    one.serve(renamed_keys());
    let token = issuer_of(TestKeys::other(), &clock)
        .issuer(one.issuer())
        .kid(Some(&TestKeys::new().kid(ALGORITHM)))
        .token(|_| ());
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!((one.hits(), other.hits()), (2, 1));
}

/// A source of the application's own, which counts who asks.
struct Counting(KeySet, Arc<AtomicUsize>);

impl KeySource for Counting {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lookup(query)
    }
}

#[tokio::test]
async fn d53_a_custom_source_is_asked_once_as_ever() {
    let clock = TestClock::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let source = Counting(
        KeySet::from_jwks(TestKeys::new().jwks()).unwrap(),
        Arc::clone(&asked),
    );
    let verifier = Verifier::key_source(source)
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap();
    let refused = verifier.verify(forged(&clock)).await.unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::InvalidSignature);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn d54_a_known_key_of_another_algorithm_causes_one_fetch_a_minute_of_its_own() {
    let setup = Setup::ready().await;
    // An RSA key without `alg` serves RS256, as long as the application lists nothing else.
    let kid = TestKeys::new().kid(Algorithm::Rs256);
    let mismatched = TestIssuer::with_keys(ALGORITHM, TestKeys::new())
        .clock(setup.clock.clone())
        .kid(Some(&kid))
        .token(|_| ());
    for _ in 0..5 {
        let refused = setup.verifier.verify(&mismatched).await.unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::KeyAlgorithmMismatch);
    }
    assert_eq!(setup.server.hits(), 2);
    // The next real rotation has its whole allowance.
    setup.server.serve(TestKeys::other().jwks());
    let rotated = token_of(TestKeys::other(), &setup.clock);
    assert_eq!(setup.status(&rotated).await.0, StatusCode::OK);
    assert_eq!(setup.server.hits(), 3);
}

#[tokio::test]
async fn d54_the_key_may_serve_the_algorithm_by_now() {
    let server = JwksFixture::start();
    let kid = TestKeys::new().kid(ALGORITHM);
    let rsa = TestKeys::new().jwk(Algorithm::Rs256);
    let rsa = rsa.replace(&TestKeys::new().kid(Algorithm::Rs256), &kid);
    server.serve(format!(r#"{{"keys":[{rsa}]}}"#));
    let clock = TestClock::new();
    let keys = remote(&server, &clock).build().unwrap();
    keys.ready().await.unwrap();
    let verifier = verifier(&keys, &clock);
    server.serve(TestKeys::new().jwks());
    assert!(
        verifier
            .verify(token_of(TestKeys::new(), &clock))
            .await
            .is_ok()
    );
    until(|| keys.last_error().is_none()).await;
    assert_eq!(server.hits(), 2);
}
